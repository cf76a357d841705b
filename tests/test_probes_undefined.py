"""Where nothing can be compared with chance, or nothing could have been learned, there is no number."""

from __future__ import annotations

import numpy as np

from probes.answers import Settings, answer
from probes.questions import Matrix, Question

SETTINGS = Settings(lambdas=(0.1,), n_shuffles=19)
N = 60


def asked(y, *, held, groups=None, types=None, n_classes=3):
    n = len(y)
    groups = np.arange(n) if groups is None else groups
    types = np.zeros(n, dtype=int) if types is None else types
    X = np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32)
    order = np.argsort(groups[~held], kind="stable")
    matrix = Matrix(X[~held], X[held], groups[~held], groups[held], order, types[~held], types[held])
    questions = [
        Question("plain", np.arange(n)[~held] % 3, np.arange(n)[held] % 3, 3),
        Question("y", y[~held], y[held], n_classes),
    ]
    return answer(matrix, questions, SETTINGS)[1]


def test_labels_that_no_groups_can_exchange_leave_the_others_standing():
    held = np.arange(N) % 2 == 1
    groups = np.arange(N)
    groups[~held] = 1000 + np.repeat(np.arange(4), [3, 6, 9, 12])
    found = asked(np.random.default_rng(1).integers(3, size=N), held=held, groups=groups)
    assert "none can exchange its labels" in found.undefined_because
    assert found.accuracy is None
    assert found.shuffles is None
    assert (found.n_fit, len(found.groups)) == (30, 30)


def test_values_of_which_none_was_ever_shown_are_not_read_wrong():
    held = np.arange(N) % 2 == 1
    y = np.random.default_rng(1).integers(3, size=N) + 3 * held
    found = asked(y, held=held, n_classes=6)
    assert "no fit row holds any value" in found.undefined_because
    assert found.accuracy is None


def test_a_control_task_asks_only_what_could_be_learned_by_heart():
    held = np.arange(N) % 2 == 1
    y = np.random.default_rng(1).integers(3, size=N)
    assert asked(y, held=held, types=np.arange(N)).control_task is None, "every prompt ends in its own word"
    some = np.where(np.arange(N) < 40, np.arange(N) // 2 % 5, np.arange(N))
    assert asked(y, held=held, types=some).control_task is not None
