"""Rows of one group say the same thing: no interval of a fit may count them as so many."""

from types import SimpleNamespace

import numpy as np
import pytest

from probes import exact_share
from probes.answers import Settings, answer
from probes.questions import Matrix, Question
from workbench.fitting.grid import Unit
from workbench.fitting.parts import part_of
from workbench.fitting.rows import Place

N_GROUPS, TIMES = 60, 8


@pytest.fixture(scope="module")
def scores():
    """What one unit keeps of a label whose every vector stands eight times in its group."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(N_GROUPS), TIMES)
    y = rng.integers(2, size=N_GROUPS)[groups]
    X = (0.6 * y[:, None] + rng.normal(size=(N_GROUPS, 4))[groups]).astype(np.float32)
    held = groups % 2 == 1
    types = np.zeros(held.sum(), dtype=int)
    matrix = Matrix(X[~held], X[held], groups[~held], groups[held], np.arange(len(types)), types, types)
    answers = answer(matrix, [Question("y", y[~held], y[held], 2)], Settings(lambdas=(0.1,), n_shuffles=19))
    grid = SimpleNamespace(columns={"y": SimpleNamespace(classes=("a", "b"))})
    return part_of(Unit(Place("thought", 0), (), ()), answers, {}, grid).scores["columns"]["y"]


def test_the_score_counts_its_groups(scores):
    assert (scores["n"], scores["n_groups"]) == (240, 30)
    k = round(scores["read"]["accuracy"] * 30)
    assert scores["read"]["interval"] == pytest.approx([exact_share(k, 30).low, exact_share(k, 30).high], abs=0.03)


def test_bins_of_confidence_count_their_groups(scores):
    assert sum(one["n"] for one in scores["reliability"]) == 240
    for one in scores["reliability"]:
        n_groups = one["n"] // TIMES
        by_group, by_row = exact_share(round(one["right"] * n_groups), n_groups), exact_share(k_of(one), one["n"])
        low, high = one["interval"]
        assert high - low > 0.95 * (by_group.high - by_group.low)
        assert high - low > 1.3 * (by_row.high - by_row.low)


def k_of(one):
    return round(one["right"] * one["n"])
