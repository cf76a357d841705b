"""Sub-command `report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.options import Json


def register(app: typer.Typer) -> None:
    """Add this sub-command."""
    app.command("report")(report)


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A finished audit.")],
    formats: Annotated[
        str, typer.Option("--format", metavar="LIST", help="Any of html, json, csv, sarif, with commas between.")
    ] = "html",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder for the files; default: DIR/exports.")
    ] = None,
    of_findings: Annotated[
        bool, typer.Option("--findings", help="Only what was pinned and stands, with what reviewers say of it.")
    ] = False,
    label: Annotated[
        str | None, typer.Option("--label", metavar="FIELD=VALUE", help="Findings of this label, as severity=high.")
    ] = None,
    finding: Annotated[
        list[str] | None,
        typer.Option("--finding", metavar="PROBLEM[@STEP]", help="Only this finding; can be given again."),
    ] = None,
    json: Json = False,
) -> int:
    """Export a finished audit: a page without scripts, the record, a table that no spreadsheet runs, or SARIF.

    With `--findings`, `--label` or `--finding` the files hold findings instead.

    Example: workbench report runs/demo --format html,json,sarif
    """
    from workbench.cli.terminal import print_json, stdout
    from workbench.findings.choice import Choice
    from workbench.report import export_audit

    wanted = [name.strip() for name in formats.split(",") if name.strip()]
    is_chosen = of_findings or label is not None or bool(finding)
    choice = Choice(label, tuple(finding or ())) if is_chosen else None
    written = export_audit(folder, out or folder / "exports", wanted, choice)
    if json:
        print_json({"files": [str(path) for path in written]})
    else:
        for path in written:
            stdout().print(str(path), markup=False)
    return 0
