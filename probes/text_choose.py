"""How strongly a text probe is penalised, and how sure it may be: decided on groups that were held out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from probes.text_solve import SeenTokens, Solve, solve_space, solver_of
from probes.text_space import SharedSpace, look_up, vocabulary_chunks
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


Chunk = tuple[Ints, Floats, Floats]
"""Tokens [m], their rows of the unembedding [m, d_u], and log of how many tokens each stands for, [m]."""


def rivals_of(unembedding: Any, needed: Ints, seed: int) -> Chunk:
    """Tokens that stand for the whole vocabulary: the needed ones for themselves, and a sample of the others."""
    needed = np.unique(needed)
    others = np.setdiff1d(np.arange(len(unembedding)), needed, assume_unique=True)
    few = len(others) <= N_RIVALS
    drawn = others if few else np.sort(np.random.default_rng(seed).choice(others, N_RIVALS, replace=False))
    tokens = np.union1d(needed, drawn)
    weight = np.where(np.isin(tokens, drawn), len(others) / max(len(drawn), 1), 1.0)
    return tokens, look_up(unembedding, tokens), np.log(weight)


def whole_vocabulary(unembedding: Any) -> Iterator[Chunk]:
    """Every token, block by block."""
    for start, rows in vocabulary_chunks(unembedding):
        yield np.arange(start, start + len(rows)), rows, np.zeros(len(rows))


def log_losses(
    space: SharedSpace, scored: Scored, chunks: Iterable[Chunk], sharpnesses: Sequence[float] = SHARPNESSES
) -> Floats:
    """Surprisal of each row's token (or `END`) under each sharpness, nats, [sharpness, n]."""
    places = space.place_thoughts(scored.thoughts)
    over, factor = scored.tokens == END, torch.tensor(sharpnesses)[:, None]
    own = np.where(over[:, None], space.end_place, space.place_tokens(scored.rows))
    # An end that no fit row had is as unlikely as a token that was never seen.
    prior = np.where(over, np.log1p(space.n_end), space.log_prior(scored.tokens))
    near = torch.from_numpy((places * own).sum(axis=1) - 0.5 * np.square(own).sum(axis=1)).float()
    true = factor * near + torch.from_numpy(prior).float()
    end = torch.from_numpy(places @ space.end_place - 0.5 * np.square(space.end_place).sum()).float()
    total = factor * end + (float(np.log1p(space.n_end)) if space.n_end else -torch.inf)
    placed = torch.from_numpy(places).float()
    for tokens, rows, log_weight in chunks:
        points = space.place_tokens(rows)
        near = torch.addmm(
            torch.from_numpy(-0.5 * np.square(points).sum(axis=1)).float(), placed, torch.from_numpy(points).float().T
        )
        bias = torch.from_numpy(space.log_prior(tokens) + log_weight).float()
        for place, sharpness in enumerate(sharpnesses):
            total[place] = torch.logaddexp(total[place], (sharpness * near + bias).logsumexp(dim=1))
    losses: Floats = (total - true).double().numpy()
    return losses


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Held-out rows of one fold, at one offset."""

    thoughts: Floats
    """[n, d]."""
    tokens: Ints
    """[n], `END` where the text is over."""
    rows: Floats
    """Of the unembedding, of these tokens, [n, d_u]; anything where the text is over."""


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

    Shrinkage and penalty are chosen among a sample of tokens; how sure the probe may be, among all.

    Args:
        parts: sums of each fold.
        kept: per fold, thoughts [n, d] and tokens [n] of rows that are scored; their fold is then not learned from.
        offset: which token of the texts.
        unembedding: [V, d_u].
        whitener: of the unembedding.
        seed: of the sample of rivals.
    """
    needed = np.concatenate([tokens for _, tokens in kept])
    rivals = rivals_of(unembedding, needed[needed != END], seed)
    folds, losses = [], []
    for fold, (thoughts, tokens) in enumerate(kept):
        others = [part for place, part in enumerate(parts) if place != fold]
        if len(tokens) and others:
            sums = together(others)
            seen = SeenTokens.of(sums.offsets[offset], unembedding, whitener)
            scored = Scored(thoughts, tokens, look_up(unembedding, np.maximum(tokens, 0)))
            folds.append((sums, seen, scored))
            losses.append(_grid_losses(sums, offset, seen, scored, rivals))
    if not losses:
        return Settings(SHRINKAGES[3], PENALTIES[1], 1.0, float("nan"))
    chosen = _most_cautious(np.concatenate(losses, axis=2), list(product(SHRINKAGES, PENALTIES)), SHARPNESSES)
    if len(rivals[0]) == len(unembedding):
        return chosen
    around = [chosen.sharpness * 2.0**k for k in range(-4, 2)]
    losses = []
    for sums, seen, scored in folds:
        solve = solver_of(sums.covariance(), chosen.shrinkage)
        space = solve_space(sums.mean, sums.offsets[offset], seen, solve, chosen.penalty)
        losses.append(log_losses(space, scored, whole_vocabulary(unembedding), around)[None])
    return _most_cautious(np.concatenate(losses, axis=2), [(chosen.shrinkage, chosen.penalty)], around)


def _grid_losses(sums: TextSums, offset: int, seen: SeenTokens, scored: Scored, rivals: Chunk) -> Floats:
    """Surprisal of each row under each pair of shrinkage and penalty and each sharpness, [grid, sharpness, n]."""
    mean, covariance, losses = sums.mean, sums.covariance(), []
    for shrinkage in SHRINKAGES:
        solve = solver_of(covariance, shrinkage)
        spaces = [solve_space(mean, sums.offsets[offset], seen, solve, penalty) for penalty in PENALTIES]
        losses += [log_losses(space, scored, [rivals]) for space in spaces]
    return np.stack(losses)


def _most_cautious(losses: Floats, grid: Sequence[tuple[float, float]], sharpnesses: Sequence[float]) -> Settings:
    """The strongest shrinkage and least sharpness that are no worse than the best, as far as so many rows can tell.

    No worse: within one standard error of the difference (Breiman's rule), or within a nat over all rows together.
    """
    n = losses.shape[2]
    best = losses[np.unravel_index(losses.mean(axis=2).argmin(), losses.shape[:2])]
    above = losses - best
    good = above.mean(axis=2) <= np.maximum(above.std(axis=2), 1 / np.sqrt(n)) / np.sqrt(n)
    shrinkage = max(grid[place][0] for place in np.flatnonzero(good.any(axis=1)).tolist())
    means = np.where(good, losses.mean(axis=2), np.inf)
    mine = min((k for k, setting in enumerate(grid) if setting[0] == shrinkage), key=lambda k: float(means[k].min()))
    sharpness = int(np.flatnonzero(good[mine])[0])
    return Settings(*grid[mine], sharpnesses[sharpness], float(means[mine, sharpness]))


def fit_space(mean: Floats, sums: TokenSums, seen: SeenTokens, settings: Settings, solve: Solve) -> SharedSpace:
    """The space of one offset under settings that were chosen; `solve` was made with their shrinkage."""
    space, size = solve_space(mean, sums, seen, solve, settings.penalty), np.sqrt(settings.sharpness)
    scaled = ("thought_map", "token_map", "token_shift", "end_place")
    return replace(space, **{name: size * getattr(space, name) for name in scaled})
