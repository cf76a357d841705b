"""Many probes over shared rows against a loop of scikit-learn: `python -m benchmarks.bench_probes`.

Paired and interleaved in one run, CPU seconds of one thread. The loop is timed on a few labels a round and scaled to
all; accuracy is compared on the labels that the loop fitted. Peers (himalaya, probelab, probekit) are timed where
they are installed. Linear algebra kernels that an environment variable may have slowed are named in the first line.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from statistics import median
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_info, threadpool_limits

from benchmarks.machine import about_this_machine
from benchmarks.probe_data import Planted, planted, planted_values
from probes.batched import fit_logistic
from probes.closed_form import lda_all, ridge_path
from probes.moments import Moments, MomentsBuilder

N, N_LABELS = 20_000, 1000
ROUNDS, PER_ROUND = 4, 4
PEERS = ("himalaya", "probelab", "probekit")

Weights = tuple[np.ndarray, np.ndarray]
"""Of the second class against the first: [labels, d] and [labels]."""


@dataclass
class Timed:
    """One way to fit, in every round."""

    seconds: list[float] = field(default_factory=list)
    differences: list[float] = field(default_factory=list)
    """Accuracy less the loop's, points."""

    def run(self, fit: Callable[[], Any]) -> Any:
        """Fit under the clock."""
        started = time.process_time()
        found = fit()
        self.seconds.append(time.process_time() - started)
        return found


def loop(data: Planted, labels: Sequence[int]) -> list[LogisticRegression]:
    """scikit-learn as people call it."""
    return [LogisticRegression(max_iter=2000).fit(data.X, data.y[k]) for k in labels]


def batched(data: Planted, labels: Sequence[int], precision: Any) -> Weights:
    """Every label at once, at the loop's penalty."""
    fits = fit_logistic(data.X, data.y[list(labels)], C=np.ones(len(labels)), precision=precision)
    return np.stack([c[1] - c[0] for c in fits.coef]), np.array([b[1] - b[0] for b in fits.intercept])


def moments_of(data: Planted) -> Moments:
    """Statistics of all rows and labels."""
    builder = MomentsBuilder(data.X.shape[1], [2] * len(data.y))
    builder.add(data.X, data.y)
    return builder.freeze()


def discriminants(data: Planted) -> Weights:
    """LDA of every label, statistics included."""
    found = lda_all(moments_of(data))
    return np.stack([f.coef[1] - f.coef[0] for f in found]), np.array([f.intercept[1] - f.intercept[0] for f in found])


def ridges(data: Planted) -> Weights:
    """Ridge of every label over ten penalties by GCV, statistics included."""
    path = ridge_path(moments_of(data), None, np.logspace(-1, 5, 10))
    return path.coef, path.intercept


def himalaya_ridges(data: Planted) -> None:
    """Five folds, ten penalties, all labels as targets."""
    from himalaya.ridge import RidgeCV

    RidgeCV(alphas=np.logspace(-1, 5, 10), cv=5, fit_intercept=True).fit(data.X, 2.0 * data.y.T - 1)


def accuracies(data: Planted, weights: Weights, labels: Sequence[int]) -> np.ndarray:
    """On the test rows, percent."""
    coef, intercept = weights
    read = data.X_test @ coef[list(labels)].T.astype(np.float32) + intercept[list(labels)] > 0
    return 100 * (data.y_test[list(labels)] == read.T).mean(axis=1)


def many_labels(d: int, *, hostile: bool = False) -> tuple[Timed, dict[str, Timed]]:
    """A thousand labels over one matrix."""
    data = planted(N, d, N_LABELS, hostile=hostile)
    everything = range(N_LABELS)
    ways: dict[str, Callable[[], Any]] = {
        "batched logistic, float32": lambda: batched(data, everything, "float32"),
        "batched logistic, bfloat16 then float32": lambda: batched(data, everything, "bf16"),
        "LDA": lambda: discriminants(data),
        "ridge, 10 penalties by GCV": lambda: ridges(data),
    }
    if find_spec("himalaya"):
        ways["himalaya RidgeCV, 5 folds, 10 penalties"] = lambda: himalaya_ridges(data)
    base, timed = Timed(), {name: Timed() for name in ways}
    drawn = np.random.default_rng(1).permutation(N_LABELS)
    for round_ in range(ROUNDS):
        labels = drawn[round_ * PER_ROUND : (round_ + 1) * PER_ROUND].tolist()
        models = base.run(lambda labels=labels: loop(data, labels))
        base.seconds[-1] *= N_LABELS / PER_ROUND
        theirs = np.array([100 * m.score(data.X_test, data.y_test[k]) for m, k in zip(models, labels, strict=True)])
        for name, fit in ways.items():
            weights = timed[name].run(fit)
            if weights is not None:
                timed[name].differences += (accuracies(data, weights, labels) - theirs).tolist()
    return base, timed


def one_label(n: int, d: int) -> tuple[Timed, dict[str, Timed]]:
    """Each label over a matrix of its own."""
    data = planted(n, d, 3 * ROUNDS)
    base, timed = Timed(), {"batched logistic, one label": Timed()}
    batched(data, [0], "float32")  # the first call of anything pays for what it loads
    loop(data, [0])
    for label in range(3 * ROUNDS):
        model = base.run(lambda label=label: loop(data, [label]))[0]
        weights = timed["batched logistic, one label"].run(lambda label=label: batched(data, [label], "float32"))
        mine = accuracies_of_one(data, weights, label)
        timed["batched logistic, one label"].differences += (
            mine - 100 * model.score(data.X_test, data.y_test[label])
        ).tolist()
    return base, timed


def accuracies_of_one(data: Planted, weights: Weights, label: int) -> np.ndarray:
    """Of weights of one label only."""
    coef, intercept = weights
    read = data.X_test @ coef[0].astype(np.float32) + intercept[0] > 0
    return np.array([100 * (read == data.y_test[label]).mean()])


def several_values(d: int, n_values: int, n_fits: int) -> tuple[Timed, dict[str, Timed]]:
    """Multinomial fits that share their rows, as folds and penalties do."""
    data = planted_values(N, d, n_values)
    C = np.logspace(-2, 1, n_fits)
    base, timed = Timed(), {f"batched multinomial, {n_fits} penalties": Timed()}
    for _ in range(2):
        models = base.run(lambda: [LogisticRegression(C=c, max_iter=2000).fit(data.X, data.y[0]) for c in C])
        fits = timed[f"batched multinomial, {n_fits} penalties"].run(
            lambda: fit_logistic(data.X, np.repeat(data.y, n_fits, axis=0), C=C)
        )
        for model, coef, intercept in zip(models, fits.coef, fits.intercept, strict=True):
            mine = ((data.X_test @ coef.T + intercept).argmax(axis=1) == data.y_test[0]).mean()
            timed[f"batched multinomial, {n_fits} penalties"].differences.append(
                100 * (mine - model.score(data.X_test, data.y_test[0]))
            )
    return base, timed


def cells(what: str, base: Timed, name: str, timed: Timed) -> tuple[str, ...]:
    """A row of the table."""
    ratios = [b / t for b, t in zip(base.seconds, timed.seconds, strict=True)]
    off = timed.differences
    beside = f"{np.mean(off):+.2f}; {np.abs(off).max():.2f} ({len(off)})" if off else "–"
    speed = f"{median(ratios):.1f} ({min(ratios):.1f}-{max(ratios):.1f})"
    return what, name, f"{median(base.seconds):.2f}", f"{median(timed.seconds):.3f}", speed, beside


def main() -> None:
    """Print one table of ratios."""
    torch.set_num_threads(1)
    console = Console(width=150)
    kernels = sorted({f"{pool['internal_api']} {pool.get('architecture', '')}".strip() for pool in threadpool_info()})
    console.print(about_this_machine("numpy", "scikit-learn", "torch", *PEERS), ", ".join(kernels))
    table = Table("what", "way", "loop, CPU s", "CPU s", "times faster", "accuracy: mean; worst, points (labels)")
    with threadpool_limits(1):
        cases: list[tuple[str, Callable[[], tuple[Timed, dict[str, Timed]]]]] = [
            (f"{N_LABELS} labels, {N} x 256", lambda: many_labels(256)),
            (f"{N_LABELS} labels, {N} x 768", lambda: many_labels(768)),
            (f"{N_LABELS} rare labels, heavy tails, collinear, {N} x 256", lambda: many_labels(256, hostile=True)),
            *((f"1 label, {n} x {d}", lambda n=n, d=d: one_label(n, d))
              for n in (N, 2000) for d in (256, 768)),
            (f"1 label of 8 values, {N} x 256", lambda: several_values(256, 8, 8)),
        ]  # fmt: skip
        for what, measure in cases:
            base, timed = measure()
            for name, one in timed.items():
                table.add_row(*cells(what, base, name, one))
            table.add_section()
            console.print(f"done: {what}", highlight=False)
    console.print(table)


if __name__ == "__main__":
    main()
