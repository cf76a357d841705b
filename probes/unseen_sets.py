"""Does a thought hold a set of values that the probe was shown, or members that it never saw, or none?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.covariance import ledoit_wolf

from probes.errors import ProbeDataError
from probes.frozen import FrozenProbe
from probes.sets import Sets, checked_rows, members
from probes.unseen import as_far_at_random

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class UnseenSetTest:
    """Does a vector lie where sets of known values lie? Two hypotheses at once, as in `UnseenValueTest`.

    Each member moves a thought by a vector of its own (least squares). A row is trusted only if hardly any row whose
    set has a member that is left out, or that goes as far from the mean in a random direction, lies as near to what
    its set would give. All directions count: a member that was never shown moves a thought along one of its own.
    """

    moves: Floats
    """Of the empty set, and what each member adds, in whitened coordinates, [1 + V, d]."""
    whitener: Floats
    """From raw vectors into units of the spread around their sets, [d, d]."""
    probe: FrozenProbe
    left_out: Floats
    """Distances of rows from their set without one member, sorted."""
    random: Floats
    """Distances of vectors as far from the mean as the rows are, in random directions, sorted."""

    @classmethod
    def fit(
        cls, probe: FrozenProbe, X_fit: ArrayLike, y_fit: Sets, X_held: ArrayLike, y_held: Sets, *, seed: int = 0
    ) -> UnseenSetTest:
        """Learn from the fit rows where sets lie, and from the held-out rows where other things lie.

        Raises:
            ProbeDataError: no held-out set has a member that was fitted.
        """
        rows, held_rows = checked_rows(X_fit, len(y_fit)), checked_rows(X_held, len(y_held))
        design = np.column_stack([np.ones(len(rows)), members(y_fit, probe.classes)]).astype(np.float64)
        moves, *_ = np.linalg.lstsq(design, rows, rcond=None)
        covariance, _ = ledoit_wolf(rows - design @ moves, assume_centered=True)
        values, vectors = np.linalg.eigh(np.atleast_2d(covariance))
        # Rows that lie exactly at their sets are given a thousandth of what members add: distances stay finite.
        floor = max(1e-6 * float(np.square(moves[1:]).mean()), float(np.finfo(np.float64).tiny))
        whitener = vectors / np.sqrt(np.maximum(values, floor))
        bare = cls(moves @ whitener, whitener, probe, np.empty(0), np.empty(0))
        held = members(y_held, probe.classes)
        left_out = [bare._distance(held_rows[has], held[has] & (np.arange(len(held.T)) != k))
                    for k, has in enumerate(held.T) if has.any()]  # fmt: skip
        if not left_out:
            raise ProbeDataError("no held-out set has a member that was fitted: nothing shows where unseen ones lie")
        far = as_far_at_random(held_rows, seed)
        return cls(
            bare.moves, whitener, probe, np.sort(np.concatenate(left_out)),
            np.sort(bare._distance(far, probe.log_odds(far) > 0)),
        )  # fmt: skip

    def p_value(self, X: ArrayLike) -> Floats:
        """The larger of the two p-values (plus-one rule), [n]: small where the vector lies among known sets."""
        rows = checked_rows(X, None)
        distance = self._distance(rows, self.probe.log_odds(rows) > 0)
        ranks = [
            (1 + np.searchsorted(reference, distance, side="right")) / (len(reference) + 1)
            for reference in (self.left_out, self.random)
        ]
        return np.asarray(np.maximum(*ranks), dtype=np.float64)

    def _distance(self, rows: Floats, held: Bools) -> Floats:
        """Mahalanobis distance of each row to what its set would give, [n]."""
        return np.asarray(np.linalg.norm(rows @ self.whitener - self.moves[0] - held @ self.moves[1:], axis=1))
