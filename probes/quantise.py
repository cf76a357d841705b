"""Codes for vectors: few words or few numbers instead of all of them, and how many bits that takes.

Three kinds. A vector code names the nearest of K words (k-means). A named code sends the value that a linear probe
reads, and its words are the mean vectors of the values. A scalar code keeps `rank` principal components and
rounds each to a multiple of one width, so that components that vary less than the width cost nothing (reverse
water-filling). Rates are code lengths of rows that a code was not fitted on: the frequencies come from the fit rows,
with a reserve for symbols that never occurred there, so that rounding ever finer is not free.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import logistic
from sklearn.cluster import KMeans
from sklearn.metrics import pairwise_distances_argmin

from probes.errors import ProbeDataError
from probes.linear import ValueProbe

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FEWEST_SEEN = 2
"""Rows per distinct tuple from which on tuples are coded as wholes."""
LEAST_SHARE = 2.0**-60
N_STARTS = 4


@runtime_checkable
class Code(Protocol):
    """From vectors to symbols and back."""

    def encode(self, X: ArrayLike) -> Ints:
        """Symbols of rows [n, d]: [n, m] whole numbers."""

    def decode(self, symbols: Ints) -> Floats:
        """Vectors [n, d] of symbols [n, m]."""

    def bits(self, symbols: Ints) -> Floats:
        """Code length of each row of symbols, [n]."""


@dataclass(frozen=True, slots=True)
class VectorCode:
    """The nearest of K words."""

    words: Floats
    """[K, d]."""
    counts: Ints
    """Fit rows of each word, [K]."""

    def __post_init__(self) -> None:
        if self.words.ndim != 2 or len(self.words) != len(self.counts) or len(self.words) == 0:
            raise ProbeDataError(f"{self.words.shape} words and {self.counts.shape} counts differ")

    def encode(self, X: ArrayLike) -> Ints:
        """Number of the nearest word, [n, 1]."""
        nearest = pairwise_distances_argmin(np.asarray(X, dtype=np.float64), self.words)
        return np.asarray(nearest, dtype=np.int64)[:, None]

    def decode(self, symbols: Ints) -> Floats:
        """The words themselves."""
        return np.asarray(self.words[symbols[:, 0]])

    def bits(self, symbols: Ints) -> Floats:
        """Frequencies of the fit rows, half a row more for each word (Krichevsky & Trofimov 1981)."""
        shares = (self.counts + 0.5) / (self.counts.sum() + 0.5 * len(self.counts))
        return np.asarray(-np.log2(shares[symbols[:, 0]]))


def vector_code(X: ArrayLike, n_words: int, *, seed: int = 0) -> VectorCode:
    """K-means words of rows [n, d]; where no more rows differ than there are words, the rows themselves.

    Raises:
        ProbeDataError: no rows, rows that are not finite, or fewer than one word.
    """
    rows = _checked(X)
    if n_words < 1:
        raise ProbeDataError(f"a code has at least one word; found {n_words}")
    distinct, place = np.unique(rows, axis=0, return_inverse=True)
    if len(distinct) <= n_words:
        return VectorCode(distinct, np.bincount(place.ravel()))
    found = KMeans(n_words, n_init=N_STARTS if n_words > 1 else 1, random_state=seed).fit(rows)
    return VectorCode(found.cluster_centers_.astype(np.float64), np.bincount(found.labels_, minlength=n_words))


@dataclass(frozen=True, slots=True)
class NamedCode:
    """The value that a linear probe reads; its word is the mean vector of the value."""

    words: VectorCode
    coef: Floats
    """[K, d]."""
    intercept: Floats
    """[K]."""

    def encode(self, X: ArrayLike) -> Ints:
        """Place of the value read, [n, 1]."""
        logits = np.asarray(X, dtype=np.float64) @ self.coef.T + self.intercept
        return np.asarray(logits.argmax(axis=1), dtype=np.int64)[:, None]

    def decode(self, symbols: Ints) -> Floats:
        """The mean vectors."""
        return self.words.decode(symbols)

    def bits(self, symbols: Ints) -> Floats:
        """Frequencies of the values among the fit rows, half a row more for each."""
        return self.words.bits(symbols)


def named_code(X: ArrayLike, labels: Sequence[str], groups: Sequence[str], *, seed: int = 0) -> NamedCode:
    """The code of these values: probe and means of rows [n, d].

    Raises:
        ProbeDataError: no rows, rows that are not finite, or other numbers of labels and groups than of rows.
    """
    rows, names = _checked(X), np.asarray(labels, dtype=np.str_)
    if not len(rows) == len(names) == len(groups):
        raise ProbeDataError(f"{len(rows)} rows, {len(names)} labels and {len(groups)} groups must be equally many")
    values, place, counts = np.unique(names, return_inverse=True, return_counts=True)
    words = VectorCode(np.stack([rows[place == k].mean(axis=0) for k in range(len(values))]), counts.astype(np.int64))
    if len(values) == 1:
        return NamedCode(words, np.zeros((1, rows.shape[1])), np.zeros(1))
    probe = ValueProbe(random_state=seed).fit(rows, names, groups=groups)
    return NamedCode(words, probe.coef_, probe.intercept_)


@dataclass(frozen=True, slots=True)
class Axes:
    """Principal components of rows, the widest first."""

    mean: Floats
    directions: Floats
    """[d, r], orthonormal."""
    deviations: Floats
    """[r]."""


def principal_axes(X: ArrayLike) -> Axes:
    """All components along which rows [n, d] vary.

    Raises:
        ProbeDataError: no rows, or rows that are not finite.
    """
    rows = _checked(X)
    mean = rows.mean(axis=0)
    _, sizes, directions = np.linalg.svd(rows - mean, full_matrices=False)
    kept = sizes > 1e-9 * max(float(sizes.max(initial=0.0)), np.finfo(np.float64).tiny)
    return Axes(mean, directions[kept].T, sizes[kept] / np.sqrt(len(rows)))


@dataclass(frozen=True, slots=True)
class ScalarCode:
    """`rank` principal components, each rounded to a multiple of `width`."""

    axes: Axes
    width: float
    tables: tuple[Mapping[int, int], ...]
    """Symbol -> fit rows, for each component kept."""
    tuples: Mapping[tuple[int, ...], int]
    """All symbols of a row -> fit rows; empty where tuples hardly recur."""
    n_fit: int

    @property
    def rank(self) -> int:
        """Components kept."""
        return len(self.tables)

    def encode(self, X: ArrayLike) -> Ints:
        """Rounded components, [n, rank]."""
        along = (np.asarray(X, dtype=np.float64) - self.axes.mean) @ self.axes.directions[:, : self.rank]
        return np.rint(along / self.width).astype(np.int64)

    def decode(self, symbols: Ints) -> Floats:
        """Back to vectors; what was left out is the mean."""
        return np.asarray(self.axes.mean + (symbols * self.width) @ self.axes.directions[:, : self.rank].T)

    def bits(self, symbols: Ints) -> Floats:
        """Components one by one; whole tuples by their own frequency where they recur."""
        log_shares = np.zeros(len(symbols))
        for k, table in enumerate(self.tables):
            log_shares += np.log2(self._shares(symbols[:, k], table, float(self.axes.deviations[k])))
        if not self.tuples:
            return np.asarray(-log_shares)
        seen = np.array([self.tuples.get(tuple(row), 0) for row in symbols.tolist()])
        reserve = len(self.tuples)
        shares = (seen + reserve * np.exp2(log_shares)) / (self.n_fit + reserve)
        return np.asarray(-np.log2(np.maximum(shares, LEAST_SHARE)))

    def _shares(self, symbols: Ints, table: Mapping[int, int], deviation: float) -> Floats:
        """Frequencies, and for what never occurred a discretised logistic of equal deviation (escape as in PPM-C)."""
        scale = max(deviation, self.width / 4) / self.width * np.sqrt(3) / np.pi
        smooth = logistic.cdf((symbols + 0.5) / scale) - logistic.cdf((symbols - 0.5) / scale)
        seen = np.array([table.get(symbol, 0) for symbol in symbols.tolist()])
        shares = (seen + len(table) * smooth) / (self.n_fit + len(table))
        return np.asarray(np.maximum(shares, LEAST_SHARE))


def scalar_code(X: ArrayLike, axes: Axes, rank: int, width: float) -> ScalarCode:
    """The code of so many components and this width, with the frequencies of rows [n, d].

    Raises:
        ProbeDataError: no rows, a rank that the axes do not have, or a width that is not above 0.
    """
    rows = _checked(X)
    if not 0 <= rank <= axes.directions.shape[1] or not (np.isfinite(width) and width > 0):
        raise ProbeDataError(
            f"rank is 0 to {axes.directions.shape[1]} and width above 0; found rank {rank} and width {width}"
        )
    blank = ScalarCode(axes, width, tuple({} for _ in range(rank)), {}, len(rows))
    symbols = blank.encode(rows)
    tables = tuple(dict(Counter(column.tolist())) for column in symbols.T)
    tuples = Counter(map(tuple, symbols.tolist()))
    recurring = dict(tuples) if FEWEST_SEEN * len(tuples) <= len(rows) else {}
    return ScalarCode(axes, width, tables, recurring, len(rows))


def _checked(X: ArrayLike) -> Floats:
    rows = np.asarray(X, dtype=np.float64)
    if rows.ndim != 2 or len(rows) == 0 or not np.isfinite(rows).all():
        raise ProbeDataError(f"a code is fitted to finite rows [n, d] with n >= 1; found shape {rows.shape}")
    return rows
