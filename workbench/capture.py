"""Capture: run a reasoner over problems and keep its thoughts, chosen sites and said text in a store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from workbench.errors import InsufficientData
from workbench.interrupts import stop_on_signal
from workbench.jsonio import canonical_json, digest
from workbench.reasoners.loading import LoadedModel
from workbench.sites import channel_sites, choose_sites, thought_sites
from workbench.store import RunStore, SiteRows, StoreWriter
from workbench.tasks.base import Problem
from workbench.traces import Trace

SHARD_PROBLEMS = 128
"""Problems of one shard, which is also one batch: fixed, so that an interrupted capture resumes to equal bytes."""
FINGERPRINTED = ("neuralese-workbench", "torch", "transformers", "transformer-lens")

Progress = Callable[[int, int], None]


def seed_of(run_seed: int, problem: Problem) -> int:
    """Seed of one problem: a seed belongs to an example, not to its place in a batch."""
    return int.from_bytes(hashlib.sha256(f"{run_seed}:{problem.id}".encode()).digest()[:7], "big")


def capture(
    model: LoadedModel,
    problems: Sequence[Problem],
    out: Path,
    *,
    sites: Sequence[str] | None = None,
    roles: Sequence[str] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> RunStore:
    """Run the model over the problems and write a sealed store; a half-written one is resumed.

    Args:
        model: the reasoner and its fingerprint.
        problems: what to run, in the order of the store's `example` axis.
        out: folder of the store.
        sites: site names or patterns to keep (default: thoughts, what they were made of, and the channel).
        roles: a word per problem that is kept with it (`calibration`, `audited`).
        seed: of the run; each problem's own seed follows from it and the problem's id.
        progress: called with (problems done, problems planned).

    Raises:
        ConfigError: the folder holds another run (other model, problems, sites, seed or versions).
        Interrupted: someone asked to stop; the same call resumes.
    """
    if not problems:
        raise InsufficientData("there is no problem to run", found="n=0")
    reasoner = model.reasoner
    known = reasoner.sites
    chosen = choose_sites([*thought_sites(known), *channel_sites(known)] if sites is None else sites, known)
    for problem in problems:
        reasoner.require_fit(problem)
    roles = ["problem"] * len(problems) if roles is None else roles
    n_shards = -(-len(problems) // SHARD_PROBLEMS)
    config = _config(model, problems, chosen, roles, seed)
    with stop_on_signal() as stop, StoreWriter.open(out, config=config, n_shards=n_shards) as writer:
        for shard in range(n_shards):
            places = range(shard * SHARD_PROBLEMS, min((shard + 1) * SHARD_PROBLEMS, len(problems)))
            if shard not in writer.done:
                stop.check(hint="Run the same command again to resume.")
                mine = [problems[i] for i in places]
                trace = reasoner.run(
                    mine, read=chosen, seeds=[seed_of(seed, problem) for problem in mine], batch_size=SHARD_PROBLEMS
                )
                tables = {site: _table(trace, site, places.start) for site in chosen}
                records = [_record(problems[i], roles[i], trace, k) for k, i in enumerate(places)]
                writer.append(shard, tables, records)
            if progress is not None:
                progress(places.stop, len(problems))
        stop.check(hint="Run the same command again to resume.")
        writer.seal()
    return RunStore(out)


def _config(
    model: LoadedModel, problems: Sequence[Problem], sites: Sequence[str], roles: Sequence[str], seed: int
) -> dict[str, Any]:
    recipe = model.reasoner.recipe
    declared = {
        name: {
            "dim": model.reasoner.sites[name].size,
            "dtype": "float32",
            "axes": list(model.reasoner.sites[name].axes),
        }
        for name in sites
    }
    items = [[role, problem.to_plain()] for role, problem in zip(roles, problems, strict=True)]
    return {
        "model": model.fingerprint,
        "device": model.device,
        **({} if model.dtype == "float32" else {"dtype": model.dtype}),
        "family": recipe.family,
        "preset": recipe.preset,
        "problems": digest(canonical_json(items)),
        "n_problems": len(problems),
        "seed": seed,
        "shard_problems": SHARD_PROBLEMS,
        "sites": declared,
        "versions": {package: version(package) for package in FINGERPRINTED},
    }


def _table(trace: Trace, site: str, first: int) -> SiteRows:
    rows = trace[site]
    address = rows.address.clone()
    address[:, 0] += first
    return SiteRows(rows.vectors.reshape(len(rows.vectors), -1).float().cpu().numpy(), address.int().numpy())


def _record(problem: Problem, role: str, trace: Trace, row: int) -> dict[str, Any]:
    agents = {"agents": list(trace.agents[row])} if trace.agents[row] else {}
    return {
        **agents,
        "problem": problem.to_plain(),
        "role": role,
        "said": trace.said[row],
        "n_emitted": len(trace.emitted[row]),
        "n_steps": trace.n_steps[row],
    }
