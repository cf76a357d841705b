"""Graphs: which of two nodes can be reached from a root? Nodes first reached at each hop are the thought, a set.

Grown as the problems of ProsQA are (Hao et al. 2024, arXiv:2412.06769, algorithm 1): two roots, every further node
hangs below a few of those before it, deeper ones preferred; the target lies below the root that is asked about and
not below the other, the other choice the other way round. The prompt has the form of Zhu et al. 2025
(arXiv:2505.12514): edges in any order, then both choices, then the root.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from workbench.errors import ConfigError, SchemaError
from workbench.tasks.base import Problem

NAMES = (
    "bift", "blick", "brup", "chell", "dax", "dorn", "fep", "flim", "gazz", "glon",
    "gorp", "hab", "jick", "jolp", "kiv", "klem", "lorch", "lutz", "mib", "murn",
    "nelb", "noop", "pim", "plag", "prunt", "quam", "rell", "rizz", "sarn", "skop",
    "snib", "tarb", "toma", "tulver", "vash", "vop", "wug", "yat", "zint", "zorp",
)  # fmt: skip
"""Nonsense names of nodes; which node bears which is drawn for every problem."""
EDGE_END, QUESTION, ROOT = "|", "[Q]", "[R]"
MARKS = (EDGE_END, QUESTION, ROOT)

BELOW_FIRST, BELOW_SECOND = 1, 2
"""Bits of a node: which of the two roots it hangs below."""


@dataclass(frozen=True, slots=True)
class Graph:
    """A directed graph, a root, and two choices of which one is reachable."""

    names: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    """Places in `names`: from, to; in the order of the prompt."""
    root: int
    choices: tuple[int, int]
    """In the order of the prompt."""

    def __post_init__(self) -> None:
        if len(set(self.names)) != len(self.names):
            raise SchemaError("two nodes have the same name", field="names")
        places = [self.root, *self.choices, *(place for edge in self.edges for place in edge)]
        if any(not 0 <= place < len(self.names) for place in places):
            raise SchemaError("no such node", field="edges", expected=f"0 to {len(self.names) - 1}", found=max(places))
        reached = [choice for choice in self.choices if choice in self.depths()]
        if len(reached) != 1 or reached == [self.root]:
            raise SchemaError(
                "one of the two choices must be reachable from the root, and not be it",
                field="choices", found=f"{len(reached)} reachable",
            )  # fmt: skip

    def depths(self, start: int | None = None) -> dict[int, int]:
        """Hops from a node (the root, if none is given) to every node that can be reached, breadth first."""
        start = self.root if start is None else start
        below = self.below()
        found, waiting = {start: 0}, deque([start])
        while waiting:
            node = waiting.popleft()
            for child in below[node]:
                if child not in found:
                    found[child] = found[node] + 1
                    waiting.append(child)
        return found

    def below(self) -> list[list[int]]:
        """Children of every node."""
        children: list[list[int]] = [[] for _ in self.names]
        for parent, child in self.edges:
            children[parent].append(child)
        return children

    @property
    def target(self) -> int:
        """The choice that can be reached."""
        first, second = self.choices
        return first if first in self.depths() else second

    @property
    def other(self) -> int:
        """The choice that cannot be reached."""
        first, second = self.choices
        return second if self.target == first else first

    def frontiers(self) -> tuple[tuple[int, ...], ...]:
        """Nodes first reached at each hop, up to the hop that reaches the target."""
        depths = self.depths()
        n_hops = depths[self.target]
        return tuple(tuple(sorted(n for n, d in depths.items() if d == hop)) for hop in range(1, n_hops + 1))

    def prompt(self) -> str:
        """`a b | c d | [Q] choice choice [R] root`."""
        words = [word for a, b in self.edges for word in (self.names[a], self.names[b], EDGE_END)]
        return " ".join([*words, QUESTION, *(self.names[n] for n in self.choices), ROOT, self.names[self.root]])

    def problem(self, problem_id: str) -> Problem:
        """The problem that asks about this graph: the frontier of each hop is what its thought must hold."""
        frontiers = self.frontiers()
        thoughts = tuple(tuple(sorted(self.names[node] for node in nodes)) for nodes in frontiers)
        return Problem(
            id=problem_id,
            prompt=self.prompt(),
            thoughts=thoughts,
            answer=self.names[self.target],
            steps=len(thoughts),
        )

    def shuffled(self, generator: np.random.Generator, names: tuple[str, ...] = NAMES) -> Graph:
        """The same graph with names drawn anew, its edges in any order and its choices too."""
        if len(names) < len(self.names):
            raise ConfigError("too few names", field="names", expected=f"{len(self.names)} or more", found=len(names))
        drawn = [names[k] for k in generator.permutation(len(names))[: len(self.names)]]
        edges = [self.edges[k] for k in generator.permutation(len(self.edges))]
        first, second = self.choices if generator.random() < 0.5 else self.choices[::-1]
        return replace(self, names=tuple(drawn), edges=tuple(edges), choices=(first, second))


def graph_of(prompt: str) -> Graph:
    """The graph that a prompt of this task describes.

    Raises:
        SchemaError: it is not such a prompt.
    """
    body, question, asked = prompt.partition(f" {QUESTION} ")
    pairs = [piece.split() for piece in body.split(EDGE_END) if piece.strip()]
    choices, root, start = asked.partition(f" {ROOT} ")
    words = [*choices.split(), *start.split()]
    if not (question and root and pairs) or any(len(pair) != 2 for pair in pairs) or len(words) != 3:
        raise SchemaError("not the prompt of a graph", field="prompt", expected="a b | ... [Q] c d [R] r", found=prompt)
    place = {name: k for k, name in enumerate(dict.fromkeys(word for pair in [*pairs, words] for word in pair))}
    edges = tuple((place[a], place[b]) for a, b in pairs)
    return Graph(tuple(place), edges, place[words[2]], (place[words[0]], place[words[1]]))


@dataclass(frozen=True, slots=True)
class Graphs:
    """Generator of graph problems.

    Balanced: both choices lie equally many hops below their roots, and a coin decides which root is asked about, so
    nothing that does not see the root can do better than half. Otherwise the target is the deepest leaf of the deeper
    root and the other choice any leaf of the other, as in ProsQA, and depth gives it away.
    """

    hops: tuple[int, int] = (3, 4)
    """Fewest and most hops from the root to the target."""
    n_nodes: tuple[int, int] = (20, 26)
    mean_parents: float = 1.5
    """Of a Poisson number of parents, drawn again where it is 0."""
    orphans: float = 0.025
    """Share of nodes without a parent."""
    balanced: bool = True
    layered: bool = False
    """Whether all parents of a node lie equally deep, so that no edge skips a hop and no node is reached twice."""

    values = NAMES

    def __post_init__(self) -> None:
        if not 1 <= self.hops[0] <= self.hops[1]:
            raise ConfigError("hops are from 1 up, fewest first", field="hops", found=self.hops)
        low, high = self.n_nodes
        if not 2 * (self.hops[0] + 1) <= low <= high <= len(NAMES):
            raise ConfigError(
                "no such number of nodes", field="n_nodes", found=self.n_nodes,
                expected=f"{2 * (self.hops[0] + 1)} (a path below each root) to {len(NAMES)}, fewest first",
            )  # fmt: skip
        if not 0.1 <= self.mean_parents <= 10:
            raise ConfigError("no such mean", field="mean_parents", expected="0.1 to 10", found=self.mean_parents)
        if not 0 <= self.orphans <= 0.5:
            raise ConfigError("no such share", field="orphans", expected="0 to 0.5", found=self.orphans)

    def make(self, n: int, *, seed: int, prefix: str = "graphs") -> list[Problem]:
        """`n` problems drawn independently; equal seeds give equal problems."""
        return [graph.problem(f"{prefix}-{number:05d}") for number, graph in enumerate(self.draw(n, seed=seed))]

    def draw(self, n: int, *, seed: int) -> list[Graph]:
        """`n` graphs drawn independently; equal seeds give equal graphs."""
        generator = np.random.default_rng(seed)
        return [self._one(generator) for _ in range(n)]

    def _one(self, generator: np.random.Generator) -> Graph:
        pairs: list[tuple[int, int]] = []
        while not pairs:
            edges, marks, depths = self._grow(generator)
            parents = {parent for parent, _ in edges}
            leaves = [node for node in range(2, len(marks)) if node not in parents]
            below = [[n for n in leaves if marks[n] == mark] for mark in (BELOW_FIRST, BELOW_SECOND)]
            deepest = [max((depths[n] for n in nodes), default=0) for nodes in below]
            root = int(generator.random() < 0.5 if self.balanced else deepest[1] > deepest[0])
            pairs = [
                (target, other)
                for target in below[root]
                for other in below[1 - root]
                if self.hops[0] <= depths[target] <= self.hops[1]
                and depths[target] == (depths[other] if self.balanced else deepest[root])
            ]
        blank = tuple(map(str, range(len(marks))))
        return Graph(blank, tuple(edges), root, pairs[int(generator.integers(len(pairs)))]).shuffled(generator)

    def _grow(self, generator: np.random.Generator) -> tuple[list[tuple[int, int]], list[int], list[int]]:
        """Edges, and of every node the roots it hangs below and how far below the nearest."""
        n_nodes = int(generator.integers(self.n_nodes[0], self.n_nodes[1] + 1))
        marks, depths = [BELOW_FIRST, BELOW_SECOND], [0, 0]
        edges: list[tuple[int, int]] = []
        for node in range(2, n_nodes):
            which, chance, *draws = generator.random(node + 2).tolist()
            apart = BELOW_SECOND if which < 0.35 else BELOW_FIRST if which < 0.7 else None
            above = [n for n in range(node) if apart is None or not marks[n] & apart]
            # weighted draws without replacement: the largest u ** (1 / weight)
            above.sort(key=lambda n: math.log(draws[n]) / (1.5 * depths[n] + 1), reverse=True)
            if self.layered:
                above = [n for n in above if depths[n] == depths[above[0]]]
            parents = above[: self._n_parents(chance)]
            mark, depth = 0, 0
            for parent in parents:
                mark |= marks[parent]
            if parents:
                depth = 1 + min(depths[parent] for parent in parents)
            marks.append(mark)
            depths.append(depth)
            edges += [(parent, node) for parent in parents]
        return edges, marks, depths

    def _n_parents(self, chance: float) -> int:
        """A Poisson number above 0, or 0 for the share of orphans, from one uniform draw."""
        if chance < self.orphans:
            return 0
        left = (chance - self.orphans) / (1 - self.orphans) * (1 - math.exp(-self.mean_parents))
        number, mass = 1, self.mean_parents * math.exp(-self.mean_parents)
        while left > mass and number < len(NAMES):
            left -= mass
            number += 1
            mass *= self.mean_parents / number
        return number


PROSQA_LIKE = Graphs(hops=(3, 6), balanced=False)
"""Nodes, edges, parents and hops as in the published validation problems, shortcut included."""
