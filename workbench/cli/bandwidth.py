"""The sub-command that counts bits per thought."""

from __future__ import annotations

from typing import Annotated

import typer

from workbench.cli.options import (
    Device,
    Dtype,
    Json,
    Model,
    Out,
    Problems,
    Seed,
    Threads,
    TrustRemoteCode,
    load,
    use_threads,
)


def register(app: typer.Typer) -> None:
    """Add this sub-command."""
    app.command()(bandwidth)


def bandwidth(
    model: Model,
    problems: Problems,
    out: Out,
    measured: Annotated[
        int,
        typer.Option("--measured", min=1, help="Most problems that codes are tried on, and most for the code found."),
    ] = 400,
    per_step: Annotated[
        bool, typer.Option("--per-step/--all-steps", help="Try codes on every step by itself as well.")
    ] = True,
    seed: Seed = 0,
    device: Device = "auto",
    dtype: Dtype = "float32",
    trust_remote_code: TrustRemoteCode = False,
    threads: Threads = 1,
    json: Json = False,
) -> int:
    """Count bits per thought: what it could hold, what can be read from it, what is enough to say the same.

    Ctrl-C stops; the same command goes on where it stopped.

    Example: workbench bandwidth organism:liar --problems p.jsonl --out runs/liar-bits
    """
    from workbench.bandwidth import REPORT_NAME, BandwidthPlan, run_bandwidth
    from workbench.cli.terminal import print_json, progress_on_stderr, stdout, table
    from workbench.reports.bandwidth_words import SHORT_COLUMNS, headline, notices, short_rows
    from workbench.tasks import read_problems

    use_threads(threads)
    items = read_problems(problems)
    loaded = load(model, device=device, dtype=dtype, trust_remote_code=trust_remote_code)
    plan = BandwidthPlan(seed=seed, n_measured=measured, per_step=per_step)
    with progress_on_stderr(quiet=json) as advance:
        record = run_bandwidth(loaded, items, out, plan, progress=advance)
    if json:
        print_json({"out": str(out), "report": str(out / REPORT_NAME), **record.to_plain()})
        return 0
    console = stdout()
    console.print(table("Bits per problem, by step", SHORT_COLUMNS, short_rows(record)))
    for line in [headline(record), *notices(record), f"report: {out / REPORT_NAME}"]:
        console.print(line, markup=False)
    return 0
