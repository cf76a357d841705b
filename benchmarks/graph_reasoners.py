"""Train three twins on generated graphs and ask them published and fresh ones.

    python -m benchmarks.graph_reasoners --out DIR [--prosqa FILE] [--small]

One twin thinks in vectors (Coconut), one writes a chain of thought, one does neither. Beside every accuracy stand n,
its exact 95 % interval, what a classifier reaches that never sees the root, and 50 %. Published ProsQA problems are
only asked, never trained on; without `--prosqa` that column is skipped, and the table says so. With `--small` the
twins learn and are asked small balanced graphs instead, on which search is found within minutes. The results are also
written to DIR/graph_reasoners.json, and every model to a folder of DIR.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.machine import about_this_machine
from probes import exact_share
from workbench.jsonio import canonical_json
from workbench.organisms.graph_learner import GraphLearner
from workbench.organisms.graph_twins import WAYS, TwinPlan, Way, pools_of, solves, train_twin
from workbench.reasoners.backbones import save_model
from workbench.store import write_file
from workbench.tasks import PROSQA_LIKE, Graph, Graphs, read_prosqa_graphs
from workbench.tasks.root_blind import ALL, COUNTS, root_blind_accuracy

SMALL = Graphs(hops=(3, 3), n_nodes=(12, 12), layered=True)
N_FRESH = 500
FRESH_SEED = 2**31
"""Graphs that are asked; training draws from other seeds."""


def main() -> None:
    """Train, ask, print the table as Markdown, a line as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for models and results")
    parser.add_argument("--prosqa", type=Path, help="prosqa_valid.json as published with Coconut")
    parser.add_argument("--small", action="store_true", help="12 nodes, 3 hops, balanced and layered")
    parser.add_argument("--seed", type=int, default=TwinPlan().seed)
    parser.add_argument("--updates", type=int, default=TwinPlan().updates)
    parser.add_argument("--d-model", type=int, default=TwinPlan().d_model, help="width; the published models have 768")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    plan = replace(TwinPlan(), seed=given.seed, updates=given.updates, d_model=given.d_model)
    task = SMALL if given.small else PROSQA_LIKE
    asked = {"fresh, small": SMALL.draw(N_FRESH, seed=FRESH_SEED)} if given.small else problems_to_ask(given.prosqa)
    out = sys.stdout
    out.write(f"{about_this_machine('torch', 'transformers')}; {plan}\n")
    if given.small or given.prosqa is None:
        out.write(
            f"ProsQA skipped: {'small graphs have other sizes' if given.small else 'no file was given (--prosqa)'}\n"
        )
    out.write("| | " + " | ".join(f"{name}, n={len(graphs)}" for name, graphs in asked.items()) + " |\n")
    out.write("|---|" + "---|" * len(asked) + "\n")
    results: dict[str, Any] = {"plan": asdict(plan), "rows": {}}
    for title, features in (("never sees the root: degree, ancestors", COUNTS), ("the same, with depth", ALL)):
        blind = [root_blind_accuracy(graphs, features=features) for graphs in asked.values()]
        results["rows"][title] = [[b.accuracy, b.interval.low, b.interval.high, b.n] for b in blind]
        out.write(row(title, results["rows"][title]))
    out.write("| guessing one of two | " + " | ".join(["0.500"] * len(asked)) + " |\n")
    for way in given.ways:
        started = time.process_time()
        learner, tokenizer = train_twin(way, task, plan, report=progress)
        shares = [accuracy(learner, way, graphs) for graphs in asked.values()]
        results["rows"][way] = shares
        folder = given.out / way.replace(" ", "-")
        folder.mkdir(parents=True, exist_ok=True)
        save_model(learner.model, tokenizer, folder)
        out.write(row(f"{way} ({time.process_time() - started:.0f} s)", shares))
        out.flush()
        write_file(given.out / "graph_reasoners.json", canonical_json(results))


def problems_to_ask(prosqa: Path | None) -> dict[str, list[Graph]]:
    """Graphs by where they come from."""
    asked = {} if prosqa is None else {"ProsQA validation": read_prosqa_graphs(prosqa)}
    return {
        **asked,
        "fresh, like ProsQA": PROSQA_LIKE.draw(N_FRESH, seed=FRESH_SEED),
        "fresh, balanced": Graphs().draw(N_FRESH, seed=FRESH_SEED + 1),
    }


def accuracy(learner: GraphLearner, way: Way, graphs: Sequence[Graph]) -> list[float]:
    """Share of right answers, its exact 95 % interval, and n; every graph once, under names of the twins' own."""
    generator = np.random.default_rng(0)
    hits: list[bool] = []
    for pool in pools_of(graphs):
        batch = pool.each(generator)
        for start in range(0, len(batch.prompt), 128):
            hits += solves(learner, way, batch.rows(slice(start, start + 128))).tolist()
    interval = exact_share(sum(hits), len(hits))
    return [sum(hits) / len(hits), float(interval.low), float(interval.high), len(hits)]


def row(title: str, shares: Sequence[Sequence[float]]) -> str:
    """One line of the table."""
    cells = [f"{share:.3f} [{low:.3f}, {high:.3f}]" for share, low, high, _ in shares]
    return f"| {title} | " + " | ".join(cells) + " |\n"


def progress(done: int, planned: int, state: str) -> None:
    """A line to stderr every hundred updates."""
    if done % 100 == 0:
        sys.stderr.write(f"{done}/{planned} {time.process_time():.0f} s of CPU: {state}\n")


if __name__ == "__main__":
    main()
