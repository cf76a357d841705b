"""What a text probe learns from, as sums: they add up, so that shards come in any order and none stays in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from probes.errors import ProbeDataError

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

ROUNDING = 1e-12
"""Of the mean square of the thoughts."""
END = -1
"""In a row of tokens: the text is over."""


@dataclass(frozen=True, slots=True, eq=False)
class TextRows:
    """Thoughts with the tokens of their texts."""

    thoughts: NDArray[Any]
    """[n, d]."""
    tokens: Ints
    """[n, n_offsets], `END` past the end of a text; every text has a token."""
    groups: NDArray[np.str_]
    """[n]; a group is never split."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "tokens", np.atleast_2d(np.asarray(self.tokens, dtype=np.intp)))
        object.__setattr__(self, "groups", np.asarray([str(group) for group in np.asarray(self.groups).ravel()]))
        n = len(self.thoughts)
        if self.thoughts.ndim != 2 or self.tokens.shape[0] != n or len(self.groups) != n or not self.tokens.shape[1]:
            raise ProbeDataError(
                f"thoughts {self.thoughts.shape}, tokens {self.tokens.shape} and {len(self.groups)} groups do not fit"
            )
        if not np.isfinite(self.thoughts).all():
            raise ProbeDataError("thoughts have values that are not finite")
        over = self.tokens == END
        if (self.tokens < END).any() or (over[:, :-1] & ~over[:, 1:]).any() or over[:, 0].any():
            raise ProbeDataError(f"tokens are 0 or more, and {END} from the end of a text on; no text is empty")

    def __len__(self) -> int:
        return len(self.thoughts)

    @property
    def n_offsets(self) -> int:
        """Tokens of the longest text that fits."""
        return int(self.tokens.shape[1])

    @property
    def lengths(self) -> Ints:
        """Tokens of each text, [n]."""
        lengths: Ints = (self.tokens != END).sum(axis=1)
        return lengths

    def followed_by(self, other: TextRows) -> TextRows:
        """These rows and then the others."""
        pairs = ((getattr(self, name), getattr(other, name)) for name in ("thoughts", "tokens", "groups"))
        return TextRows(*(np.concatenate(pair) for pair in pairs))

    def where(self, keep: Any) -> TextRows:
        """Some of the rows: by mask, places or slice."""
        return TextRows(self.thoughts[keep], self.tokens[keep], self.groups[keep])


@dataclass(frozen=True, slots=True, eq=False)
class TokenSums:
    """Sums over the thoughts of each token at one offset; `END` is one of them where texts are over by then."""

    seen: Ints
    """Tokens, rising, [s]."""
    times: Ints
    """[s]."""
    sums: Floats
    """[s, d]."""

    @classmethod
    def of(cls, thoughts: Floats, tokens: Ints) -> TokenSums:
        """Sums of thoughts [n, d] by their tokens [n]."""
        n = len(tokens)
        seen, place, times = np.unique(tokens, return_inverse=True, return_counts=True)
        members = sparse.csr_array((np.ones(n), (place, np.arange(n))), shape=(len(seen), n))
        return cls(seen, times, members @ thoughts)

    def plus(self, other: TokenSums) -> TokenSums:
        """Sums over the rows of both."""
        seen = np.union1d(self.seen, other.seen)
        times, sums = np.zeros(len(seen), dtype=np.intp), np.zeros((len(seen), self.sums.shape[1]))
        for part in (self, other):
            place = np.searchsorted(seen, part.seen)
            times[place] += part.times
            sums[place] += part.sums
        return TokenSums(seen, times, sums)


@dataclass(frozen=True, slots=True, eq=False)
class TextSums:
    """All that is learned from rows."""

    n: int
    gram: Floats
    """X'X, [d, d]."""
    offsets: tuple[TokenSums, ...]

    @classmethod
    def of(cls, rows: TextRows) -> TextSums:
        """Sums of one block."""
        thoughts = np.asarray(rows.thoughts, dtype=np.float64)
        return cls(len(rows), thoughts.T @ thoughts, tuple(TokenSums.of(thoughts, t) for t in rows.tokens.T))

    def plus(self, other: TextSums) -> TextSums:
        """Sums over the rows of both."""
        offsets = tuple(a.plus(b) for a, b in zip(self.offsets, other.offsets, strict=True))
        return TextSums(self.n + other.n, self.gram + other.gram, offsets)

    @property
    def mean(self) -> Floats:
        """Of all thoughts, [d]."""
        mean: Floats = self.offsets[0].sums.sum(axis=0) / self.n
        return mean

    def covariance(self) -> Floats:
        """Of all thoughts, about their mean, [d, d]; what varies by no more than rounding has an inverse too."""
        square = self.gram / self.n
        covariance: Floats = square - np.outer(self.mean, self.mean)
        covariance[np.diag_indices_from(covariance)] += ROUNDING * np.trace(square) / len(square)
        return covariance


def together(parts: Sequence[TextSums]) -> TextSums:
    """Sums over the rows of all parts."""
    return reduce(TextSums.plus, parts)
