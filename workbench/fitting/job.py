"""The job: units done one after the other or side by side, each kept when it is finished, results written last."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from workbench.capture import capture
from workbench.engines import Engine, LocalEngine
from workbench.errors import ConfigError, CorruptArtifact, HashMismatch
from workbench.fitting.finish import PACK_NAME, SPEC_NAME, assemble
from workbench.fitting.grid import Grid, Unit, lay_out
from workbench.fitting.parts import part_done
from workbench.fitting.plan import FitPlan
from workbench.fitting.worker import FitSpec, make_worker
from workbench.interrupts import stop_on_signal
from workbench.jsonio import canonical_json, digest, read_json
from workbench.reasoners.loading import LoadedModel
from workbench.reasoners.twin import randomised
from workbench.reports.fit_html import render_fit_report
from workbench.reports.fit_records import FIT_NAME, FitRecord, read_fit
from workbench.reports.fit_tables import cells_csv, cells_parquet
from workbench.store import RunStore, sweep_temps, write_file
from workbench.store.files import make_folder
from workbench.store.locking import FolderLock
from workbench.tasks import problem_of

JOB_NAME, PARTS_FOLDER, TWIN_FOLDER = "job.json", "parts", "twin"
TABLE_NAME, PARQUET_NAME, REPORT_NAME = "cells.csv", "cells.parquet", "report.html"
FINGERPRINTED = ("neuralese-workbench", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "torch")

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, planned)."""


def run_fit(
    run: Path,
    out: Path,
    plan: FitPlan,
    *,
    base: Path = Path(),
    model: LoadedModel | None = None,
    twin: Path | None = None,
    engine: Engine | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> FitRecord:
    """Carry out a plan of probes over a captured run.

    A killed job goes on where it stopped; results are the same to the byte, whatever was killed and whoever worked.

    Args:
        run: a sealed store.
        out: folder to write: `fit.json`, `cells.csv`, `cells.parquet`, `report.html` and the pack of probes.
        plan: what is asked.
        base: the folder that the plan's `labels_file` is relative to.
        model: the model of the run, which text probes and lenses need, and of which a random twin is made.
        twin: a run of the same problems by the model's random twin (`capture --random-twin`), as a control; where it
            is missing and the model is there, it is captured into `out/twin`.
        engine: who does the work (default: this process).
        device: of torch, where logistic fits run; another device rounds otherwise.
        progress: called as problems of the twin are captured and as units are finished.

    Raises:
        ConfigError: the folder holds another fit, or something else; or the twin ran other problems.
        InsufficientData, LeakageError, UnknownSiteError: see `lay_out`.
        Interrupted: someone asked to stop; the same call resumes.
    """
    store = RunStore(run, cache_bytes=0)
    tell = progress or (lambda stage, done, planned: None)
    engine = engine or LocalEngine()
    if model is not None:
        _must_be_the_runs(model, store)
    grid = lay_out(store, plan, base=base, twin=twin is not None or model is not None)
    job = _job(store, plan, base, model, twin) | {"device": device}
    with _folder(out, job) as finished:
        if finished is not None:
            return finished
        if twin is None and model is not None:
            twin = out / TWIN_FOLDER
            _capture_twin(model, store, twin, plan, engine, lambda done, planned: tell("twin", done, planned))
        twin_root = None if twin is None else _checked_twin(store, twin)
        parts = out / PARTS_FOLDER
        make_folder(parts)
        sweep_temps(out)
        sweep_temps(parts)
        spec = FitSpec(
            run=run.resolve(), twin=None if twin is None else twin.resolve(), plan=plan, base=base.resolve(),
            model=None if model is None else model.origin, device=device,
        )  # fmt: skip
        _do_units(spec, grid, parts, engine, model, tell)
        record, packs = assemble(parts, grid, plan, store, twin_root=twin_root, versions=job["versions"])
        _write(record, packs, out)
        shutil.rmtree(parts)
        return record


def _write(record: FitRecord, packs: Mapping[str, bytes], out: Path) -> None:
    for name, data in packs.items():
        write_file(out / name, data)
    write_file(out / TABLE_NAME, cells_csv(record).encode())
    write_file(out / PARQUET_NAME, cells_parquet(record))
    write_file(out / REPORT_NAME, render_fit_report(record).encode())
    write_file(out / FIT_NAME, record.to_json())  # last: a fit without it is not finished


def _must_be_the_runs(model: LoadedModel, store: RunStore) -> None:
    captured = store.config.get("model")
    if model.fingerprint != captured:
        raise HashMismatch(
            "the run is of another model", path=store.path, field="model", expected=captured, found=model.fingerprint,
            hint="Give --model the model that was captured.",
        )  # fmt: skip


def _capture_twin(
    model: LoadedModel, store: RunStore, out: Path, plan: FitPlan, engine: Engine, progress: Callable[[int, int], None]
) -> None:
    """The same problems and sites by the model's random twin."""
    problems = [problem_of(record["problem"]) for record in store.problems]
    roles = [record["role"] for record in store.problems]
    seed = int(store.config["seed"])
    capture(
        randomised(model, plan.seed), problems, out, sites=list(store.sites), roles=roles, seed=seed, engine=engine,
        progress=progress,
    )  # fmt: skip


def _checked_twin(store: RunStore, twin: Path) -> str:
    other = RunStore(twin, cache_bytes=0)
    model = other.config.get("model")
    if not (
        isinstance(model, str) and model.startswith("random twin ") and model.endswith(f" of {store.config['model']}")
    ):
        raise ConfigError(
            "not a run by the random twin of the model that was captured", path=twin, field="twin",
            expected=f"random twin SEED of {store.config['model']}", found=model,
            hint="Capture it with --random-twin, or give --model and none is needed.",
        )  # fmt: skip
    if other.config.get("problems") != store.config.get("problems") or set(store.sites) - set(other.sites):
        raise ConfigError(
            "the twin ran other problems or sites than the run", path=twin, field="twin",
            hint="Capture it with the same problems and sites, and --random-twin.",
        )  # fmt: skip
    return other.root


def _job(store: RunStore, plan: FitPlan, base: Path, model: LoadedModel | None, twin: Path | None) -> dict[str, Any]:
    """What fixes the results: a folder begun with other values is never gone on with."""
    labels = None if plan.labels_file is None else digest((base / plan.labels_file).read_bytes())
    return {
        "schema": "neuralese-fit-job/1",
        "run_root": store.root,
        "model": None if model is None else model.fingerprint,
        "twin": None if twin is None else RunStore(twin, cache_bytes=0).root,
        "plan": plan.model_dump(mode="json"),
        "labels_file": labels,
        "versions": {package: version(package) for package in FINGERPRINTED},
    }


@contextmanager
def _folder(out: Path, job: dict[str, Any]) -> Iterator[FitRecord | None]:
    """The folder under its lock: the record where this very fit is finished, None where there is work to do."""
    make_folder(out)
    path = out / JOB_NAME
    if not path.exists():
        foreign = sorted(item.name for item in out.iterdir() if not item.name.startswith("."))
        if foreign:
            raise ConfigError(
                "the folder is not empty and holds no fit that can be gone on with", path=out, field="out",
                found=", ".join(foreign[:5]), hint="Choose another --out.",
            )  # fmt: skip
    lock = FolderLock(out)
    lock.acquire()
    try:
        if path.exists():
            before = read_json(path)
            differing = [key for key in job if not isinstance(before, dict) or before.get(key) != job[key]]
            if differing:
                raise ConfigError(
                    "the fit in this folder was begun with other settings", path=path, field=", ".join(differing),
                    hint="Choose another --out, or delete this folder first.",
                )  # fmt: skip
        else:
            write_file(path, canonical_json(job))
        yield _finished(out)
    finally:
        lock.release()


def _finished(out: Path) -> FitRecord | None:
    if not (out / FIT_NAME).exists():
        return None
    record = read_fit(out)
    for name in (PACK_NAME, SPEC_NAME):
        if not (out / name).is_file():
            raise CorruptArtifact("missing file", path=out / name, hint="Delete fit.json and run again.")
    if digest(b"".join((out / name).read_bytes() for name in (PACK_NAME, SPEC_NAME))) != record.probes_root:
        raise HashMismatch("the probes changed since they were fitted", path=out / PACK_NAME)
    shutil.rmtree(out / PARTS_FOLDER, ignore_errors=True)
    return record


def _do_units(
    spec: FitSpec, grid: Grid, parts: Path, engine: Engine, model: LoadedModel | None, tell: Progress
) -> None:
    todo = [number for number in range(len(grid.units)) if not part_done(parts, number)]
    planned = {"fit": len(grid.cells), "controls": sum(not unit.cells for unit in grid.units)}
    done = dict(planned)
    for number in todo:
        done[_stage(grid.units[number])] -= len(grid.units[number].cells) or 1
    tell("fit", done["fit"], planned["fit"])
    reasoner = model.reasoner if model is not None and engine.in_process else None
    if model is not None and model.origin is None and not engine.in_process:
        raise ConfigError(
            "this model was put together in this process, and no other can load it", field="engine",
            expected="the local engine with one worker",
        )  # fmt: skip
    with stop_on_signal() as stop:
        work = engine.run(partial(make_worker, spec, todo, reasoner), todo, stop=stop)
        with closing(work):
            for place, part in work:
                part.write(parts, todo[place])
                unit = grid.units[todo[place]]
                stage = _stage(unit)
                done[stage] += len(unit.cells) or 1
                tell(stage, done[stage], planned[stage])


def _stage(unit: Unit) -> str:
    """Matrices without cells of their own are only read as somebody's control."""
    return "fit" if unit.cells else "controls"
