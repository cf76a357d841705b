"""Values never shown are told from values shown, and a harmless shift of all thoughts is not mistaken for one."""

from __future__ import annotations

import numpy as np
import pytest

from probes.errors import ProbeDataError
from probes.unseen import UnseenValueTest

D = 48


def clusters(n_values: int, n: int, *, seed: int, spread: float = 0.25) -> tuple[np.ndarray, np.ndarray]:
    centres = np.linalg.qr(np.random.default_rng(1).normal(size=(D, D)))[0][:n_values] * 4
    generator = np.random.default_rng(seed)
    labels = generator.integers(n_values, size=n)
    return centres[labels] + spread * generator.normal(size=(n, D)), labels


@pytest.fixture(scope="module", params=[3, 8])
def fitted(request: pytest.FixtureRequest) -> tuple[UnseenValueTest, int]:
    n_values = request.param
    X, y = clusters(n_values + 1, 900, seed=0)
    known = y < n_values
    fit, held = known & (np.arange(900) < 450), known & (np.arange(900) >= 450)
    return UnseenValueTest.fit(X[fit], y[fit], X[held], y[held]), n_values


def test_shown_values_are_trusted(fitted: tuple[UnseenValueTest, int]) -> None:
    test, n_values = fitted
    X, y = clusters(n_values + 1, 400, seed=5)
    assert (test.p_value(X[y < n_values]) <= 0.05).mean() >= 0.99


def test_a_value_never_shown_is_not_trusted(fitted: tuple[UnseenValueTest, int]) -> None:
    test, n_values = fitted
    X, y = clusters(n_values + 1, 600, seed=6)
    assert (test.p_value(X[y == n_values]) <= 0.05).mean() <= 0.15


def test_random_vectors_are_not_trusted(fitted: tuple[UnseenValueTest, int]) -> None:
    test, _ = fitted
    noise = np.random.default_rng(2).normal(size=(600, D))
    noise *= 4 / np.linalg.norm(noise, axis=1, keepdims=True)
    assert (test.p_value(noise) <= 0.05).mean() <= 0.15


def test_a_trigger_that_moves_every_thought_is_tolerated(fitted: tuple[UnseenValueTest, int]) -> None:
    test, n_values = fitted
    X, y = clusters(n_values + 1, 400, seed=7)
    trigger = np.linalg.qr(np.random.default_rng(1).normal(size=(D, D)))[0][-1] * 6
    assert (test.p_value((X + trigger)[y < n_values]) <= 0.05).mean() >= 0.95


def test_two_values_are_enough() -> None:
    X, y = clusters(3, 600, seed=0)
    known = y < 2
    fit, held = known & (np.arange(600) < 300), known & (np.arange(600) >= 300)
    test = UnseenValueTest.fit(X[fit], y[fit], X[held], y[held])
    assert (test.p_value(X[held]) <= 0.05).mean() >= 0.99


def test_where_no_value_is_decodable_nothing_is_trusted() -> None:
    generator = np.random.default_rng(3)
    X, y = generator.normal(size=(600, D)), generator.integers(6, size=600)
    test = UnseenValueTest.fit(X[:300], y[:300], X[300:], y[300:])
    assert (test.p_value(generator.normal(size=(400, D))) <= 0.05).mean() <= 0.15


def test_held_out_rows_without_known_values_are_refused() -> None:
    X, y = clusters(3, 60, seed=0)
    with pytest.raises(ProbeDataError, match="held-out"):
        UnseenValueTest.fit(X, y, X, y + 10)
