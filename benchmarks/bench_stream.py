"""What one pass over a store costs: `python -m benchmarks.bench_stream`.

Ratios of CPU seconds on one thread, paired and interleaved in one run; ranges are the least and the largest ratio
over the rounds. Compared are: scikit-learn's `SGDClassifier.partial_fit`, which also sees each block once; the plain
float32 products that the moments are made of; a one-hot product for a label of thousands of values; one ridge fit by
generalised cross-validation against exact k-fold errors. Beside each speed stands what it costs in accuracy.
"""

from __future__ import annotations

import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import Ridge, SGDClassifier
from threadpoolctl import threadpool_info, threadpool_limits

from probes.class_sums import OneHotGroup, add_rows, one_hot_sums
from probes.closed_form import kfold_ridge, lda_all, ridge_path
from probes.moments import Moments, MomentsBuilder

ROUNDS = 5
N_SHARDS, SHARD_ROWS, D = 8, 32_768, 256
N_LABELS = 64
N_VALUES = 5000
BLOCK = 4096
PENALTIES = 10.0 ** np.linspace(-1, 5, 10)
N_FOLDS, N_PROBES, N_PROBE_ROWS = 5, 1000, 20_000

Floats = NDArray[Any]


@dataclass(frozen=True)
class Row:
    """One line of the table: what, in what time, compared with what, at what cost."""

    what: str
    seconds: Sequence[float]
    against: str
    other: Sequence[float]
    beside: str
    faster: bool = True
    """Whether the ratio is the other's seconds by ours, or ours by the other's."""

    def cells(self) -> tuple[str, ...]:
        """Of the table."""
        pairs = zip(self.seconds, self.other, strict=True)
        ratios = [b / a if self.faster else a / b for a, b in pairs]
        shown = f"{median(ratios):.3g} ({min(ratios):.3g}-{max(ratios):.3g})"
        kind = "times faster" if self.faster else "times the cost"
        return self.what, f"{median(self.seconds):.3f}", self.against, f"{shown} {kind}", self.beside


def cpu(run: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds, and what came out."""
    started = time.process_time()
    result = run()
    return time.process_time() - started, result


def thoughts(rng: np.random.Generator, n: int, d: int) -> Floats:
    """Rows as residual streams are: spread over two orders of magnitude, two massive directions."""
    rows = rng.standard_normal((n, d), dtype=np.float32) * np.arange(1, d + 1, dtype=np.float32) ** -0.5
    rows[:, 7] += 60
    rows[:, 11] -= 20
    return rows


def labels_of(rows: Floats, weights: Floats, rng: np.random.Generator) -> NDArray[np.int8]:
    """Binary labels [K, n], a third of them 1, linear in the rows but for noise."""
    scores = (rows - np.eye(1, rows.shape[1], 7) * 60 + np.eye(1, rows.shape[1], 11) * 20) @ weights
    scores += 2 * scores.std() * rng.standard_normal(scores.shape)
    return np.ascontiguousarray((scores > 0.5 * scores.std(axis=0)).T.astype(np.int8))


@dataclass(frozen=True)
class Store:
    """Shards of float16 rows on disk, and their labels."""

    paths: Sequence[Path]
    labels: Sequence[NDArray[np.int8]]
    held_rows: Floats
    held_labels: NDArray[np.int8]

    @classmethod
    def written(cls, folder: Path) -> Store:
        """Eight shards, and as many rows as one holds that nobody fits."""
        rng = np.random.default_rng(0)
        weights = rng.standard_normal((D, N_LABELS), dtype=np.float32)
        paths, labels, rows, own = [], [], np.zeros(0), np.zeros(0, np.int8)
        for k in range(N_SHARDS + 1):
            rows = thoughts(rng, SHARD_ROWS, D)
            own = labels_of(rows, weights, rng)
            if k < N_SHARDS:
                paths.append(folder / f"{k}.bin")
                rows.astype(np.float16).tofile(paths[-1])
                labels.append(own)
        return cls(paths, labels, rows.astype(np.float16).astype(np.float32), own)

    def shard(self, k: int) -> Floats:
        """Rows as they lie on disk."""
        return np.memmap(self.paths[k], dtype=np.float16, mode="r").reshape(-1, D)

    def moments(self, precision: Any = "float32") -> Moments:
        """One pass."""
        builder = MomentsBuilder(D, [2] * N_LABELS, precision=precision)
        for k in range(N_SHARDS):
            builder.add(self.shard(k), self.labels[k])
        return builder.freeze()

    def products(self) -> None:
        """The limit: the products alone, on rows that are in memory, in float32, and shifted already."""
        rows, hot = torch.zeros(BLOCK, D), torch.zeros(N_LABELS, BLOCK)
        for _ in range(N_SHARDS * SHARD_ROWS // BLOCK):
            _ = rows.T @ rows
            _ = hot @ rows

    def gradient_descent(self, label: int, mean: Floats, deviation: Floats) -> SGDClassifier:
        """One epoch for one label, averaged; mean and deviation are given for free."""
        model = SGDClassifier(loss="log_loss", alpha=1e-4, average=True, random_state=0)
        for k in range(N_SHARDS):
            rows, own = self.shard(k), self.labels[k][label]
            for start in range(0, SHARD_ROWS, BLOCK):
                block = (rows[start : start + BLOCK].astype(np.float32) - mean) / deviation
                model.partial_fit(block, own[start : start + BLOCK], classes=[0, 1])
        return model


def streaming(store: Store) -> list[Row]:
    """One pass over the shards against gradient descent and against its own products."""
    ours, limit, theirs, model = [], [], [], None
    held: Any = None
    for _ in range(ROUNDS):
        seconds, held = cpu(store.moments)
        ours.append(seconds)
        limit.append(cpu(store.products)[0])
        scale = held.mean.astype(np.float32), np.sqrt(np.diag(held.scatter) / held.n).astype(np.float32)
        seconds, model = cpu(lambda scale=scale: store.gradient_descent(0, *scale))
        theirs.append(seconds * N_LABELS)
    seconds, probes = cpu(lambda: lda_all(held))
    accuracy = (probes[0].read(store.held_rows) == store.held_labels[0]).mean()
    descended = model.score((store.held_rows - scale[0]) / scale[1], store.held_labels[0])
    size = 2 * D * N_SHARDS * SHARD_ROWS / 1e9
    what = f"one pass, {N_LABELS} labels, {size / median(ours):.2f} GB/s"
    return [
        Row(f"{what}, LDA of all", [s + seconds for s in ours], f"SGDClassifier, 1 epoch x {N_LABELS} (1 timed)",
            theirs, f"accuracy {accuracy:.4f} against {descended:.4f}"),
        Row(what, ours, f"its products alone, {size / median(limit):.2f} GB/s", limit,
            "only half of the symmetric one is taken", faster=False),
    ]  # fmt: skip


def many_values() -> Row:
    """Class sums of a label of thousands of values: each row added to its class, or a one-hot product."""
    rng = np.random.default_rng(1)
    rows = torch.from_numpy(thoughts(rng, BLOCK, D) - np.float32(1))
    codes = torch.from_numpy(rng.integers(N_VALUES, size=(1, BLOCK)))
    sums = torch.zeros(N_VALUES, D, dtype=torch.float64)
    group = OneHotGroup(N_VALUES, 1, slice(0, 1), slice(0, 1))
    ours, theirs, hot = [], [], sums
    for _ in range(ROUNDS):
        ours.append(cpu(lambda: [add_rows(sums, codes[0], rows.double()) for _ in range(20)])[0] / 20)
        seconds, (_, hot) = cpu(lambda: one_hot_sums(rows, None, codes, group))
        theirs.append(seconds)
    difference = float((sums[1:] / (20 * ROUNDS) - hot).abs().max() / hot.abs().max())
    return Row(f"class sums, {N_VALUES} values, {BLOCK} x {D}", ours, "one-hot product", theirs,
               f"relative difference {difference:.0e}")  # fmt: skip


def folds(d: int) -> Row:
    """Exact k-fold errors of many probes and penalties against one fit of all of them."""
    rng = np.random.default_rng(2)
    rows = thoughts(rng, N_PROBE_ROWS, d)
    codes = labels_of(rows, rng.standard_normal((d, N_PROBES), dtype=np.float32), rng)
    fold = np.arange(N_PROBE_ROWS) * N_FOLDS // N_PROBE_ROWS

    def moments(kept: NDArray[np.bool_] | slice) -> Moments:
        builder = MomentsBuilder(d, [2] * N_PROBES)
        builder.add(rows[kept], codes[:, kept])
        return builder.freeze()

    ours, once, errors = [], [], np.zeros(0)
    for _ in range(ROUNDS):
        once.append(cpu(lambda: ridge_path(moments(slice(None)), None, PENALTIES))[0])
        seconds, errors = cpu(lambda: kfold_ridge([moments(fold == k) for k in range(N_FOLDS)], PENALTIES))
        ours.append(seconds)
    worst = 0.0
    for place, label in ((0, 0), (5, 1), (9, N_PROBES - 1)):
        square, wanted = 0.0, 2.0 * codes[label] - 1
        for k in range(N_FOLDS):
            model = Ridge(alpha=PENALTIES[place]).fit(rows[fold != k].astype(float), wanted[fold != k])
            square += np.square(model.predict(rows[fold == k].astype(float)) - wanted[fold == k]).sum()
        worst = max(worst, abs(errors[place, label] * N_PROBE_ROWS / square - 1))
    return Row(f"{N_FOLDS}-fold, {len(PENALTIES)} penalties, {N_PROBES} probes, d={d}", ours,
               "one fit by GCV", once, f"relative difference to refits {worst:.0e}", faster=False)  # fmt: skip


def precision(store: Store) -> list[Row]:
    """Float32 products of shifted rows against float64 ones, and why rows are shifted."""
    coarse, fine, ours, theirs = None, None, [], []
    for _ in range(ROUNDS):
        seconds, coarse = cpu(store.moments)
        ours.append(seconds)
        seconds, fine = cpu(lambda: store.moments("float64"))
        theirs.append(seconds)
    gram, cross, total = np.zeros((D, D)), np.zeros((N_LABELS, D)), np.zeros(D)
    for k in range(N_SHARDS):
        rows, own = store.shard(k).astype(np.float32), store.labels[k].astype(np.float32)
        gram += rows.T @ rows
        cross += own @ rows
        total += rows.sum(axis=0, dtype=np.float64)
    mean, ones = total / fine.n, fine.counts[1::2]
    expected = ridge_path(fine, None, [100.0]).coef
    shifted = ridge_path(coarse, None, [100.0]).coef
    scatter = gram - fine.n * np.outer(mean, mean) + 100 * np.eye(D)
    unshifted = np.linalg.solve(scatter, 2 * (cross - np.outer(ones, mean)).T).T
    off, worse = (np.linalg.norm(found - expected) / np.linalg.norm(expected) for found in (shifted, unshifted))
    return [Row("float32 products of shifted rows", ours, "float64 products", theirs,
                f"weights off by {off:.0e}; unshifted by {worse:.0e}")]  # fmt: skip


def main() -> None:
    """Print one table of ratios."""
    torch.set_num_threads(1)
    revision = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    kernels = sorted({f"{pool['internal_api']} {pool.get('architecture', '')}".strip() for pool in threadpool_info()})
    console = Console(width=160)
    console.print(
        f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, torch {version('torch')}, "
        f"numpy {version('numpy')}, scipy {version('scipy')}, scikit-learn {version('scikit-learn')}, "
        f"{', '.join(kernels)}, revision {revision.stdout.strip() or 'unknown'}\n"
        f"{ROUNDS} rounds, {N_SHARDS} shards of {SHARD_ROWS} x {D} float16, CPU seconds of one thread."
    )
    with threadpool_limits(1), tempfile.TemporaryDirectory() as folder:
        store = Store.written(Path(folder))
        rows = chain(streaming(store), precision(store), [many_values()], (folds(d) for d in (256, 768)))
        table = Table("what", "CPU s", "against", "ratio", "beside it")
        for row in rows:
            table.add_row(*row.cells())
    console.print(table)


if __name__ == "__main__":
    main()
