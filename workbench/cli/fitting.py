"""Sub-commands around probes: fit a plan, apply what was fitted."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli.options import (
    Address,
    Device,
    EngineName,
    Json,
    Out,
    Seed,
    TrustRemoteCode,
    Workers,
    WorkerThreads,
    choose_engine,
    load,
)

if TYPE_CHECKING:
    from workbench.fitting.estimate import Estimate
    from workbench.reports.apply_records import Applied
    from workbench.reports.fit_records import FitRecord

SHOWN = 20
"""Rows of a table on a terminal; all of them are in the files."""

Run = Annotated[Path, typer.Argument(metavar="RUN", help="A finished capture.")]
Reader = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="MODEL", help="The model of the run: adds text probes, lenses and its random twin."
    ),
]


def register(app: typer.Typer) -> None:
    """Add these sub-commands."""
    for command in (fit, apply):
        app.command()(command)


def fit(
    run: Run,
    out: Out,
    plan: Annotated[
        Path | None, typer.Option("--plan", metavar="FILE.toml", help="Sites, layers, steps, labels, probes, split.")
    ] = None,
    model: Reader = None,
    twin: Annotated[
        Path | None,
        typer.Option(
            "--twin", metavar="RUN", help="A run by the random twin; --model captures one where none is given."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print cells, memory and expected time; fit nothing.")
    ] = False,
    engine: EngineName = "local",
    workers: Workers = 1,
    address: Address = None,
    threads: WorkerThreads = 1,
    device: Device = "auto",
    trust_remote_code: TrustRemoteCode = False,
    seed: Seed = 0,
    json: Json = False,
) -> int:
    """Train the probes of a plan on RUN, each with its controls, and save them with a table and a report.

    Without a plan: a value probe per site and step. Ctrl-C stops; the same command goes on where it stopped.

    Example: workbench fit runs/liar --out runs/liar-probes --plan plan.toml --model organism:liar
    """
    from workbench.errors import ConfigError
    from workbench.fitting.estimate import estimate
    from workbench.fitting.job import run_fit
    from workbench.fitting.plan import FitPlan, read_fit_plan
    from workbench.reasoners.loading import choose_device

    if plan is not None and seed:
        raise ConfigError("the plan has a seed of its own", field="--seed", hint="Set `seed` in the plan.")
    if (run / "run").is_dir():
        raise ConfigError("this is an audit, not a run", path=run, hint=f"Its run is {run / 'run'}.")
    chosen = FitPlan(seed=seed) if plan is None else read_fit_plan(plan)
    base = Path() if plan is None else plan.parent
    where = choose_engine(engine, workers=workers, address=address, threads=threads, device=device)
    if dry_run:
        return _print_estimate(estimate(run, chosen, base=base, twin=twin is not None or model is not None), json)
    loaded = None
    if model is not None:
        loaded = load(model, device=device, dtype="float32", trust_remote_code=trust_remote_code)
    with _progress(json) as advance:
        record = run_fit(
            run, out, chosen, base=base, model=loaded, twin=twin, engine=where, device=choose_device(device),
            progress=advance,
        )  # fmt: skip
    return _print_fit(record, out, json)


def apply(
    probes: Annotated[Path, typer.Argument(metavar="PROBES", help="A folder that workbench fit wrote.")],
    run: Run,
    out: Out,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="MODEL", help="The model of the run: its lenses read every vector they can."),
    ] = None,
    device: Device = "auto",
    trust_remote_code: TrustRemoteCode = False,
    json: Json = False,
) -> int:
    """Read the vectors of RUN with the probes of PROBES; score them where the values are known.

    With --model, the model's logit lens reads them too, and the tuned lenses that PROBES holds. Writes
    readings.parquet (a row for every vector and reader) and apply.json (a row for every reader).

    Example: workbench apply runs/liar-probes runs/liar-watched --out runs/liar-readings --model organism:liar
    """
    from workbench.apply import apply_probes
    from workbench.cli.terminal import print_json

    loaded = None
    if model is not None:
        loaded = load(model, device=device, dtype="float32", trust_remote_code=trust_remote_code)
    with _progress(json) as advance:
        applied = apply_probes(
            probes, run, out, model=loaded, progress=lambda done, planned: advance("apply", done, planned)
        )
    if json:
        print_json({"out": str(out), "probes": [one.to_plain() for one in applied]})
        return 0
    return _print_applied(applied, out)


def _progress(json: bool) -> Any:
    from workbench.cli.terminal import progress_on_stderr

    return progress_on_stderr(quiet=json)


def _ends(interval: Any) -> str:
    return "–" if interval is None else f"{interval.low:.2f}–{interval.high:.2f}"


def _print_estimate(found: Estimate, json: bool) -> int:
    from workbench.cli.terminal import print_json, stdout, table

    if json:
        print_json(found.to_plain())
        return 0
    stdout().print(table("What this plan comes to; nothing was fitted", ("", ""), found.lines()))
    return 0


def _print_fit(record: FitRecord, out: Path, json: bool) -> int:
    from workbench.cli.terminal import print_json, stdout, table
    from workbench.reports.fit_headline import scored

    if json:
        print_json({"probes": str(out), **record.to_plain()})
        return 0
    console = stdout()
    columns = ("site", "step", "label", "probe", "n", "accuracy", "95 %", "shuffled", "p", "words", "selective")
    best = scored(record)
    lines = [
        (c.site, c.step, c.label, c.probe, c.n, c.accuracy, _ends(c.interval), c.shuffled, c.corrected_p, c.input_only,
         c.selectivity)
        for c in (record.fits if len(record.fits) <= SHOWN else best[:SHOWN])
    ]  # fmt: skip
    title = "Probes on held-out groups (p: corrected for the whole grid; words: the prompt alone)"
    more = "" if len(record.fits) <= SHOWN else f" (the best {SHOWN} of {len(record.fits)}; all are in cells.csv)"
    console.print(table(title + more, columns, lines))
    if record.text:
        rows = [(t.site, t.step, t.n, t.exact_match, t.shuffled, t.variance_explained, t.logit_lens, t.tuned_lens)
                for t in record.text]  # fmt: skip
        words = ("site", "step", "n", "text read", "shuffled", "variance explained", "logit lens", "tuned lens")
        console.print(table("Words read from thoughts", words, rows[:SHOWN]))
    readable = sum(cell.readable for cell in record.fits)
    console.print(
        f"{readable} of {record.n_cells} cells are readable; {record.n_undefined} are undefined.\n"
        f"report: {out / 'report.html'}\ndashboard: workbench dashboard {shlex.quote(str(out))}",
        markup=False,
    )
    return 0


def _print_applied(applied: list[Applied], out: Path) -> int:
    from workbench.cli.terminal import stdout, table
    from workbench.reports.apply_records import LENSES

    columns = ("reader", "rows read", "rows with a known value", "accuracy", "95 % interval", "majority", "control")
    lenses = [one for one in applied if one.kind in LENSES]
    probes = [one for one in applied if one.kind not in LENSES]
    for what, some in (("probes", probes), ("lenses", lenses)):
        lines = [(a.name, a.n_read, a.n, a.accuracy, _ends(a.interval), a.majority, a.control) for a in some[:SHOWN]]
        more = "" if len(some) <= SHOWN else f" (the first {SHOWN} of {len(some)}; all are in apply.json)"
        title = f"Read by {what}, scored where the value is known and was not learned from{more}"
        if lines:
            stdout().print(table(title, columns, lines))
    stdout().print(f"readings: {out / 'readings.parquet'}", markup=False)
    return 0
