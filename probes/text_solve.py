"""From sums to a shared space, in closed form: class means linear in the rows of the unembedding, one covariance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from probes.text_space import SharedSpace, look_up, vocabulary_chunks
from probes.text_sums import END, TokenSums

Floats = NDArray[np.float64]
Solve = Callable[[Floats], Floats]

FLOOR = 0.01
"""Mean variances of the vocabulary; a direction in which it varies less is stretched no further."""
LEAST = 1e-9
"""Directions in which seen tokens differ by less, relative to the most, are left out."""
MOST = 1 - 1e-4
"""Squared canonical correlation that is taken for certain: what is planted without noise has a finite place."""


def whitener_of(unembedding: Any) -> Floats:
    """Matrix [d_u, d_u] after which the rows of the whole vocabulary vary equally in all directions, block by block.

    A few directions of an unembedding are far larger than all others and say little about which token it is.
    """
    n, d_u = len(unembedding), int(unembedding.shape[1])
    total, gram = np.zeros(d_u), np.zeros((d_u, d_u))
    for _, rows in vocabulary_chunks(unembedding):
        total += rows.sum(axis=0)
        gram += rows.T @ rows
    values, vectors = np.linalg.eigh(gram / n - np.outer(total, total) / n**2)
    floor = FLOOR * max(float(values.mean()), np.finfo(np.float64).tiny)
    whitener: Floats = (vectors / np.sqrt(values.clip(min=0) + floor)) @ vectors.T
    return whitener


@dataclass(frozen=True, slots=True, eq=False)
class SeenTokens:
    """The tokens of the fit rows at one offset, in the uncorrelated directions in which they differ.

    The last direction tells a token from the end of the text, where some texts are over.
    """

    mean: Floats
    """Of their rows of the unembedding, each as often as it was seen, [d_u]."""
    basis: Floats
    """[d_u, r]; whitened, then turned to the principal directions of the seen tokens."""
    shift: Floats
    """Added to the place of every token, [r]."""
    end: Floats
    """Place of the end, [r]."""
    places: Floats
    """Of `TokenSums.seen`, [s, r]."""
    variance: Floats
    """Of the places, each as often as it was seen, [r]."""

    @classmethod
    def of(cls, sums: TokenSums, unembedding: Any, whitener: Floats) -> SeenTokens:
        """Look up the tokens that were seen.

        Raises:
            ProbeDataError: a token is not in the vocabulary.
        """
        tokens = sums.seen[sums.seen != END]
        n, n_tokens = int(sums.times.sum()), int(sums.times[sums.seen != END].sum())
        times = sums.times[sums.seen != END]
        rows = look_up(unembedding, tokens)
        mean = (times @ rows) / n_tokens if n_tokens else np.zeros(rows.shape[1])
        white = (rows - mean) @ whitener
        _, size, turn = np.linalg.svd(np.sqrt(times / n)[:, None] * white, full_matrices=False)
        kept = size**2 > LEAST * max(float(size.max(initial=0.0)) ** 2, np.finfo(np.float64).tiny)
        basis, variance = whitener @ turn[kept].T, size[kept] ** 2
        places, r = white @ turn[kept].T, int(kept.sum())
        if n_tokens in (0, n):
            return cls(mean, basis, np.zeros(r), np.zeros(r), places if n_tokens else np.zeros((1, 0)), variance)
        share = 1 - n_tokens / n
        height = np.sqrt((variance.mean() if r else 1.0) / (share * (1 - share)))
        shift, end = np.zeros(r + 1), np.zeros(r + 1)
        shift[-1], end[-1] = -height * share, height * (1 - share)
        return cls(
            mean,
            np.pad(basis, ((0, 0), (0, 1))),
            shift,
            end,
            np.vstack([end, np.pad(places, ((0, 0), (0, 1))) + shift]),
            np.append(variance, height**2 * share * (1 - share)),
        )


def solver_of(covariance: Floats, shrinkage: float) -> Solve:
    """Multiply by the inverse of a covariance [d, d] with `shrinkage` mean variances added in all directions."""
    size = max(float(np.trace(covariance)) / len(covariance), np.finfo(np.float64).tiny)
    factor = cho_factor(covariance + shrinkage * size * np.eye(len(covariance)), lower=True, overwrite_a=True)
    return lambda columns: cho_solve(factor, columns)


def solve_space(mean: Floats, sums: TokenSums, seen: SeenTokens, solve: Solve, penalty: float) -> SharedSpace:
    """The space of one offset.

    With tokens at places z, thoughts x = mean + z M + noise: M is the ridge regression of x on z, and the noise has
    the covariance of x less what M explains. The inverse of that covariance follows from the inverse of the whole
    (Woodbury), so that all offsets, and refits on other texts of the same thoughts, share one factorisation.

    Args:
        mean: of all thoughts, [d].
        sums: of the fit rows.
        seen: their tokens.
        solve: by the covariance of all thoughts (`solver_of`).
        penalty: of the ridge, in mean variances of the places.
    """
    ridge = penalty * float(seen.variance.mean()) if len(seen.variance) else 0.0
    share = sums.times / sums.times.sum()
    means = sums.sums / sums.times[:, None] - mean
    slope = (seen.places.T @ (share[:, None] * means)) / (seen.variance + ridge)[:, None]
    towards = solve(slope.T)
    root = np.sqrt(seen.variance + 2 * ridge)
    values, turn = np.linalg.eigh(root[:, None] * (slope @ towards) * root)
    kept = values > LEAST
    explained, turn = values[kept].clip(max=MOST), turn[:, kept]
    thought_map = towards @ (root[:, None] * turn) / np.sqrt(explained * (1 - explained))
    to_space = (turn / root[:, None]) * np.sqrt(explained / (1 - explained))
    is_token = sums.seen != END
    if not explained.size:  # one token in all rows: a space of one direction in which nothing differs
        thought_map, to_space = np.zeros((len(mean), 1)), np.zeros((len(seen.variance), 1))
    return SharedSpace(
        thought_map=thought_map,
        thought_mean=mean,
        token_map=seen.basis @ to_space,
        token_mean=seen.mean,
        token_shift=seen.shift @ to_space,
        end_place=seen.end @ to_space,
        n_end=int(sums.times[~is_token].sum()),
        seen=sums.seen[is_token],
        times=sums.times[is_token],
    )
