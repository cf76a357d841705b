"""A whole plan of probes on one machine: `python -m benchmarks.bench_plan [--workers N] [--problems N]`.

4 sites x 4 layers x 8 steps x 8 labels with 100 refits on shuffled labels each, on vectors of 256 numbers, from a
store on disk; half of the problems are learned from. Wall seconds, and beside them what a loop over scikit-learn
would take on one core for the same fits, estimated from a few of them.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from sklearn.linear_model import LogisticRegression, RidgeClassifier

from benchmarks.machine import about_this_machine
from workbench.engines import LocalEngine
from workbench.fitting.job import run_fit
from workbench.fitting.plan import FitPlan
from workbench.store import RunStore, SiteRows, StoreWriter

SITES = tuple(
    f"blocks.{layer}.{name}"
    for layer in range(4)
    for name in ("attn.hook_out", "hook_resid_mid", "mlp.hook_out", "hook_resid_post")
)
N_STEPS, DIM, SHARD = 8, 256, 128
VALUES = ("alder", "ash", "birch", "cedar", "elm", "fir", "oak", "yew")
N_TIMED = 4
N_FITS = 5 * 3 + 1 + 6 + 3
"""Logistic fits of a cell: penalties x folds, the probe itself, prefixes, control tasks."""
N_REFITS = 101


def write_store(folder: Path, n: int) -> None:
    """Values of every step at every site, in noise; later layers hold them more clearly."""
    rng = np.random.default_rng(0)
    means = rng.normal(size=(len(SITES), N_STEPS, len(VALUES), DIM)).astype(np.float32)
    chains = rng.integers(len(VALUES), size=(n, N_STEPS))
    sites = {site: {"dim": DIM, "dtype": "float16", "axes": ["d_model"]} for site in SITES}
    with StoreWriter.open(folder, config={"model": "planted", "sites": sites}, n_shards=-(-n // SHARD)) as writer:
        for shard, first in enumerate(range(0, n, SHARD)):
            mine = chains[first : first + SHARD]
            address = np.array([(first + k, s, 0, 0) for k in range(len(mine)) for s in range(N_STEPS)], np.int32)
            tables = {}
            for place, site in enumerate(SITES):
                held = means[place][np.arange(N_STEPS), mine].reshape(-1, DIM) * (0.1 + 0.1 * (place // 4))
                noise = rng.normal(size=held.shape).astype(np.float32)
                tables[site] = SiteRows((held + noise).astype(np.float16), address)
            writer.append(shard, tables, [record_of(first + k, chain) for k, chain in enumerate(mine)])
        writer.seal()


def record_of(number: int, chain: np.ndarray) -> dict[str, Any]:
    """One problem as a store has it."""
    problem = {
        "id": f"p{number:06d}",
        "group": f"p{number:06d}",
        "prompt": f"walk {number} {number % 97} {number % 11}",
        "thoughts": [VALUES[k] for k in chain],
    }
    return {"problem": problem, "role": "problem", "said": "", "n_emitted": 0, "n_steps": N_STEPS}


def scikit_learn_seconds(run: Path) -> tuple[float, float]:
    """Of one logistic fit with one penalty, and of one refit of a ridge classifier."""
    store = RunStore(run)
    fits, refits = [], []
    for step in range(N_TIMED):
        rows = store.select(SITES[step], step=step)
        X = rows.vectors[: len(rows) // 2].astype(np.float32)
        y = [store.problems[k]["problem"]["thoughts"][step] for k in rows.example[: len(X)]]
        for taken, model in ((fits, LogisticRegression(max_iter=2000)), (refits, RidgeClassifier())):
            started = time.perf_counter()
            model.fit(X, y)
            taken.append(time.perf_counter() - started)
    return float(np.median(fits)), float(np.median(refits))


def main() -> None:
    """Write the store, fit the plan, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    console = Console(width=120)
    console.print(about_this_machine("numpy", "scikit-learn", "torch"))
    with tempfile.TemporaryDirectory() as scratch:
        run, out = Path(scratch) / "run", Path(scratch) / "fit"
        write_store(run, asked.problems)
        fit, refit = scikit_learn_seconds(run)
        plan = FitPlan(labels=[f"thought[{k}]" for k in range(N_STEPS)])
        started = time.perf_counter()
        record = run_fit(run, out, plan, engine=LocalEngine(workers=asked.workers))
        took = time.perf_counter() - started
        peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        own = [cell for cell in record.fits if cell.label == f"thought[{cell.step}]"]
        other = [cell for cell in record.fits if cell.label != f"thought[{cell.step}]"]
        size = sum(path.stat().st_size for path in run.rglob("*.safetensors"))
    rows = record.fits[0].n_fit, record.fits[0].n
    console.print(
        f"{record.n_cells} cells ({len(SITES)} sites and layers, {N_STEPS} steps, 8 labels), "
        f"{record.n_cells * 100} refits on shuffled labels; {rows[0]} rows to learn from, {rows[1]} held out; "
        f"store {size / 1e9:.2f} GB, {asked.workers} workers of one thread, peak {peak / 1024:.0f} MiB a process\n"
        f"whole plan with all controls: {took:.0f} s ({took / record.n_cells:.3f} s a cell)\n"
        f"scikit-learn: {fit:.3f} s a logistic fit, {refit:.3f} s a ridge refit; for {N_FITS} and {N_REFITS} a cell "
        f"{(N_FITS * fit + N_REFITS * refit) * record.n_cells / 60:.0f} min on one core\n"
        f"planted cells readable: {sum(cell.readable for cell in own)} of {len(own)}; "
        f"others: {sum(cell.readable for cell in other)} of {len(other)}",
        highlight=False,
    )


if __name__ == "__main__":
    main()
