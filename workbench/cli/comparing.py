"""Sub-command `compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.options import Json

SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add this sub-command."""
    app.command("compare")(compare)


def compare(
    folder_a: Annotated[Path, typer.Argument(metavar="DIR_A", help="An audit.")],
    folder_b: Annotated[Path, typer.Argument(metavar="DIR_B", help="Another audit of the same problems.")],
    json: Json = False,
) -> int:
    """Lay two audits of the same problems side by side: differences with intervals, and what changed in each problem.

    Example: workbench compare runs/before runs/after
    """
    from workbench.cli.terminal import print_json, stdout, table
    from workbench.compare import compare_folders
    from workbench.reports.escape import short, visible

    record = compare_folders(folder_a, folder_b)
    if json:
        print_json(record.model_dump(mode="json", by_alias=True))
        return 0
    console = stdout()
    for name, side in (("A", record.a), ("B", record.b)):
        console.print(f"{name}: {visible(side.source)}, {side.n_problems} problems, {side.verdict}", markup=False)
    for warning in record.warnings:
        console.print(f"note: {warning}", markup=False)
    rows = [
        (one.name, one.a, one.b, one.difference, f"{one.interval.low:.3f}–{one.interval.high:.3f}",
         "–" if one.p_value is None else f"{one.p_value:.3g}", one.n)
        for one in record.differences
    ]  # fmt: skip
    columns = ("over shared problems", "A", "B", "B less A", "95 % interval", "p (groups exchanged)", "problems")
    console.print(table("Differences", columns, rows))
    moved = [(one.a, one.b, one.n) for one in record.transitions]
    console.print(table("Verdicts", ("in A", "in B", "problems"), moved))
    changed = [
        (short(one.id, 24), one.score_a, one.score_b, short("; ".join(one.changes), 90))
        for one in record.changed[:SHOWN]
    ]
    if changed:
        title = (
            f"What changed ({len(record.changed)} problems{'' if len(record.changed) <= SHOWN else f', {SHOWN} shown'})"
        )
        console.print(table(title, ("problem", "score in A", "score in B", "changes"), changed))
    console.print(
        f"{record.n_shared} problems in both; {record.n_only_a} only in A, {record.n_only_b} only in B", markup=False
    )
    return 0
