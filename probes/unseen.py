"""Does a thought hold a value that the probe was shown, or one that it never saw, or none?

A probe must name one of its values for any vector at all. Plain novelty tests ask whether a vector looks like the
fit rows; a harmless trigger word moves every vector and fails them, although each still lies beside one value and
far from the rest. So the question is turned round: see where thoughts lie whose value was left out, and where
vectors lie that go as far in a random direction, and trust a thought only if hardly any of either lie as near a
known value as it does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from probes.errors import ProbeDataError
from probes.frozen import FrozenNovelty
from probes.novelty import SubspaceNovelty, class_distances

Floats = NDArray[np.float64]

FEW_VALUES = 3
"""Up to so many values, distances are compared and not their ratios."""


@dataclass(frozen=True)
class UnseenValueTest:
    """Test of two hypotheses at once: the thought holds a value never shown to the probe, or it holds none."""

    novelty: FrozenNovelty
    left_out: Floats
    """`nearness` of thoughts whose own value was left out, sorted; smaller is nearer."""
    random: Floats
    """`nearness` of vectors as far from the mean thought in a random direction, sorted."""

    @classmethod
    def fit(
        cls, X_fit: ArrayLike, y_fit: ArrayLike, X_held: ArrayLike, y_held: ArrayLike, *, seed: int = 0
    ) -> UnseenValueTest:
        """Learn where values lie from the fit rows, and where other things lie from the held-out rows.

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
        few = len(values) <= FEW_VALUES
        parts = []
        for value in shown:
            rows = rows_held[labels_held == value]
            if len(values) == 2:
                parts.append(_distances(whole, rows)[:, 1 - int(value == values[1])])
            else:
                kept = labels_fit != value
                without = _frozen(SubspaceNovelty().fit(rows_fit[kept], labels_fit[kept]))
                parts.append(nearness(without, rows, few=few))
        far = nearness(whole, as_far_at_random(rows_held, seed), few=few)
        return cls(whole, np.sort(np.concatenate(parts)), np.sort(far))

    def p_value(self, X: ArrayLike) -> Floats:
        """The larger of the two p-values (plus-one rule), [n]: small where the value was shown."""
        few = len(self.novelty.class_means) <= FEW_VALUES
        score = nearness(self.novelty, np.asarray(X, dtype=np.float64), few=few)
        return np.maximum(_rank(self.left_out, score), _rank(self.random, score))


def nearness(novelty: FrozenNovelty, X: Floats, *, few: bool) -> Floats:
    """Distance to the nearest value over the distance to the next, in [0, 1], [n].

    With `few` values there is hardly a next one that an unseen value could be near instead: the distance itself, in
    within-class deviations.
    """
    distances = np.sort(_distances(novelty, X), axis=1)
    if few:
        return np.asarray(distances[:, 0])
    return np.asarray(distances[:, 0] / np.maximum(distances[:, 1], np.finfo(np.float64).tiny))


def _rank(reference: Floats, score: Floats) -> Floats:
    at_least = np.searchsorted(reference, score, side="right")
    return np.asarray((1 + at_least) / (len(reference) + 1), dtype=np.float64)


def as_far_at_random(X: Floats, seed: int) -> Floats:
    """Vectors as far from the mean as the rows are, in random directions; at least a thousand of them, [m, d]."""
    mean = X.mean(axis=0)
    lengths = np.linalg.norm(X - mean, axis=1)
    generator = np.random.default_rng(seed)
    n = max(1000, len(X))
    directions = generator.normal(size=(n, X.shape[1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return np.asarray(mean + directions * generator.choice(lengths, size=(n, 1)))


def _distances(novelty: FrozenNovelty, X: Floats) -> Floats:
    return class_distances(X, novelty.mean, novelty.basis, novelty.class_means, novelty.whitener)


def _frozen(novelty: SubspaceNovelty) -> FrozenNovelty:
    return FrozenNovelty(novelty.mean_, novelty.basis_, novelty.class_means_, novelty.whitener_)
