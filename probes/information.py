"""Decodable bits: how much of a label a linear probe can tell from vectors it was not fitted on.

V-information (Xu et al. 2020, arXiv:2002.10689) of linear softmax probes: label entropy minus the cross-entropy of
the probe on held-out rows. It never exceeds the mutual information, so it bounds from below what vectors hold of a
label; what only another kind of reader could tell is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from probes.controls import NothingToExchange, permuted_labels
from probes.errors import ProbeDataError
from probes.intervals import Interval, group_bootstrap
from probes.linear import ValueProbe

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Label = str | tuple[str, ...]
"""One value, or the members of a set."""

N_SHUFFLES = 5


@dataclass(frozen=True, slots=True)
class Decodable:
    """Bits of a label that can be read from held-out rows, beside shuffled labels."""

    bits: float
    """Label entropy minus the probe's cross-entropy, at least 0: a probe may always leave the vectors aside."""
    interval: Interval
    entropy: float
    """Of the label among the held-out rows, bits: the most that could be read. Of a set: summed over its members."""
    shuffled: float
    """The same figure for shuffled labels, mean over refits."""
    n: int
    n_groups: int
    n_labels: int
    """Values, or members of sets, that occur."""
    pointwise: Floats
    """Bits told of each held-out row; may be negative, [n]."""

    def __post_init__(self) -> None:
        numbers = (self.bits, self.entropy, self.shuffled)
        if not all(np.isfinite(numbers)) or min(numbers) < 0 or len(self.pointwise) != self.n:
            raise ProbeDataError(f"bits are finite and 0 or more, one figure a row; found {numbers} for n={self.n}")


def decodable_bits(
    X: ArrayLike,
    labels: Sequence[Label],
    groups: Sequence[str],
    held_out: NDArray[np.bool_],
    *,
    n_shuffles: int = N_SHUFFLES,
    seed: int = 0,
) -> Decodable:
    """Fit on some rows, read the others.

    A set is read member by member, and their bits are summed: that counts what members tell of each other twice, so
    it is compared with the summed entropies and bounds nothing.

    Args:
        X: [n, d].
        labels: of each row; all values, or all sets.
        groups: of each row; whole groups are drawn again for the interval.
        held_out: rows the probe must not see, [n].
        n_shuffles: refits on labels shuffled on both sides.
        seed: of folds, shuffles and bootstrap.

    Raises:
        ProbeDataError: shapes that do not fit, values beside sets, or nothing to learn from or to read.
    """
    rows, names = np.asarray(X, dtype=np.float64), np.asarray(groups)
    if rows.ndim != 2 or not len(rows) == len(labels) == len(names) == len(held_out):
        raise ProbeDataError(f"{rows.shape} vectors, {len(labels)} labels, {len(names)} groups and the split differ")
    if not held_out.any() or held_out.all():
        raise ProbeDataError(f"bits need rows to learn from and to read; found {int(held_out.sum())} of {len(rows)}")
    columns, n_labels = _columns(labels)
    task = _Task(rows[~held_out], rows[held_out], names[~held_out], names[held_out], seed)
    split = [(column[~held_out], column[held_out], int(column.max()) + 1) for column in columns]
    pointwise = np.sum([task.told(*column) for column in split], axis=0)
    shuffled = [np.sum([task.told(*column) for column in task.shuffle(split, k)]) for k in range(n_shuffles)]
    entropy = float(sum(_entropy(held, n) for _, held, n in split))
    mean = float(pointwise.mean())
    found = group_bootstrap(
        pointwise, task.groups_held, seed=seed, bounds=(min(mean, 0.0), max(mean, entropy, np.log2(max(2, n_labels))))
    )
    return Decodable(
        bits=max(0.0, mean),
        interval=Interval(max(0.0, found.low), max(0.0, found.high)),
        entropy=entropy,
        shuffled=max(0.0, float(np.mean(shuffled)) / len(pointwise)) if shuffled else 0.0,
        n=len(pointwise),
        n_groups=len(np.unique(task.groups_held)),
        n_labels=n_labels,
        pointwise=pointwise,
    )


def _columns(labels: Sequence[Label]) -> tuple[list[Ints], int]:
    """Codes of one column, or of one column for each member of the sets."""
    sets = {isinstance(label, tuple) for label in labels}
    if len(sets) > 1:
        raise ProbeDataError("some labels are values and some are sets; a probe reads one kind")
    if sets == {False}:
        classes, codes = np.unique(np.asarray(labels, dtype=np.str_), return_inverse=True)
        return [codes.astype(np.intp)], len(classes)
    members = sorted({member for label in labels for member in label})
    return [np.array([member in label for label in labels], dtype=np.intp) for member in members], len(members)


@dataclass(frozen=True, slots=True)
class _Task:
    """Rows to learn from and rows to read."""

    fit: Floats
    held: Floats
    groups_fit: NDArray[np.str_]
    groups_held: NDArray[np.str_]
    seed: int

    def told(self, fit: Ints, held: Ints, n_classes: int) -> Floats:
        """Bits told of each held-out row: how much shorter it is than by the held-out frequencies alone."""
        counts = np.bincount(held, minlength=n_classes)
        plain = np.log2(counts[held] / len(held))
        return self._log2_read(fit, held, n_classes) - plain

    def _log2_read(self, fit: Ints, held: Ints, n_classes: int) -> Floats:
        """Log probability of each row's own label; a probe of m rows counts for m observations beside a uniform one."""
        present = np.unique(fit)
        read = np.zeros(len(held))
        if len(present) < 2:
            read[held == present[0]] = 1.0
        else:
            probe = ValueProbe(random_state=self.seed).fit(self.fit, fit, groups=self.groups_fit)
            known = np.isin(held, present)
            places = np.searchsorted(present, held[known])
            read[known] = probe.predict_proba(self.held[known])[np.arange(len(places)), places] if known.any() else 0.0
        return np.asarray(np.log2((len(fit) * read + 1 / n_classes) / (len(fit) + 1)))

    def shuffle(self, split: Sequence[tuple[Ints, Ints, int]], number: int) -> list[tuple[Ints, Ints, int]]:
        """Labels shuffled on both sides, whole groups together where groups can exchange theirs."""
        shuffled = []
        for fit, held, n in split:
            sides = []
            for side, (codes, groups) in enumerate(((fit, self.groups_fit), (held, self.groups_held))):
                rng = np.random.default_rng([self.seed, number, side])
                try:
                    sides.append(permuted_labels(codes, groups, n_shuffles=1, rng=rng)[0])
                except NothingToExchange:
                    sides.append(rng.permutation(codes))
            shuffled.append((sides[0], sides[1], n))
        return shuffled


def _entropy(codes: Ints, n_classes: int) -> float:
    shares = np.bincount(codes, minlength=n_classes) / len(codes)
    return float(-(shares[shares > 0] * np.log2(shares[shares > 0])).sum())
