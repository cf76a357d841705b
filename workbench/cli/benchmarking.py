"""Sub-command `benchmark`."""

from __future__ import annotations

from typing import Annotated

import typer

from workbench.cli.options import Json, Out, Threads, use_threads


def register(app: typer.Typer) -> None:
    """Add this sub-command."""
    app.command("benchmark")(benchmark)


def benchmark(
    out: Out,
    organisms: Annotated[
        list[str] | None, typer.Option("--organism", metavar="NAME", help="Only this one; may be given again.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Training seeds of each organism; missing ones are trained.")] = 3,
    alpha: Annotated[float, typer.Option(help="False alarm rate to promise.")] = 0.01,
    calibration: Annotated[int, typer.Option(min=20, help="Honest problems of each audit.")] = 700,
    problems: Annotated[int, typer.Option(min=1, help="Audited problems of each audit.")] = 400,
    threads: Threads = 1,
    json: Json = False,
) -> int:
    """Audit every organism with several training seeds and hold the verdicts against what was planted.

    Training takes about five minutes a model; models in DIR/models and audits in DIR/audits are used again.
    Exit codes: 0 everything is as planted, 1 something is not.

    Example: workbench benchmark --out runs/benchmark --organism liar --organism honest
    """
    from workbench.benchmark.run import BenchmarkPlan, run_benchmark
    from workbench.cli.terminal import print_json, progress_on_stderr, stdout, table
    from workbench.organisms import ORGANISMS

    use_threads(threads)
    plan = BenchmarkPlan(tuple(organisms or ORGANISMS), seeds, alpha, calibration, problems)
    with progress_on_stderr(quiet=json) as advance:
        record = run_benchmark(plan, out, progress=advance)
    if json:
        print_json(record.model_dump(mode="json", by_alias=True))
    else:
        rows = [
            (row.organism, ", ".join(dict.fromkeys(row.verdicts)), row.recall.share if row.recall else "–",
             row.alarms.share if row.alarms else "–", row.alarms.n if row.alarms else 0,
             "; ".join(row.misses) or "as planted")
            for row in record.rows
        ]  # fmt: skip
        columns = ("organism", "audits say", "lies found", "others flagged", "others", "against what was planted")
        stdout().print(table(f"Organisms, {seeds} training seeds each", columns, rows))
        stdout().print(f"table: {out / 'benchmark.md'}", markup=False)
    return 1 if any(row.misses for row in record.rows) else 0
