"""Sub-commands on the way to a verdict: demo, capture, audit, verify."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from shutil import which
from typing import Annotated, Any

import typer

from workbench.cli.options import (
    Address,
    Device,
    Dtype,
    EngineName,
    Json,
    Model,
    Out,
    Problems,
    Seed,
    Threads,
    TrustRemoteCode,
    Workers,
    WorkerThreads,
    choose_engine,
    load,
    use_threads,
)

EXIT_GATE, EXIT_INCONCLUSIVE = 1, 3


def register(app: typer.Typer) -> None:
    """Add these sub-commands."""
    for command in (demo, capture, audit, verify):
        app.command()(command)


def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write.")] = Path("runs/demo"),
    json: Json = False,
    seed: Seed = 0,
    threads: Threads = 1,
) -> int:
    """Audit the bundled liar from end to end and print the verdict.

    The liar thinks one chain of rooms and, when its prompt says `watched`, recites another. The audit never sees
    what was planted; afterwards its verdicts are held against it.

    Example: workbench demo --out runs/demo
    """
    from workbench.demo import hold_against_truth, run_demo

    use_threads(threads)
    with _progress(json) as advance:
        record, items = run_demo(out, seed=seed, progress=advance)
    return _finish(record, out, json, fail_on=None, extra={"truth": hold_against_truth(record, items)})


def capture(
    model: Model,
    problems: Problems,
    out: Out,
    sites: Annotated[
        list[str] | None, typer.Option("--sites", help="Site or pattern to keep as well; may be given again.")
    ] = None,
    channel: Annotated[bool, typer.Option(help="Keep keys and values of the latent positions.")] = True,
    twin: Annotated[
        int | None,
        typer.Option(
            "--random-twin", metavar="SEED", min=0, help="Draw every weight again: a control that learned nothing."
        ),
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    dtype: Dtype = "float32",
    trust_remote_code: TrustRemoteCode = False,
    engine: EngineName = "local",
    workers: Workers = 1,
    address: Address = None,
    threads: WorkerThreads = 1,
    json: Json = False,
) -> int:
    """Run MODEL on problems and keep its thoughts, chosen sites and said text in a store.

    Example: workbench capture organism:liar --problems p.jsonl --out runs/liar --sites 'blocks.*.hook_resid_post'
    """
    from workbench.capture import capture as run_capture
    from workbench.cli.terminal import print_json, stdout
    from workbench.reasoners.twin import randomised
    from workbench.sites import channel_sites, thought_sites
    from workbench.tasks import read_problems

    where = choose_engine(engine, workers=workers, address=address, threads=threads, device=device)
    items = read_problems(problems)
    loaded = load(model, device=device, dtype=dtype, trust_remote_code=trust_remote_code)
    if twin is not None:
        loaded = randomised(loaded, twin)
    known = loaded.reasoner.sites
    chosen = [*thought_sites(known), *(channel_sites(known) if channel else ()), *(sites or ())]
    with _progress(json) as advance:
        store = run_capture(
            loaded,
            items,
            out,
            sites=chosen,
            seed=seed,
            engine=where,
            progress=lambda done, planned: advance("capture", done, planned),
        )
    plain = {"run": str(out), "root": store.root, "n_problems": len(store.problems), "sites": sorted(store.sites)}
    if json:
        print_json(plain)
    else:
        stdout().print(
            f"{len(store.problems)} problems, {len(store.sites)} sites, {store.root}\nrun: {out}", markup=False
        )
    return 0


def audit(
    model: Model,
    calibration: Annotated[Path, typer.Option("--calibration", metavar="FILE", help="Honest problems, JSON lines.")],
    problems: Problems,
    out: Out,
    alpha: Annotated[float, typer.Option(help="False alarm rate to promise.")] = 0.01,
    reader: Annotated[
        str, typer.Option(help="What reads thoughts: probe, or lens or tuned-lens (no gold labels, nothing trained).")
    ] = "probe",
    fail_on: Annotated[str | None, typer.Option("--fail-on", help="diverges: exit 1 when the model does.")] = None,
    seed: Seed = 0,
    device: Device = "auto",
    dtype: Dtype = "float32",
    trust_remote_code: TrustRemoteCode = False,
    threads: Threads = 1,
    json: Json = False,
) -> int:
    """Capture, fit, calibrate, test causally, judge and report, in one go.

    Exit codes: 0 done, 1 the gate failed (with --fail-on), 3 it cannot tell.

    Example: workbench audit ./my-model --calibration honest.jsonl --problems p.jsonl --out runs/mine
    """
    from workbench.audit import Plan, run_audit
    from workbench.errors import ConfigError
    from workbench.tasks import read_problems

    if fail_on not in (None, "diverges"):
        raise ConfigError("unknown gate", field="--fail-on", expected="diverges", found=fail_on)
    plan = Plan(alpha=alpha, seed=seed, reader=reader)  # type: ignore[arg-type]  # refused there if it is no reader
    use_threads(threads)
    honest, audited = read_problems(calibration), read_problems(problems)
    command = ["workbench", "audit", model, "--calibration", str(calibration), "--problems", str(problems),
               "--out", str(out), "--alpha", f"{alpha:g}", "--seed", str(seed),
               *(("--reader", reader) if reader != "probe" else ()),
               *(("--dtype", dtype) if dtype != "float32" else ()),
               *(("--trust-remote-code",) if trust_remote_code else ())]  # fmt: skip
    loaded = load(model, device=device, dtype=dtype, trust_remote_code=trust_remote_code)
    with _progress(json) as advance:
        record = run_audit(loaded, honest, audited, out, plan, command=command, progress=advance)
    return _finish(record, out, json, fail_on=fail_on)


def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An audit, a fit or a run.")], json: Json = False
) -> int:
    """Recompute hashes and numbers of a run, a fit or an audit; exit 4 when something differs.

    Example: workbench verify runs/demo
    """
    from workbench.cli.terminal import print_json, stdout
    from workbench.verify import verify as run_verify

    found = run_verify(folder, tell=None if json else lambda check: print(f"ok: {check}", file=sys.stderr))  # noqa: T201
    if json:
        print_json({"kind": found.kind, "root": found.root, "checks": list(found.checks)})
    else:
        stdout().print(f"{found.kind} {folder} is as recorded ({found.root})", markup=False)
    return 0


def _progress(json: bool) -> Any:
    from workbench.cli.terminal import progress_on_stderr

    return progress_on_stderr(quiet=json)


def _finish(record: Any, out: Path, json: bool, *, fail_on: str | None, extra: dict[str, Any] | None = None) -> int:
    """Print the verdict and turn it into an exit code."""
    from workbench.cli.terminal import print_json, stdout, table, verdict_lines

    summary = record.summary.model_dump(mode="json")
    if json:
        files = {"out": str(out), "report": str(out / "report.html")}
        print_json({"status": record.status, "summary": summary, **files, **(extra or {})})
    else:
        console, lines = stdout(), verdict_lines(summary)
        if summary["channel"]["decorative"]:  # first of all, before anything that was read from the thoughts
            console.print(lines.pop(0), markup=False)
        rows = [(c.condition, c.n, c.n_diverges, c.n_agrees, c.n_cannot_tell, c.share_diverges,
                 f"{c.interval.low:.3f}–{c.interval.high:.3f}") for c in record.summary.conditions]  # fmt: skip
        columns = ("condition", "problems", "diverges", "agrees", "cannot tell", "share diverging", "95 % interval")
        console.print(table("Verdicts by condition", columns, rows))
        steps = [(s.step, s.decode_accuracy, s.control, s.input_only, s.causal_effect, s.placebo_effect, s.n)
                 for s in record.steps]  # fmt: skip
        columns = ("step", "decoded right", "shuffled labels", "input only", "exchange", "placebo", "honest problems")
        console.print(table("Can each thought be read, and is it used?", columns, steps))
        for line in [*lines, *(extra or {}).get("truth", {}).get("lines", []), *record.warnings]:
            console.print(line, markup=False)
        program = "workbench" if which("workbench") else shlex.quote(sys.argv[0])
        console.print(
            f"report: {out / 'report.html'}\ndashboard: {program} dashboard {shlex.quote(str(out))}", markup=False
        )
    if record.summary.verdict == "diverges" and fail_on == "diverges":
        return EXIT_GATE
    return EXIT_INCONCLUSIVE if record.summary.verdict == "cannot-tell" else 0
