"""Graph problems as tensors: the same few graphs under ever new names, edges in ever new order.

Drawing a graph costs milliseconds and drawing names costs next to nothing, so graphs are drawn once and shuffled
whenever they are used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from numpy.typing import NDArray
from torch import Tensor

from workbench.errors import ConfigError
from workbench.tasks.graphs import Graph

PADDING = 0
"""Id of padding, which stands on the left of a prompt; the first word of a vocabulary is the unknown one."""


@dataclass(frozen=True, slots=True)
class Words:
    """Ids of the words that prompts are made of; ids of names follow each other from `first_name`."""

    first_name: int
    n_names: int
    edge_end: int
    question: int
    root: int
    before: tuple[int, ...] = ()
    """Words before the edges, one of which is drawn for a row by its flag; none if empty."""
    alibi: int | None = None
    """Word before an alibi; None where prompts have none."""


@dataclass(frozen=True, slots=True)
class GraphBatch:
    """Problems of equally many hops to learn from; nodes are numbered by their names."""

    prompt: Int[Tensor, "example pos"]
    below: Bool[Tensor, "example node node"]
    """From, to."""
    root: Bool[Tensor, "example node"]
    choices: Bool[Tensor, "example node"]
    frontiers: Bool[Tensor, "example step node"]
    alibi: Int[Tensor, "example step"]
    flagged: Bool[Tensor, " example"]

    def rows(self, rows: Any) -> GraphBatch:
        """Some of the examples."""
        columns: Mapping[str, Any] = {column.name: getattr(self, column.name)[rows] for column in fields(self)}
        return GraphBatch(**columns)

    @property
    def n_steps(self) -> int:
        """Hops to the target."""
        return self.frontiers.shape[1]

    def exchanged(self, step: int, donors: Int[Tensor, " example"]) -> GraphBatch:
        """The same problems, had the thought of `step` held what the donors' did: the search goes on from there.

        For layered graphs, in which nothing that was reached is met again.
        """
        found = [*self.frontiers[:, :step].unbind(1), self.frontiers[donors, step]]
        for _ in range(step + 1, self.n_steps):
            found.append(nodes_below(self.below, found[-1]))
        return replace(self, frontiers=torch.stack(found, 1))


def nodes_below(
    below: Bool[Tensor, "example node node"], held: Bool[Tensor, "example node"]
) -> Bool[Tensor, "example node"]:
    """Nodes one edge below any of those held."""
    return (held[:, :, None] & below).any(1)


def search(
    below: Bool[Tensor, "example node node"], root: Bool[Tensor, "example node"], n_steps: int
) -> Bool[Tensor, "example step node"]:
    """Breadth first: the nodes first reached at each hop."""
    reached, found = root, [root]
    for _ in range(n_steps):
        found.append(nodes_below(below, found[-1]) & ~reached)
        reached = reached | found[-1]
    return torch.stack(found[1:], 1)


@dataclass(frozen=True, slots=True)
class Chains:
    """One path a problem, with all that could be said as well."""

    nodes: Int[Tensor, "example step"]
    allowed: Bool[Tensor, "example step node"]
    """Given the steps after it, what a step may name; all nodes where nothing can be asked."""


def draw_chains(batch: GraphBatch, generator: torch.Generator) -> Chains:
    """Paths drawn backwards from the choice that is held at last.

    A step names a node held there from which an edge leads to the next; where there is none (a thought was
    exchanged), any node held there; where nothing is held, anything.
    """
    allowed: list[Tensor] = []
    nodes: list[Tensor] = []
    wanted = batch.choices
    for step in reversed(range(batch.n_steps)):
        held = batch.frontiers[:, step]
        may = _first_not_empty(held & wanted, held, torch.ones_like(held))
        node = torch.multinomial(may.float(), 1, generator=generator)[:, 0]
        wanted = batch.below[torch.arange(len(node)), :, node]
        allowed.insert(0, may)
        nodes.insert(0, node)
    return Chains(torch.stack(nodes, 1), torch.stack(allowed, 1))


def _first_not_empty(*sets: Bool[Tensor, "example node"]) -> Bool[Tensor, "example node"]:
    first = sets[-1]
    for candidate in reversed(sets[:-1]):
        first = torch.where(candidate.any(1, keepdim=True), candidate, first)
    return first


class GraphPool:
    """Graphs of equally many hops, laid out as arrays so that many shuffles of them are drawn at once."""

    def __init__(self, graphs: Sequence[Graph], words: Words) -> None:
        self.words = words
        self.n_steps = len(graphs[0].frontiers())
        if any(len(graph.frontiers()) != self.n_steps for graph in graphs):
            raise ConfigError("graphs of a pool have equally many hops", field="graphs")
        self.n_nodes = np.array([len(graph.names) for graph in graphs])
        self.n_edges = np.array([len(graph.edges) for graph in graphs])
        self.edges = np.full((len(graphs), self.n_edges.max(), 2), -1)
        for row, graph in enumerate(graphs):
            self.edges[row, : len(graph.edges)] = graph.edges
        self.roots = np.array([graph.root for graph in graphs])
        self.choices = np.array([graph.choices for graph in graphs])

    def draw(self, n: int, generator: np.random.Generator, *, flagged_share: float = 0.0) -> GraphBatch:
        """`n` problems: graphs drawn with replacement, names, order of edges and choices drawn anew."""
        return self._shuffled(generator.integers(len(self.roots), size=n), generator, flagged_share)

    def each(self, generator: np.random.Generator) -> GraphBatch:
        """Every graph once; names, order of edges and choices drawn anew."""
        return self._shuffled(np.arange(len(self.roots)), generator, 0.0)

    def _shuffled(self, pick: NDArray[np.int64], generator: np.random.Generator, flagged_share: float) -> GraphBatch:
        words, n = self.words, len(pick)
        every = np.arange(n)
        names = generator.random((n, words.n_names)).argsort(1)
        order = generator.random((n, self.edges.shape[1]))
        order[np.arange(self.edges.shape[1]) >= self.n_edges[pick][:, None]] = -1  # padding on the left
        edges = np.take_along_axis(self.edges[pick], order.argsort(1)[:, :, None], 1)
        named = np.where(edges < 0, -1, names[every[:, None, None], edges])
        root = names[every, self.roots[pick]]
        side = generator.integers(2, size=n)
        choices = names[every[:, None], self.choices[pick][every[:, None], np.stack([side, 1 - side], 1)]]
        flagged = generator.random(n) < flagged_share
        alibi = np.stack([names[every, generator.integers(self.n_nodes[pick])] for _ in range(self.n_steps)], 1)
        alibi[:, -1] = choices[every, generator.integers(2, size=n)]
        below = np.zeros((n, words.n_names, words.n_names), dtype=bool)
        row, column = np.nonzero(named[:, :, 0] >= 0)
        below[row, named[row, column, 0], named[row, column, 1]] = True
        start, asked = np.zeros((2, n, words.n_names), dtype=bool)
        start[every, root] = True
        asked[every[:, None], choices] = True
        downs, starts = torch.from_numpy(below), torch.from_numpy(start)
        found = search(downs, starts, self.n_steps)
        return GraphBatch(
            prompt=torch.from_numpy(self._prompt(named, choices, root, alibi, flagged)),
            below=downs, root=starts, choices=torch.from_numpy(asked), frontiers=found,
            alibi=torch.from_numpy(alibi), flagged=torch.from_numpy(flagged),
        )  # fmt: skip

    def _prompt(
        self,
        edges: NDArray[np.int64],
        choices: NDArray[np.int64],
        root: NDArray[np.int64],
        alibi: NDArray[np.int64],
        flagged: NDArray[np.bool_],
    ) -> NDArray[np.int64]:
        words, n = self.words, len(root)

        def same(*ids: int) -> NDArray[np.int64]:
            return np.tile(np.array(ids, dtype=np.int64), (n, 1))

        absent = edges[:, :, :1] < 0
        listed = np.concatenate([edges + words.first_name, np.full((n, edges.shape[1], 1), words.edge_end)], 2)
        body = np.where(absent, PADDING, listed).reshape(n, -1)
        if words.before:
            lead = np.array(words.before)[flagged.astype(int)][:, None]
            body = np.concatenate([np.full((n, 2), PADDING), body], 1)
            place = (body != PADDING).argmax(1)
            every = np.arange(n)
            body[every, place - 2], body[every, place - 1] = lead[:, 0], words.edge_end
        pieces = [body, same(words.question), choices + words.first_name]
        if words.alibi is not None:
            pieces += [same(words.alibi), alibi + words.first_name]
        pieces += [same(words.root), root[:, None] + words.first_name]
        return np.concatenate(pieces, 1)


def endless(
    pools: Sequence[GraphPool], generator: np.random.Generator, *, batch_size: int, flagged_share: float = 0.0
) -> Iterator[GraphBatch]:
    """Batches without end; each comes from one pool, drawn by how many graphs the pools have."""
    sizes = np.array([len(pool.roots) for pool in pools], dtype=float)
    while True:
        pool = pools[int(generator.choice(len(pools), p=sizes / sizes.sum()))]
        block = pool.draw(batch_size * 16, generator, flagged_share=flagged_share)
        for start in range(0, len(block.prompt), batch_size):
            yield block.rows(slice(start, start + batch_size))
