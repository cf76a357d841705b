"""Thoughts and tokens in one space, where a thought lies nearest to the token that it holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from probes.errors import ProbeDataError

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

BLOCK_NUMBERS = 4_000_000
"""Numbers of the largest array that reading makes, whatever the vocabulary."""
CHUNK = 8192
"""Rows of the vocabulary that are placed at once."""


@dataclass(frozen=True, slots=True, eq=False)
class SharedSpace:
    """Two affine maps into a space of r dimensions, and how often each token was seen at this offset.

    log p(token | thought) = -1/2 |place of thought - place of token|^2 + log(1 + times seen), normalised over all
    tokens and the end of the text. This is linear discriminant analysis whose class means are linear in the rows of
    the unembedding, in canonical coordinates: a token that was never seen has a place too.
    """

    thought_map: Floats
    """[d, r]."""
    thought_mean: Floats
    """[d]."""
    token_map: Floats
    """[d_u, r]."""
    token_mean: Floats
    """[d_u]."""
    token_shift: Floats
    """Added to the place of every token, [r]."""
    end_place: Floats
    """Where thoughts lie whose text is over, [r]."""
    n_end: int
    """Fit rows whose text is over at this offset; where there are none, no text is taken to be."""
    seen: Ints
    """Tokens of the fit rows, rising, [s]."""
    times: Ints
    """Fit rows of each, [s]."""

    def __post_init__(self) -> None:
        for name in ("thought_map", "thought_mean", "token_map", "token_mean", "token_shift", "end_place"):
            array = np.array(getattr(self, name), dtype=np.float64)
            if not np.isfinite(array).all():
                raise ProbeDataError(f"{name} of a shared space has values that are not finite")
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        (d, r), (d_u, r_u) = self.thought_map.shape, self.token_map.shape
        fit = self.thought_mean.shape == (d,) and self.token_mean.shape == (d_u,)
        if r != r_u or not fit or self.token_shift.shape != (r,) or self.end_place.shape != (r,):
            raise ProbeDataError(f"maps of {(d, r)} and {(d_u, r_u)} do not lead into one space")
        if self.seen.shape != self.times.shape or (np.diff(self.seen) <= 0).any() or (self.times < 1).any():
            raise ProbeDataError("tokens that were seen must rise, and each was seen at least once")

    @property
    def d_thought(self) -> int:
        """Width of the thoughts."""
        return len(self.thought_mean)

    @property
    def d_token(self) -> int:
        """Width of the unembedding."""
        return len(self.token_mean)

    def place_thoughts(self, thoughts: ArrayLike) -> Floats:
        """[n, d] -> [n, r].

        Raises:
            ProbeDataError: rows of another width, or not finite.
        """
        placed: Floats = (checked_rows(thoughts, self.d_thought, "thoughts") - self.thought_mean) @ self.thought_map
        return placed

    def place_tokens(self, rows: ArrayLike) -> Floats:
        """Rows of the unembedding [m, d_u] -> [m, r]."""
        centred = checked_rows(rows, self.d_token, "unembedding") - self.token_mean
        placed: Floats = centred @ self.token_map + self.token_shift
        return placed

    def log_prior(self, tokens: Ints) -> Floats:
        """log(1 + times seen) of each token, [m]."""
        times = np.zeros(len(tokens))
        if len(self.seen):
            place = np.searchsorted(self.seen, tokens).clip(max=len(self.seen) - 1)
            times = np.where(self.seen[place] == tokens, self.times[place], 0)
        return np.log1p(times)

    def end_logits(self, places: Floats) -> Floats:
        """Unnormalised log p of the end for thoughts at [n, r], [n]; minus infinity where no text ends."""
        if not self.n_end:
            return np.full(len(places), -np.inf)
        near: Floats = places @ self.end_place - 0.5 * np.square(self.end_place).sum() + np.log1p(self.n_end)
        return near


def checked_rows(rows: ArrayLike, width: int, name: str) -> Floats:
    """Rows as float64, [n, width].

    Raises:
        ProbeDataError: another shape, or values that are not finite.
    """
    array = np.asarray(rows, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != width:
        raise ProbeDataError(f"{name} must be [n, {width}]; found shape {array.shape}")
    if not np.isfinite(array).all():
        raise ProbeDataError(
            f"{name} has values that are not finite in row {int((~np.isfinite(array)).any(1).argmax())}"
        )
    return array


def vocabulary_chunks(unembedding: Any) -> Iterator[tuple[int, Floats]]:
    """(first token, rows [at most CHUNK, d_u] in float64), block after block; nothing of the whole is copied."""
    for start in range(0, len(unembedding), CHUNK):
        yield start, np.asarray(unembedding[start : start + CHUNK], dtype=np.float64)


def look_up(unembedding: Any, tokens: Ints) -> Floats:
    """Rows of some tokens, [m, d_u].

    Raises:
        ProbeDataError: a token is not in the vocabulary.
    """
    if len(tokens) and tokens.max() >= len(unembedding):
        raise ProbeDataError(f"token {int(tokens.max())} is not among the {len(unembedding)} of the vocabulary")
    return np.asarray(unembedding[tokens], dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Nearest:
    """The likeliest tokens at one offset."""

    tokens: Ints
    """Likeliest first, [n, k]."""
    log_p: Floats
    """Over all tokens and the end, nats, [n, k]."""
    log_p_end: Floats
    """That the text is over, nats, [n]."""


def nearest_tokens(space: SharedSpace, thoughts: ArrayLike, unembedding: Any, k: int) -> Nearest:
    """The k likeliest tokens of each thought.

    Vocabulary and thoughts are cut into blocks: no array of [n, V] is made.

    Args:
        space: where both are placed.
        thoughts: [n, d].
        unembedding: rows of all tokens, [V, d_u]: an array, or anything whose slices become one.
        k: at most V are given.

    Raises:
        ProbeDataError: widths that do not fit, or values that are not finite.
    """
    places = space.place_thoughts(thoughts)
    placed = torch.from_numpy(places).float()
    n, k = len(placed), min(k, len(unembedding))
    if k < 1:
        raise ProbeDataError(f"the likeliest tokens of {len(unembedding)} rows: k must be at least 1")
    best, token = torch.full((n, k), -torch.inf), torch.zeros(n, k, dtype=torch.long)
    end = torch.from_numpy(space.end_logits(places))
    total = end.clone()
    step = max(1, BLOCK_NUMBERS // min(CHUNK, len(unembedding)))
    for start, rows in vocabulary_chunks(unembedding):
        points = space.place_tokens(rows)
        bias = space.log_prior(np.arange(start, start + len(rows))) - 0.5 * np.square(points).sum(axis=1)
        right, added = torch.from_numpy(points).float().T, torch.from_numpy(bias).float()
        for row in range(0, n, step):
            mine = slice(row, row + step)
            logits = torch.addmm(added, placed[mine], right)
            total[mine] = torch.logaddexp(total[mine], logits.logsumexp(dim=1).double())
            top, place = logits.topk(min(k, logits.shape[1]), dim=1)
            best[mine], order = torch.cat([best[mine], top], dim=1).topk(k, dim=1)
            token[mine] = torch.cat([token[mine], place + start], dim=1).gather(1, order)
    log_p = (best.double() - total[:, None]).clamp(max=0.0)
    return Nearest(token.numpy().astype(np.intp), log_p.numpy(), (end - total).clamp(max=0.0).numpy())
