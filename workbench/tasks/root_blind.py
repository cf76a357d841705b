"""The shortcut through a graph problem: which choice looks like a target to one who never sees the root?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from probes import Interval, share_by_group
from workbench.errors import InsufficientData
from workbench.tasks.graphs import Graph

Feature = Literal["parents", "ancestors", "descendants", "depth", "longest"]
COUNTS: tuple[Feature, ...] = ("parents", "ancestors")
"""Degree and number of ancestors, with which 83 % are published for ProsQA."""
ALL: tuple[Feature, ...] = ("parents", "ancestors", "descendants", "depth", "longest")
"""With descendants, and fewest and most hops from any node without parents."""
N_FOLDS = 10


@dataclass(frozen=True, slots=True)
class RootBlind:
    """How many problems are solved without the root."""

    accuracy: float
    interval: Interval
    n: int
    features: tuple[Feature, ...]
    chance: float = 0.5


def root_blind_accuracy(
    graphs: Sequence[Graph], *, groups: Sequence[str] | None = None, features: tuple[Feature, ...] = ALL
) -> RootBlind:
    """Held-out accuracy of a logistic classifier that sees both choices and all edges, but not the root.

    It weighs the differences between the two choices, so their order tells nothing. Cross-validated in ten parts
    that share no group (default: every problem its own); the interval is by group.

    Args:
        graphs: the problems.
        groups: related problems share one.
        features: what it sees of a choice.

    Raises:
        InsufficientData: fewer groups than parts.
    """
    members = np.arange(len(graphs)) if groups is None else np.unique(np.array(groups), return_inverse=True)[1]
    n_groups = len(set(members.tolist()))
    if n_groups < N_FOLDS:
        raise InsufficientData(
            "too few problems for a classifier that never sees the root", field="problems",
            expected=f"{N_FOLDS} groups or more", found=f"n={n_groups}",
        )  # fmt: skip
    rows = np.stack([choice_features(graph, features) for graph in graphs])
    differences = rows[:, 0] - rows[:, 1]
    first_is_target = np.array([graph.choices[0] == graph.target for graph in graphs])
    # both orders of every pair, in one group: two classes in every part, and no intercept to learn
    model = make_pipeline(StandardScaler(with_mean=False), LogisticRegression(fit_intercept=False))
    guessed = cross_val_predict(
        model,
        np.concatenate([differences, -differences]),
        np.concatenate([first_is_target, ~first_is_target]),
        groups=np.tile(members, 2),
        cv=GroupKFold(N_FOLDS),
    )[: len(graphs)]
    hits = guessed == first_is_target
    return RootBlind(float(hits.mean()), share_by_group(hits, members), len(hits), features)


def choice_features(graph: Graph, features: tuple[Feature, ...] = ALL) -> Float[NDArray[np.float64], "2 feature"]:
    """What can be counted at either choice; nothing depends on the root."""
    above: list[list[int]] = [[] for _ in graph.names]
    for parent, child in graph.edges:
        above[child].append(parent)
    below = graph.below()
    return np.array(
        [[_count(feature, choice, above, below) for feature in features] for choice in graph.choices], float
    )


def _count(feature: Feature, node: int, above: list[list[int]], below: list[list[int]]) -> int:
    match feature:
        case "parents":
            return len(above[node])
        case "ancestors":
            return _n_reached(node, above)
        case "descendants":
            return _n_reached(node, below)
    layers, hops = {node}, 0
    while layers:  # upwards, hop by hop, until the first or the last node without parents
        if feature == "depth" and any(not above[n] for n in layers):
            break
        layers = {parent for n in layers for parent in above[n]}
        hops += bool(layers)
    return hops


def _n_reached(node: int, neighbours: list[list[int]]) -> int:
    reached, waiting = {node}, [node]
    while waiting:
        fresh = [n for n in neighbours[waiting.pop()] if n not in reached]
        reached.update(fresh)
        waiting += fresh
    return len(reached) - 1
