"""Sub-commands around the dashboard and the installation: dashboard and doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.options import Json


def register(app: typer.Typer) -> None:
    """Add these sub-commands."""
    for command in (dashboard, doctor):
        app.command()(command)


def dashboard(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[DIR]...", help="Audits, fits, or folders of them; default: the bundled demo."),
    ] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port; default: the first free one.")] = None,
    host: Annotated[str, typer.Option("--host", "--address", help="Address to listen on.")] = "127.0.0.1",
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A further name it may be asked by; may be repeated.")
    ] = None,
    unsafe_expose: Annotated[
        bool, typer.Option("--unsafe-expose", help="Let everyone who reaches --host read all and start jobs.")
    ] = False,
    browser: Annotated[bool, typer.Option(help="Open the browser.")] = True,
    json: Json = False,
) -> int:
    """Serve the dashboard on 127.0.0.1 until Ctrl-C; with no DIR, on the bundled demo audit.

    An audit opens on its worst problem; a folder that workbench fit wrote opens on the grid of its probes. It has no
    login: other addresses than loopback need --unsafe-expose and at least one --allow-host.

    Example: workbench dashboard runs/demo runs/probes
    """
    from workbench.exposure import exposure
    from workbench.serve import serve

    where = exposure(host, allow_host or (), unsafe=unsafe_expose)
    serve([folder.resolve() for folder in folders or ()], port=port, browser=browser, announce_json=json, where=where)


def doctor(json: Json = False) -> int:
    """Tell versions, devices and write access, what is missing and how to get it.

    Example: workbench doctor
    """
    from workbench.cli.terminal import print_json, stdout, table
    from workbench.doctor import diagnose

    findings = diagnose()
    if json:
        print_json([{"name": f.name, "found": f.found, "ok": f.ok, "advice": f.advice} for f in findings])
    else:
        rows = [("ok" if f.ok else "MISSING", f.name, f.found, f.advice or "") for f in findings]
        stdout().print(table("Doctor", ("", "what", "found", "what to do"), rows))
    return 0 if all(f.ok for f in findings) else 2
