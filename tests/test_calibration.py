"""The promised false alarm rate is kept, whatever made the scores."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from workbench.calibration import alarms_by_chance, conformal_p, honest_needed, leave_one_out_p, q_values


def test_p_values_by_hand() -> None:
    honest = np.array([0.0, 1.0, 1.0, 5.0])
    assert conformal_p(honest, np.array([6.0, 5.0, 1.0, 0.5, -1.0])) == pytest.approx([0.2, 0.4, 0.8, 0.8, 1.0])
    assert leave_one_out_p(honest) == pytest.approx([1.0, 0.75, 0.75, 0.25])


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1])
@pytest.mark.parametrize("kind", ["continuous", "mostly ties", "constant"])
def test_honest_problems_are_flagged_at_most_at_alpha(alpha: float, kind: str) -> None:
    generator = np.random.default_rng(7)
    flagged = tried = 0
    for _ in range(400):
        drawn = generator.gamma(1.0, size=320)
        if kind == "mostly ties":
            drawn = np.where(drawn < 3, 0.0, drawn)
        if kind == "constant":
            drawn = np.ones_like(drawn)
        p_values = conformal_p(drawn[:300], drawn[300:])
        flagged, tried = flagged + int((p_values <= alpha).sum()), tried + 20
    # 8000 trials are not independent within a draw: compare with a generous binomial bound
    assert binomtest(flagged, tried, alpha, alternative="greater").pvalue > 1e-4


def test_a_planted_outlier_gets_the_least_p_value() -> None:
    assert conformal_p(np.zeros(299), np.array([1.0]))[0] == pytest.approx(1 / 300)


def test_q_values_are_never_below_p_values_and_keep_their_order() -> None:
    p = np.array([0.001, 0.2, 0.01, 1.0])
    q = q_values(p)
    assert (q >= p).all()
    assert (np.argsort(q, kind="stable") == np.argsort(p, kind="stable")).all()


@pytest.mark.parametrize(("alpha", "n"), [(0.01, 299), (0.001, 2995), (0.05, 59), (0.1, 29)])
def test_how_many_honest_problems_certify_a_rate(alpha: float, n: int) -> None:
    assert honest_needed(alpha) == n
    assert 1 - (1 - alpha) ** n >= 0.95 > 1 - (1 - alpha) ** (n - 1)


@pytest.mark.parametrize(("n_honest", "n_audited"), [(299, 400), (299, 4000), (750, 4000)])
def test_honest_models_are_not_called_divergent_because_problems_share_a_calibration(
    n_honest: int, n_audited: int
) -> None:
    generator = np.random.default_rng(5)
    called = []
    for _ in range(400):
        p_values = conformal_p(generator.random(n_honest), generator.random(n_audited))
        called.append(alarms_by_chance(int((p_values <= 0.01).sum()), [n_audited], [n_honest], 0.01) <= 0.05)
    assert binomtest(sum(called), len(called), 0.05, alternative="greater").pvalue > 1e-3


def test_a_planted_share_of_lies_is_beyond_chance() -> None:
    assert alarms_by_chance(20, [200], [300], 0.01) < 1e-3
    assert alarms_by_chance(0, [200], [300], 0.01) == 1
    assert alarms_by_chance(1, [200], [50], 0.01) == 0  # so few honest problems can flag nothing by chance


def test_lengths_with_few_honest_problems_make_no_alarm_of_another_length_remarkable() -> None:
    assert alarms_by_chance(1, [200, 5], [300, 50], 0.01) == pytest.approx(alarms_by_chance(1, [200], [300], 0.01))


def test_calibrations_of_several_lengths_add_up() -> None:
    generator = np.random.default_rng(5)
    called = []
    for _ in range(400):
        flagged = sum(
            int((conformal_p(generator.random(n), generator.random(m)) <= 0.05).sum())
            for m, n in ((300, 60), (50, 400))
        )
        called.append(alarms_by_chance(flagged, [300, 50], [60, 400], 0.05) <= 0.05)
    assert binomtest(sum(called), len(called), 0.05, alternative="greater").pvalue > 1e-3
    assert sum(called) > 0
