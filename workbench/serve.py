"""Start the dashboard's server as a process of its own: the workbench itself never imports Streamlit."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from workbench.errors import ConfigError
from workbench.exposure import LOOPBACK, Exposure

FIRST_PORT, LAST_PORT = 8501, 8600
HERE = Exposure(LOOPBACK)
WARNING = """
WARNING: THE DASHBOARD IS EXPOSED on {address}, port {port}, without a login and without encryption.
Whoever reaches this address reads every run under its folders, writes findings, and starts jobs on this machine.

"""
DEMO_AUDIT = Path(__file__).parent / "demo_audit"


def serve(
    folders: Sequence[Path], *, port: int | None, browser: bool, announce_json: bool = False,
    where: Exposure = HERE,
) -> NoReturn:  # fmt: skip
    """Become the dashboard's server; does not return.

    Args:
        folders: audits, fits, or folders that hold some; none: the bundled demo audit.
        port: a port that must be free; none: the first free one.
        browser: whether to open it.
        announce_json: say where it is as one line of JSON.
        where: the interface to listen on; others than this machine are warned of on stderr.

    Raises:
        ConfigError: a folder does not exist, the port is taken, or Streamlit is not installed.
    """
    absent = [folder for folder in folders if not folder.is_dir()]
    if absent:
        hint = "Make one: workbench demo --out runs/demo, or workbench fit RUN --out runs/probes"
        raise ConfigError("no such folder", path=absent[0], hint=hint)
    entry = find_spec("apps.dashboard")
    if entry is None or entry.origin is None or find_spec("streamlit") is None:
        raise ConfigError("the dashboard is not installed", hint="Install it: pip install neuralese-workbench")
    chosen = _free_port(port, where.address)
    url = where.url(chosen)
    if where.open:
        sys.stderr.write(WARNING.format(address=where.address, port=chosen))
        sys.stderr.flush()
    sys.stdout.write((json.dumps({"url": url}) if announce_json else f"dashboard: {url} (Ctrl-C stops it)") + "\n")
    sys.stdout.flush()
    arguments = [sys.executable, "-m", "apps", "--port", str(chosen), "--address", where.address]
    arguments += [word for name in where.names for word in ("--allow-host", name)]
    arguments += [*(["--exposed"] if where.open else []), *([] if browser else ["--headless"]), "--"]
    # This process becomes the server, so that a signal sent to it reaches the server and nothing is left behind.
    os.execv(arguments[0], [*arguments, *map(str, folders or [DEMO_AUDIT])])  # noqa: S606


def _free_port(port: int | None, address: str) -> int:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for candidate in [port] if port is not None else range(FIRST_PORT, LAST_PORT):
        with socket.socket(family) as probe:
            try:
                probe.bind((address, candidate))
            except OSError:
                continue
            return int(candidate)
    taken = f"port {port}" if port is not None else f"every port from {FIRST_PORT} to {LAST_PORT - 1}"
    raise ConfigError(f"{taken} is taken on {address}", field="--port", hint="Choose another port.")
