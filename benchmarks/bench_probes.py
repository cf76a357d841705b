"""Many probes over shared rows against a loop of scikit-learn: `python -m benchmarks.bench_probes [words of a case]`.

Paired and interleaved in one run, CPU seconds of one thread. The loop is timed on a few labels a round and scaled to
all. Beside each ratio stands what it costs: accuracy on test rows less the loop's, and how far above the optimum the
objective ends, for logistic fits, on the labels that the loop fitted too. Peers (himalaya, probelab, probekit) are
timed where they are installed. The first line names the linear algebra kernels: environment variables
(OPENBLAS_CORETYPE, say) can slow those of NumPy, and with them the loop.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
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
from benchmarks.probe_peers import PEERS, peers_of
from probes.batched import fit_logistic
from probes.closed_form import lda_all, ridge_path
from probes.moments import Moments, MomentsBuilder

N, N_LABELS = 20_000, 1000
ROUNDS, PER_ROUND = 5, 4
PEER_ROUNDS, PER_PEER = 1, 3
LOOSE = 3e-4
"""A tolerance at which the batched fits end about as near to the optimum as the loop, or nearer."""

Weights = tuple[np.ndarray, np.ndarray]
"""Of the second class against the first: [labels, d] and [labels]."""


@dataclass
class Timed:
    """One way to fit, in every round."""

    seconds: list[float] = field(default_factory=list)
    differences: list[float] = field(default_factory=list)
    """Accuracy less the loop's, points."""
    above: list[float] = field(default_factory=list)
    """Objective over the optimum, less 1."""

    def run(self, fit: Callable[[], Any], scale: float = 1.0) -> Any:
        """Fit under the clock; `scale` is from the labels fitted to all of them."""
        started = time.process_time()
        found = fit()
        self.seconds.append(scale * (time.process_time() - started))
        return found


Case = tuple[Timed, dict[str, Timed]]
"""The loop, and every other way."""


def loop(data: Planted, labels: Sequence[int]) -> Weights:
    """scikit-learn as people call it."""
    models = [LogisticRegression(max_iter=2000).fit(data.X, data.y[k]) for k in labels]
    return np.concatenate([m.coef_ for m in models]), np.concatenate([m.intercept_ for m in models])


def batched(data: Planted, labels: Sequence[int] | None = None, **settings: Any) -> Weights:
    """Labels (all where None) at once, at the loop's penalty."""
    fits = fit_logistic(data.X, data.y if labels is None else data.y[list(labels)], C=1.0, **settings)
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


def accuracies(data: Planted, weights: Weights, labels: Sequence[int]) -> np.ndarray:
    """Of weights of these labels on the test rows, percent."""
    read = data.X_test @ weights[0].T.astype(np.float32) + weights[1] > 0
    return 100 * (data.y_test[list(labels)] == read.T).mean(axis=1)


def objectives(data: Planted, weights: Weights, labels: Sequence[int]) -> np.ndarray:
    """Mean log loss and penalty of weights of these labels, nats."""
    logits = data.X.astype(np.float64) @ weights[0].T + weights[1]
    losses = np.logaddexp(0, logits) - logits * data.y[list(labels)].T
    return losses.mean(axis=0) + np.square(weights[0]).sum(axis=1) / (2 * len(data.X))


def compare(data: Planted, ways: dict[str, Callable[[], Weights]], rounds: Sequence[list[int]]) -> Case:
    """Every way on all labels, the loop on those of a round; peers, which are slow, in the first round."""
    base, timed = Timed(), {name: Timed() for name in ways}
    for labels in rounds:
        theirs = base.run(partial(loop, data, labels), len(data.y) / len(labels))
        optimum = objectives(data, batched(data, labels, precision="float64", tol=1e-7, max_iter=500), labels)
        base.above += (objectives(data, theirs, labels) / optimum - 1).tolist()
        right = accuracies(data, theirs, labels)
        for name, fit in ways.items():
            weights = timed[name].run(fit)
            chosen = weights[0][labels], weights[1][labels]
            timed[name].differences += (accuracies(data, chosen, labels) - right).tolist()
            if "logistic" in name:
                timed[name].above += (objectives(data, chosen, labels) / optimum - 1).tolist()
        if len(base.seconds) > PEER_ROUNDS:
            continue
        few = labels[:PER_PEER]
        for name, (fit, n_fits) in peers_of(data, few).items():
            peer = timed.setdefault(name, Timed())
            weights = peer.run(fit, len(data.y) / n_fits)
            chosen = weights if n_fits == len(few) else (weights[0][few], weights[1][few])
            peer.differences += (accuracies(data, chosen, few) - right[:PER_PEER]).tolist()
            if "ogistic" in name:
                peer.above += (objectives(data, chosen, few) / optimum[:PER_PEER] - 1).tolist()
    return base, timed


def many_labels(d: int, *, hostile: bool = False) -> Case:
    """A thousand labels over one matrix."""
    data = planted(N, d, N_LABELS, hostile=hostile)
    ways: dict[str, Callable[[], Weights]] = {
        "batched logistic, float32": lambda: batched(data),
        "batched logistic, bf16": lambda: batched(data, precision="bf16"),
        f"batched logistic, bf16, tol {LOOSE:.0e}": lambda: batched(data, precision="bf16", tol=LOOSE),
        "LDA": lambda: discriminants(data),
        "ridge, 10 penalties by GCV": lambda: ridges(data),
    }
    drawn = np.random.default_rng(1).permutation(N_LABELS)[: ROUNDS * PER_ROUND]
    return compare(data, ways, drawn.reshape(ROUNDS, PER_ROUND).tolist())


def one_label(n: int, d: int) -> Case:
    """Each label over a matrix of its own."""
    base, timed = Timed(), {"batched logistic, float32": Timed(), "batched logistic, bf16": Timed()}
    for seed in range(3 * ROUNDS):
        data = planted(n, d, 1, seed=seed)
        theirs = base.run(partial(loop, data, [0]))
        optimum = objectives(data, batched(data, precision="float64", tol=1e-7, max_iter=500), [0])
        base.above += (objectives(data, theirs, [0]) / optimum - 1).tolist()
        for name, one in timed.items():
            mine = one.run(partial(batched, data, precision=name.rpartition(" ")[2]))
            one.differences += (accuracies(data, mine, [0]) - accuracies(data, theirs, [0])).tolist()
            one.above += (objectives(data, mine, [0]) / optimum - 1).tolist()
    return base, timed


def several_values(d: int, n_values: int, n_shuffles: int) -> Case:
    """A multinomial label and shuffles of it; the loop fits the label and one shuffle."""
    data = planted_values(N, d, n_values)
    rng = np.random.default_rng(2)
    targets = np.concatenate([data.y, [rng.permutation(data.y[0]) for _ in range(n_shuffles)]])
    timed = {f"batched multinomial, {precision}": Timed() for precision in ("float32", "bf16")}
    base = Timed()
    for _ in range(3):
        label = base.run(lambda: LogisticRegression(max_iter=2000).fit(data.X, targets[0]))
        shuffled = Timed()
        shuffled.run(lambda: LogisticRegression(max_iter=2000).fit(data.X, targets[1]), n_shuffles)
        base.seconds[-1] += shuffled.seconds[0]
        for name, one in timed.items():
            fits = one.run(partial(fit_logistic, data.X, targets, C=1.0, precision=name.rpartition(" ")[2]))
            mine = ((data.X_test @ fits.coef[0].T + fits.intercept[0]).argmax(axis=1) == data.y_test[0]).mean()
            one.differences.append(100 * (mine - label.score(data.X_test, data.y_test[0])))
    return base, timed


def cells(what: str, base: Timed, name: str, timed: Timed) -> tuple[str, ...]:
    """A row of the table."""
    ratios = [b / t for b, t in zip(base.seconds, timed.seconds, strict=False)]  # peers: the first rounds
    off = timed.differences
    beside = f"{np.mean(off):+.2f}; {np.abs(off).max():.2f} ({len(off)})"
    above = f"{median(timed.above):.0e} ({median(base.above):.0e})" if timed.above else "–"
    speed = f"{median(ratios):.3g} ({min(ratios):.3g}-{max(ratios):.3g})"
    return what, name, f"{median(base.seconds):.3g}", f"{median(timed.seconds):.3g}", speed, beside, above


def cases() -> dict[str, Callable[[], Case]]:
    """What is compared, by name."""
    shapes = [(n, d) for n in (N, 2000) for d in (256, 768)]
    return {
        f"{N_LABELS} labels, {N} x 256": partial(many_labels, 256),
        f"{N_LABELS} labels, {N} x 768": partial(many_labels, 768),
        f"{N_LABELS} rare labels, heavy tails, collinear, {N} x 256": partial(many_labels, 256, hostile=True),
        f"{N_LABELS} rare labels, heavy tails, collinear, {N} x 768": partial(many_labels, 768, hostile=True),
        **{f"1 label, {n} x {d}": partial(one_label, n, d) for n, d in shapes},
        f"8 values and 99 shuffles, {N} x 256": partial(several_values, 256, 8, 99),
    }


def main() -> None:
    """Print one table of ratios."""
    torch.set_num_threads(1)
    wanted = " ".join(sys.argv[1:])
    console = Console(width=180)
    kernels = sorted({f"{pool['internal_api']} {pool.get('architecture', '')}".strip() for pool in threadpool_info()})
    console.print(about_this_machine("numpy", "scikit-learn", "torch", *PEERS), ", ".join(kernels))
    table = Table("what", "way", "loop, CPU s", "CPU s", "times faster", "accuracy off: mean; worst, points (labels)",
                  "above the optimum (loop)")  # fmt: skip
    with threadpool_limits(1):
        for what, measure in cases().items():
            if wanted not in what:
                continue
            base, timed = measure()
            for name, one in timed.items():
                table.add_row(*cells(what, base, name, one))
            table.add_section()
            print(f"measured: {what}", file=sys.stderr)
    console.print(table)


if __name__ == "__main__":
    main()
