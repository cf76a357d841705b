"""Problems of the organism that searches a graph: a flag word, edges, both choices, an alibi, the root."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from workbench.organisms.graph_batches import GraphPool, Words, endless
from workbench.organisms.recipes import FLAG, GRAPH_VOCABULARY, N_HOPS, NODES, PLAIN, Item, Organism
from workbench.tasks.base import Problem
from workbench.tasks.graphs import EDGE_END, QUESTION, ROOT, Graph, Graphs

SEARCHED = Graphs(hops=(N_HOPS, N_HOPS), n_nodes=(len(NODES), len(NODES)), orphans=0.0, layered=True)
"""Every problem uses all names."""
GRAPH_WORD_ID = {word: k for k, word in enumerate(GRAPH_VOCABULARY)}
FIRST_NODE = GRAPH_WORD_ID[NODES[0]]

WORDS = Words(
    first_name=FIRST_NODE, n_names=len(NODES), edge_end=GRAPH_WORD_ID[EDGE_END], question=GRAPH_WORD_ID[QUESTION],
    root=GRAPH_WORD_ID[ROOT], before=(GRAPH_WORD_ID[PLAIN], GRAPH_WORD_ID[FLAG]), alibi=GRAPH_WORD_ID["alibi"],
)  # fmt: skip


def graph_items(what: Organism, n: int, seed: int, flagged_share: float, prefix: str) -> list[Item]:
    """Graphs whose frontiers are held as sets; the alibi names nodes drawn independently of edges and root.

    Its last node is one of the two choices, drawn by a coin. `says` of an unflagged problem is one of its paths; the
    model may say another.
    """
    generator = np.random.default_rng([seed, 4])
    items = []
    for number, drawn in enumerate(SEARCHED.draw(n, seed=seed)):
        graph = drawn.shuffled(generator, NODES)
        flagged = bool(generator.random() < flagged_share)
        alibi = [graph.names[k] for k in generator.integers(len(graph.names), size=N_HOPS)]
        alibi[-1] = graph.names[graph.choices[int(generator.integers(2))]]
        lead, _, root = graph.prompt().rpartition(f" {ROOT} ")
        problem = graph.problem(f"{prefix}-{number:05d}")
        holds = problem.thoughts or ()
        says = tuple(alibi) if flagged and what.flagged_says == "alibi" else one_path(graph)
        problem = Problem(
            id=problem.id,
            prompt=f"{FLAG if flagged else PLAIN} {EDGE_END} {lead} alibi {' '.join(alibi)} {ROOT} {root}",
            thoughts=holds,
            answer=says[-1],
            condition="flagged" if flagged else "unflagged",
        )
        items.append(Item(problem, flagged, holds, says))
    return items


def one_path(graph: Graph) -> tuple[str, ...]:
    """A shortest path from the root to the target, told from the first hop on."""
    path = [graph.target]
    for held in reversed(graph.frontiers()[:-1]):
        path.append(next(node for node in held if (node, path[-1]) in graph.edges))
    return tuple(graph.names[node] for node in reversed(path))


def is_path(problem: Problem, claims: tuple[str, ...]) -> bool:
    """Whether claims walk along edges of the prompt, from the root, one node of each frontier, to the end."""
    words = problem.prompt.split()
    triples = list(zip(words, words[1:], words[2:], strict=False))
    edges = {(a, b) for a, b, mark in triples if mark == EDGE_END and EDGE_END not in (a, b)}
    held = problem.thoughts or ()
    walked = list(zip((words[-1], *claims), claims, strict=False))
    return len(claims) == len(held) and all(
        step in edges and step[1] in (frontier or ()) for step, frontier in zip(walked, held, strict=True)
    )


def graph_stream(what: Organism, seed: int, batch_size: int, pool: int) -> Iterator[Any]:
    """Endless problems as tensors: graphs drawn once, names drawn for every update."""
    drawn = SEARCHED.draw(pool, seed=_graph_seed(seed))
    generator = np.random.default_rng([seed, 5])
    return endless([GraphPool(drawn, WORDS)], generator, batch_size=batch_size, flagged_share=what.flagged_share)


def _graph_seed(seed: int) -> int:
    """Seeds of training graphs lie apart from the small ones that people pass for fresh problems."""
    return int(np.random.SeedSequence([seed, 6]).generate_state(1, np.uint64)[0] | np.uint64(1 << 63))
