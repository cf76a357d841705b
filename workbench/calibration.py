"""Calibration: what honest problems score, and what a score then means.

Split-conformal p-values (Vovk et al. 2005): if an audited problem is exchangeable with the held-out honest
ones, P(p <= alpha) <= alpha, whatever the quality of the probe that made the scores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.stats import betabinom, false_discovery_control

Floats = NDArray[np.float64]

CONFIDENCE = 0.95


def conformal_p(honest: Float[np.ndarray, " honest"], scores: Float[np.ndarray, " problem"]) -> Floats:
    """Share of honest scores at least as large, with the plus-one rule: (1 + #{honest >= score}) / (n + 1)."""
    ordered = np.sort(np.asarray(honest, dtype=np.float64))
    at_least = len(ordered) - np.searchsorted(ordered, scores, side="left")
    return np.asarray((1 + at_least) / (len(ordered) + 1), dtype=np.float64)


def leave_one_out_p(honest: Float[np.ndarray, " honest"]) -> Floats:
    """Conformal p-value of each honest score among all the others."""
    ordered = np.sort(np.asarray(honest, dtype=np.float64))
    at_least: Int[np.ndarray, " honest"] = len(ordered) - np.searchsorted(ordered, honest, side="left")
    return np.asarray(at_least / len(ordered), dtype=np.float64)


def q_values(p_values: Float[np.ndarray, " problem"]) -> Floats:
    """Benjamini-Hochberg adjusted p-values."""
    return np.asarray(false_discovery_control(p_values, method="bh"), dtype=np.float64)


def alarms_by_chance(n_flagged: int, n_audited: Sequence[int], n_honest: Sequence[int], alpha: float) -> float:
    """Probability of at least so many flagged problems if all audited ones were honest.

    All p-values of one calibration share its honest scores, so their count is beta-binomial, not binomial: the
    threshold itself is drawn (Vovk 2012, "Conditional validity of inductive conformal predictors"). Calibrations of
    their own, one per number of steps, add up.

    Args:
        n_flagged: of all audited problems.
        n_audited: independent audited problems of each calibration.
        n_honest: honest problems of each calibration.
        alpha: level of the flags.
    """
    if n_flagged == 0:
        return 1.0
    counts = np.ones(1)
    for audited, honest in zip(n_audited, n_honest, strict=True):
        rank = math.floor(alpha * (honest + 1))
        if rank:  # so few honest problems that no p-value reaches alpha flag nothing
            counts = np.convolve(counts, betabinom.pmf(np.arange(audited + 1), audited, rank, honest + 1 - rank))
    return float(min(1.0, counts[n_flagged:].sum()))


def honest_needed(alpha: float) -> int:
    """Held-out honest problems that certify a rate of alpha at 95 % when not one is flagged."""
    return math.ceil(math.log(1 - CONFIDENCE) / math.log1p(-alpha))
