"""Capture: run a reasoner over problems and keep its thoughts, chosen sites and said text in a store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from workbench.engines import Engine, LocalEngine, MakeWorker, Worker
from workbench.errors import ConfigError, HashMismatch, InsufficientData
from workbench.interrupts import stop_on_signal
from workbench.jsonio import canonical_json, digest
from workbench.reasoners.base import Reasoner
from workbench.reasoners.loading import LoadedModel, ModelSource
from workbench.reasoners.twin import load_again
from workbench.sites import channel_sites, choose_sites, thought_sites
from workbench.store import RunStore, SiteRows, StoreWriter
from workbench.tasks.base import Problem
from workbench.traces import Trace

SHARD_PROBLEMS = 128
"""Problems of one shard, which is also one batch: fixed, so that an interrupted capture resumes to equal bytes."""
FINGERPRINTED = ("neuralese-workbench", "torch", "transformers", "transformer-lens")

Progress = Callable[[int, int], None]
Shard = tuple[Mapping[str, SiteRows], Sequence[Mapping[str, Any]]]
"""The rows of each site, and the record of each problem."""


@dataclass(frozen=True, slots=True)
class ShardTask:
    """The problems of one shard: all that a worker has to know beside the model and the sites."""

    shard: int
    first: int
    """Place of the first problem in the run."""
    problems: tuple[Problem, ...]
    roles: tuple[str, ...]
    seeds: tuple[int, ...]


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
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> RunStore:
    """Run the model over the problems and write a sealed store; a half-written one is resumed.

    Whatever the engine, the store has the same bytes, as long as its workers have equal processors and threads.

    Args:
        model: the reasoner and its fingerprint.
        problems: what to run, in the order of the store's `example` axis.
        out: folder of the store.
        sites: site names or patterns to keep (default: thoughts, what they were made of, and the channel).
        roles: a word per problem that is kept with it (`calibration`, `audited`).
        seed: of the run; each problem's own seed follows from it and the problem's id.
        engine: where shards are run (default: in this process); elsewhere each worker loads the model for itself.
        progress: called with (problems done, problems planned).

    Raises:
        ConfigError: the folder holds another run (other model, problems, sites, seed or versions); or the model
            cannot be loaded, or not with the same versions, where the engine runs.
        HashMismatch: a worker found another model under the same name.
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
    config = _config(model, problems, chosen, roles, seed)
    engine = engine or LocalEngine()
    make_worker = _maker(model, chosen, in_process=engine.in_process)
    tasks = _tasks(problems, roles, seed)
    with stop_on_signal() as stop, StoreWriter.open(out, config=config, n_shards=len(tasks)) as writer:
        missing = [task for task in tasks if task.shard not in writer.done]
        done = len(problems) - sum(len(task.problems) for task in missing)
        if progress is not None and done:
            progress(done, len(problems))
        with closing(engine.run(make_worker, missing, stop=stop)) as results:
            for place, (tables, records) in results:
                writer.append(missing[place].shard, tables, records)
                done += len(records)
                if progress is not None:
                    progress(done, len(problems))
        stop.check(hint="Run the same command again to resume.")
        writer.seal()
    return RunStore(out)


def _tasks(problems: Sequence[Problem], roles: Sequence[str], seed: int) -> list[ShardTask]:
    tasks: list[ShardTask] = []
    for first in range(0, len(problems), SHARD_PROBLEMS):
        mine = tuple(problems[first : first + SHARD_PROBLEMS])
        seeds = tuple(seed_of(seed, problem) for problem in mine)
        tasks.append(ShardTask(len(tasks), first, mine, tuple(roles[first : first + len(mine)]), seeds))
    return tasks


def _maker(model: LoadedModel, sites: Sequence[str], *, in_process: bool) -> MakeWorker:
    if in_process:
        return lambda: partial(run_shard, model.reasoner, tuple(sites))
    if model.origin is None:
        raise ConfigError(
            "this model was put together in this process, and no other can load it", field="engine",
            expected="the local engine with one worker", hint="Save it as a folder, or use one worker.",
        )  # fmt: skip
    return partial(_shard_worker, model.origin, model.fingerprint, tuple(sites), _versions())


def _shard_worker(source: ModelSource, fingerprint: str, sites: tuple[str, ...], versions: Mapping[str, str]) -> Worker:
    """A worker with its own copy of the model, if it is the same model and the same libraries run it."""
    if _versions() != versions:
        raise ConfigError("a worker has other versions", field="engine", expected=versions, found=_versions())
    model = load_again(source)
    if model.fingerprint != fingerprint:
        raise HashMismatch(
            "a worker found another model under this name", path=source.model, expected=fingerprint,
            found=model.fingerprint, hint="Every machine needs the same files under the same path.",
        )  # fmt: skip
    return partial(run_shard, model.reasoner, sites)


def run_shard(reasoner: Reasoner, sites: Sequence[str], task: ShardTask) -> Shard:
    """Run the problems of one shard, which is one batch, and give what the store keeps of them."""
    n = len(task.problems)
    trace = reasoner.run(task.problems, read=sites, seeds=task.seeds, batch_size=n)
    tables = {site: _table(trace, site, task.first) for site in sites}
    return tables, [_record(task.problems[k], task.roles[k], trace, k) for k in range(n)]


def _versions() -> dict[str, str]:
    return {package: version(package) for package in FINGERPRINTED}


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
        "versions": _versions(),
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
