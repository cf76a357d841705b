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
    json: Json = False,
) -> int:
    """Export a finished audit: a page without scripts, the record, a table that no spreadsheet runs, or SARIF.

    Example: workbench report runs/demo --format html,json,sarif
    """
    from workbench.cli.terminal import print_json, stdout
    from workbench.report import export_audit

    wanted = [name.strip() for name in formats.split(",") if name.strip()]
    written = export_audit(folder, out or folder / "exports", wanted)
    if json:
        print_json({"files": [str(path) for path in written]})
    else:
        for path in written:
            stdout().print(str(path), markup=False)
    return 0
