"""Does a thought hold a value that the probe was shown, or one that it never saw?

A probe must name one of its values for any vector at all. Plain novelty tests ask whether a vector looks like the
fit rows; a harmless trigger word moves every vector and fails them, although each still lies beside one value and
far from the rest. So the question is turned round: leave out each value in turn, see where its thoughts then lie,
and trust a thought only if thoughts of never-shown values hardly ever lie as near a known value as it does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from probes.errors import ProbeDataError
from probes.frozen import FrozenNovelty
from probes.novelty import SubspaceNovelty

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class UnseenValueTest:
    """Conformal test of the hypothesis that a thought holds a value the probe was never shown."""

    novelty: FrozenNovelty
    reference: Floats
    """`nearness` of thoughts whose own value was left out, sorted; smaller is nearer."""

    @classmethod
    def fit(cls, X_fit: ArrayLike, y_fit: ArrayLike, X_held: ArrayLike, y_held: ArrayLike) -> UnseenValueTest:
        """Learn where values lie from the fit rows, and where never-shown values lie from the held-out rows.

        Raises:
            ProbeDataError: no held-out row has a value of the fit rows.
        """
        rows_fit, rows_held = np.asarray(X_fit, dtype=np.float64), np.asarray(X_held, dtype=np.float64)
        labels_fit, labels_held = np.asarray(y_fit), np.asarray(y_held)
        whole = _frozen(SubspaceNovelty().fit(rows_fit, labels_fit))
        values = np.unique(labels_fit)
        shown = [value for value in values if (labels_held == value).any()]
        if not shown:
            raise ProbeDataError("no held-out row has a value that was fitted: nothing shows where unseen values lie")
        if len(values) == 2:
            parts = [_distance_to_other(whole, rows_held[labels_held == v], int(v == values[1])) for v in shown]
        else:
            parts = [
                nearness(_without(rows_fit, labels_fit, value), rows_held[labels_held == value]) for value in shown
            ]
        return cls(whole, np.sort(np.concatenate(parts)))

    def p_value(self, X: ArrayLike) -> Floats:
        """Share of unseen-value thoughts at least as near (plus-one rule), [n]: small where the value was shown."""
        score = nearness(self.novelty, np.asarray(X, dtype=np.float64))
        at_least = np.searchsorted(self.reference, score, side="right")
        return np.asarray((1 + at_least) / (len(self.reference) + 1), dtype=np.float64)


def nearness(novelty: FrozenNovelty, X: Floats) -> Floats:
    """Distance to the nearest value over the distance to the next, in [0, 1], [n].

    With two values there is no next one that an unseen value could be near instead: the distance itself, in
    within-class deviations.
    """
    distances = np.sort(_distances(novelty, X), axis=1)
    if distances.shape[1] == 2:
        return np.asarray(distances[:, 0])
    return np.asarray(distances[:, 0] / np.maximum(distances[:, 1], np.finfo(np.float64).tiny))


def _distances(novelty: FrozenNovelty, X: Floats) -> Floats:
    rows = (X - novelty.mean) @ novelty.basis.T @ novelty.whitener
    centres = novelty.class_means @ novelty.whitener
    squared = np.square(rows).sum(1)[:, None] - 2 * rows @ centres.T + np.square(centres).sum(1)
    return np.asarray(np.sqrt(np.maximum(squared, 0.0)))


def _distance_to_other(novelty: FrozenNovelty, X: Floats, own: int) -> Floats:
    return np.asarray(_distances(novelty, X)[:, 1 - own])


def _without(X: Floats, y: NDArray[np.generic], value: object) -> FrozenNovelty:
    kept = y != value
    return _frozen(SubspaceNovelty().fit(X[kept], y[kept]))


def _frozen(novelty: SubspaceNovelty) -> FrozenNovelty:
    return FrozenNovelty(novelty.mean_, novelty.basis_, novelty.class_means_, novelty.whitener_)
