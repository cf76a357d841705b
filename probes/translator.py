"""The tuned lens: an affine translator from a thought to what the model's head reads (Belrose et al. 2023).

arXiv:2303.08112. The translator starts as the identity and is trained so that the head gives, of a translated vector,
the distribution that the model ends with. It needs no labels. This module knows arrays and a differentiable head.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from probes.errors import ProbeDataError

Floats = NDArray[np.float64]
Head = Callable[[Tensor], Tensor]
"""From vectors [n, d] to logits [n, V], differentiable."""
Block = tuple[NDArray[Any], NDArray[Any]]
"""Vectors [n, d] and, of the same rows, what the final distribution is made of, [n, d_final]."""
Blocks = Callable[[], Iterable[Block]]
"""Gives the blocks anew whenever it is called; one block is in memory at a time."""

LEARNING_RATE = 0.02
DECAY = 1e-3
"""Weight of the squares of what is trained, in nats."""
BATCH = 128
N_STEPS = 1000
"""Steps at least, however few the rows are; of many rows, `MIN_EPOCHS` passes."""
MIN_EPOCHS = 3
N_CHECKS = 20
"""How often the translator is measured while it is trained, at most."""
ROWS_AT_ONCE = 4_000_000
"""Logits in memory at once while measuring."""
SURE = 1.96
CLOSE_ENOUGH = 1e-6
"""Nats: where no row is further off, the vectors are what the model ends with."""


@dataclass(frozen=True, slots=True, eq=False)
class Translator:
    """h -> h + (h - mean) change + shift."""

    change: Floats
    """[d, d]; zeros are the identity."""
    shift: Floats
    """[d]."""
    mean: Floats
    """[d]."""

    def __post_init__(self) -> None:
        for name in ("change", "shift", "mean"):
            array = np.array(getattr(self, name), dtype=np.float64)
            if not np.isfinite(array).all():
                raise ProbeDataError(f"{name} of a translator has values that are not finite")
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        d = len(self.shift)
        if self.change.shape != (d, d) or self.mean.shape != (d,):
            raise ProbeDataError(f"a translator of {self.change.shape} does not fit a shift of {self.shift.shape}")

    @classmethod
    def identity(cls, d: int) -> Translator:
        """The translator that leaves vectors as they are: the logit lens."""
        return cls(np.zeros((d, d)), np.zeros(d), np.zeros(d))

    @property
    def is_identity(self) -> bool:
        """Whether it changes nothing."""
        return not self.change.any() and not self.shift.any()

    def translate(self, vectors: ArrayLike) -> Floats:
        """[n, d] -> [n, d].

        Raises:
            ProbeDataError: vectors of another width.
        """
        rows = np.asarray(vectors, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != len(self.shift):
            raise ProbeDataError(f"this translator takes rows of {len(self.shift)} numbers; found shape {rows.shape}")
        translated: Floats = rows + (rows - self.mean) @ self.change + self.shift
        return translated


@dataclass(frozen=True, slots=True, eq=False)
class Closeness:
    """How close a lens comes to the final distribution, row by row."""

    kl: Floats
    """KL(final || lens), nats, [n]."""
    agrees: NDArray[np.bool_]
    """Whether both name the same token first, [n]."""


def measure(translator: Translator, head: Head, final_head: Head, blocks: Iterable[Block]) -> Closeness:
    """Compare the lens with the final distribution on every row; memory is bounded by a block and some logits."""
    kl, agrees = [np.empty(0)], [np.empty(0, dtype=np.bool_)]
    with torch.no_grad():
        for vectors, final in blocks:
            translated = translator.translate(vectors)
            start, step = 0, 1
            while start < len(vectors):
                mine = slice(start, start + step)
                ends, reads = _log_p(final_head, final[mine]), _log_p(head, translated[mine])
                kl.append(_kl(ends, reads).cpu().numpy())
                agrees.append((ends.argmax(-1) == reads.argmax(-1)).cpu().numpy())
                start, step = start + step, max(1, ROWS_AT_ONCE // ends.shape[1])
    return Closeness(np.concatenate(kl), np.concatenate(agrees))


def _log_p(head: Head, rows: NDArray[Any]) -> Tensor:
    return head(torch.from_numpy(np.asarray(rows, dtype=np.float32))).double().log_softmax(-1)


def _kl(ends: Tensor, reads: Tensor) -> Tensor:
    # 0 log 0 is 0, also where a token is impossible under both.
    return torch.where(ends > -torch.inf, ends.exp() * (ends - reads), 0.0).sum(-1).clamp(min=0.0)


def fit_translator(
    head: Head,
    final_head: Head,
    blocks: Blocks,
    choosing: Blocks,
    *,
    n_steps: int = N_STEPS,
    batch: int = BATCH,
    learning_rate: float = LEARNING_RATE,
    seed: int = 0,
) -> Translator:
    """Train a translator; the identity stays unless another is surely closer on rows that it was not trained on.

    Adam on vectors centred and divided by one number, with a rate that falls to 0. Now and then the translator is
    measured on the choosing rows; the best is taken where its KL is below the identity's by more than twice the
    standard error of the difference.

    Args:
        head: reads translated vectors; its weights are left alone.
        final_head: from final rows to the logits of the distribution that is aimed at.
        blocks: rows to train on; they are shuffled within a block.
        choosing: rows of other groups.
        n_steps: updates, rounded up to whole passes, of which there are three at least.
        batch: rows of one update.
        learning_rate: at the start, in deviations of a feature.
        seed: of the order of rows.

    Raises:
        ProbeDataError: no rows, or vectors that are not finite.
    """
    mean, scale, n_batches = _moments(blocks(), batch)
    identity = Translator.identity(len(mean))
    start = measure(identity, head, final_head, choosing()).kl
    if not len(start):
        raise ProbeDataError("a translator needs rows on which it is chosen; found none")
    if start.max() < CLOSE_ENOUGH:
        return identity
    n_epochs = max(MIN_EPOCHS, math.ceil(n_steps / n_batches))
    training = _Training(head, final_head, mean, scale, n_epochs * n_batches, learning_rate)
    generator, best, best_kl = np.random.default_rng(seed), identity, start
    for epoch in range(n_epochs):
        for vectors, final in _batches(blocks(), batch, generator):
            training.step(vectors, final)
        if epoch % math.ceil(n_epochs / N_CHECKS) == 0 or epoch == n_epochs - 1:
            mine = training.translator()
            kl = measure(mine, head, final_head, choosing()).kl
            if kl.mean() < best_kl.mean():
                best, best_kl = mine, kl
    gain = start - best_kl
    return best if gain.mean() > SURE * gain.std() / np.sqrt(len(gain)) else identity


class _Training:
    """A translator while it is trained."""

    def __init__(
        self, head: Head, final_head: Head, mean: Floats, scale: float, n_steps: int, learning_rate: float
    ) -> None:
        d = len(mean)
        self.head, self.final_head = head, final_head
        self.mean, self.scale = mean, scale
        self.middle = torch.from_numpy(mean).float()
        self.weights = [torch.zeros(d, d, requires_grad=True), torch.zeros(d, requires_grad=True)]
        self.descent = torch.optim.Adam(self.weights, lr=learning_rate)
        self.slowing = torch.optim.lr_scheduler.LambdaLR(self.descent, lambda step: max(0.0, 1 - step / n_steps))

    def step(self, vectors: NDArray[Any], final: NDArray[Any]) -> None:
        """One update; gradients are asked for the translator alone, so that the head keeps none."""
        h = torch.from_numpy(vectors)
        change, shift = self.weights
        lens = self.head(h + (h - self.middle) @ change + self.scale * shift)
        with torch.no_grad():
            ends = self.final_head(torch.from_numpy(final)).float().log_softmax(-1)
        apart = _kl(ends, lens.float().log_softmax(-1)).mean().cpu()
        loss = apart + DECAY * (change.square().sum() + shift.square().sum())
        for weight, gradient in zip(self.weights, torch.autograd.grad(loss, self.weights), strict=True):
            weight.grad = gradient
        self.descent.step()
        self.slowing.step()

    def translator(self) -> Translator:
        """As it is now."""
        change, shift = (weight.detach().double().numpy() for weight in self.weights)
        return Translator(change, self.scale * shift, self.mean)


def _moments(blocks: Iterable[Block], batch: int) -> tuple[Floats, float, int]:
    """Mean [d], deviation of all numbers about it, and batches of one pass."""
    n, n_batches, total, squares = 0, 0, np.zeros(0), 0.0
    for vectors, _ in blocks:
        rows = np.asarray(vectors, dtype=np.float64)
        if not np.isfinite(rows).all():
            raise ProbeDataError("vectors for a translator have values that are not finite")
        total = rows.sum(axis=0) + (total if n else 0.0)
        squares += float(np.square(rows).sum())
        n += len(rows)
        n_batches += math.ceil(len(rows) / batch)
    if not n:
        raise ProbeDataError("a translator needs rows to learn from; found none")
    mean = total / n
    spread = squares / n - float(np.square(mean).sum())
    return mean, float(np.sqrt(max(spread, 0.0) / len(mean))) or 1.0, n_batches


def _batches(blocks: Iterable[Block], batch: int, generator: np.random.Generator) -> Iterator[Block]:
    for vectors, final in blocks:
        order = generator.permutation(len(vectors))
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            yield np.asarray(vectors[rows], dtype=np.float32), np.asarray(final[rows], dtype=np.float32)


def mismatched(blocks: Blocks, *, seed: int = 0) -> Blocks:
    """The same blocks with final rows of other examples: what a translator learns from them is what all share."""

    def give() -> Iterator[Block]:
        generator = np.random.default_rng(seed)
        for vectors, final in blocks():
            yield vectors, final[generator.permutation(len(final))]

    return give
