"""Calibration: what honest problems score, and what a score then means.

Split-conformal p-values (Vovk et al. 2005): if an audited problem is exchangeable with the held-out honest
ones, P(p <= alpha) <= alpha, whatever the quality of the probe that made the scores.
"""

from __future__ import annotations

import math

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


def alarms_by_chance(n_flagged: int, n_audited: int, n_honest: int, alpha: float) -> float:
    """Probability of at least so many flagged problems if all audited ones were honest.

    All p-values share one set of honest scores, so the count is beta-binomial, not binomial: the threshold itself is
    drawn (Vovk 2012, "Conditional validity of inductive conformal predictors").
    """
    rank = math.floor(alpha * (n_honest + 1))
    if n_flagged == 0:
        return 1.0
    return 0.0 if rank == 0 else float(betabinom.sf(n_flagged - 1, n_audited, rank, n_honest + 1 - rank))


def honest_needed(alpha: float) -> int:
    """Held-out honest problems that certify a rate of alpha at 95 % when not one is flagged."""
    return math.ceil(math.log(1 - CONFIDENCE) / math.log1p(-alpha))
