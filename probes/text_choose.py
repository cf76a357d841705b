"""How strongly a text probe is penalised, and how sure it may be: decided on groups that were held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from probes.text_solve import SeenTokens, Solve, solve_space, solver_of
from probes.text_space import SharedSpace, look_up
from probes.text_sums import END, TextSums, TokenSums, together

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

SHRINKAGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
PENALTIES = (1e-4, 1e-2, 1.0)
SHARPNESSES = tuple(float(2.0**k) for k in range(-6, 5))
N_RIVALS = 1024
"""Tokens that stand for all others of a large vocabulary while settings are chosen."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What was chosen, and how it did on held-out groups."""

    shrinkage: float
    """Mean variances added to the covariance of the thoughts."""
    penalty: float
    """Of the regression of thoughts on tokens, in mean variances of the tokens' places."""
    sharpness: float
    """Factor on the squared distances."""
    log_loss: float
    """Held-out surprisal of the true token, nats; NaN where nothing could be held out."""


@dataclass(frozen=True, slots=True, eq=False)
class Rivals:
    """Tokens that stand for the whole vocabulary."""

    tokens: Ints
    """Rising, [m]."""
    rows: Floats
    """[m, d_u]."""
    log_weight: Floats
    """log of how many tokens each stands for, [m]."""

    @classmethod
    def of(cls, unembedding: Any, needed: Ints, seed: int) -> Rivals:
        """The tokens that are needed, which stand for themselves, and a sample of the others."""
        needed = np.unique(needed)
        others = np.setdiff1d(np.arange(len(unembedding)), needed, assume_unique=True)
        if len(others) > N_RIVALS:
            drawn = np.sort(np.random.default_rng(seed).choice(others, N_RIVALS, replace=False))
        else:
            drawn = others
        tokens = np.union1d(needed, drawn)
        weight = np.where(np.isin(tokens, drawn), len(others) / max(len(drawn), 1), 1.0)
        return cls(tokens, look_up(unembedding, tokens), np.log(weight))

    def log_losses(self, space: SharedSpace, thoughts: Floats, tokens: Ints) -> Floats:
        """Surprisal of each row's token (or `END`) under each of `SHARPNESSES`, [sharpness, n]."""
        points = np.vstack([space.end_place, space.place_tokens(self.rows)])
        near = torch.from_numpy(space.place_thoughts(thoughts)).float() @ torch.from_numpy(points).float().T
        near -= torch.from_numpy(0.5 * np.square(points).sum(axis=1)).float()
        prior = np.append(np.log1p(space.n_end) if space.n_end else -np.inf, space.log_prior(self.tokens))
        bias = torch.from_numpy(prior + np.append(0.0, self.log_weight)).float()
        own = torch.from_numpy(np.where(tokens == END, 0, 1 + np.searchsorted(self.tokens, tokens)))[:, None]
        # An end that no fit row had is as unlikely as a token that was never seen.
        true = torch.from_numpy(prior.clip(min=0.0)).float()[own]
        losses = [
            ((sharpness * near + bias).logsumexp(dim=1, keepdim=True) - sharpness * near.gather(1, own) - true)[:, 0]
            for sharpness in SHARPNESSES
        ]
        return torch.stack(losses).double().numpy()


def choose_settings(
    parts: Sequence[TextSums],
    kept: Sequence[tuple[Floats, Ints]],
    offset: int,
    unembedding: Any,
    whitener: Floats,
    *,
    seed: int,
) -> Settings:
    """The settings of one offset whose held-out tokens are least surprising.

    Args:
        parts: sums of each fold.
        kept: per fold, thoughts [n, d] and tokens [n] of rows that are scored; their fold is then not learned from.
        offset: which token of the texts.
        unembedding: [V, d_u].
        whitener: of the unembedding.
        seed: of the sample of rivals.
    """
    losses: list[Floats] = []
    needed = np.concatenate([tokens for _, tokens in kept])
    rivals = Rivals.of(unembedding, needed[needed != END], seed)
    for fold, (thoughts, tokens) in enumerate(kept):
        others = [part for place, part in enumerate(parts) if place != fold]
        if len(tokens) and others:
            sums = together(others)
            seen = SeenTokens.of(sums.offsets[offset], unembedding, whitener)
            losses.append(_grid_losses(sums, offset, seen, thoughts, tokens, rivals))
    if not losses:
        return Settings(SHRINKAGES[3], PENALTIES[1], 1.0, float("nan"))
    return _most_cautious(np.concatenate(losses, axis=2))


def _grid_losses(
    sums: TextSums, offset: int, seen: SeenTokens, thoughts: Floats, tokens: Ints, rivals: Rivals
) -> Floats:
    """Surprisal of each row under each pair of shrinkage and penalty and each sharpness, [grid, sharpness, n]."""
    mean, covariance, losses = sums.mean, sums.covariance(), []
    for shrinkage in SHRINKAGES:
        solve = solver_of(covariance, shrinkage)
        spaces = [solve_space(mean, sums.offsets[offset], seen, solve, penalty) for penalty in PENALTIES]
        losses += [rivals.log_losses(space, thoughts, tokens) for space in spaces]
    return np.stack(losses)


def _most_cautious(losses: Floats) -> Settings:
    """The strongest shrinkage and least sharpness that are no worse than the best, as far as so many rows can tell.

    No worse: within one standard error of the difference (Breiman's rule), or within a nat over all rows together.
    """
    grid, n = list(product(SHRINKAGES, PENALTIES)), losses.shape[2]
    best = losses[np.unravel_index(losses.mean(axis=2).argmin(), losses.shape[:2])]
    above = losses - best
    good = above.mean(axis=2) <= np.maximum(above.std(axis=2), 1 / np.sqrt(n)) / np.sqrt(n)
    shrinkage = max(grid[place][0] for place in np.flatnonzero(good.any(axis=1)))
    means = np.where(good, losses.mean(axis=2), np.inf)
    mine = min((k for k, setting in enumerate(grid) if setting[0] == shrinkage), key=lambda k: float(means[k].min()))
    sharpness = int(np.flatnonzero(good[mine])[0])
    return Settings(*grid[mine], SHARPNESSES[sharpness], float(means[mine, sharpness]))


def fit_space(mean: Floats, sums: TokenSums, seen: SeenTokens, settings: Settings, solve: Solve) -> SharedSpace:
    """The space of one offset under settings that were chosen; `solve` was made with their shrinkage."""
    space, size = solve_space(mean, sums, seen, solve, settings.penalty), np.sqrt(settings.sharpness)
    scaled = ("thought_map", "token_map", "token_shift", "end_place")
    return replace(space, **{name: size * getattr(space, name) for name in scaled})
