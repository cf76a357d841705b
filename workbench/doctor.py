"""Doctor: versions, devices, write access; what is missing and how to get it."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from shutil import disk_usage

from workbench.errors import SchemaError
from workbench.organisms import ORGANISMS, bundled
from workbench.reports.records import read_audit
from workbench.serve import DEMO_AUDIT

PACKAGES = {
    "torch": "2.10.0", "transformers": "5.20", "transformer-lens": "4.3", "safetensors": "0.8.0", "scikit-learn": "1.8",
    "numpy": "2.0", "plotly": "6.0", "streamlit": "1.67",
}  # fmt: skip
"""Least versions that are known to work; torch older than 2.10 has a known hole in reading weights."""
MIN_FREE_BYTES = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    found: str
    ok: bool
    advice: str | None = None


def diagnose() -> list[Finding]:
    """Look at everything that a command may need."""
    return [_python(), *map(_package, PACKAGES), _device(), _writable(), _disk(), _organisms(), _dashboard()]


def _python() -> Finding:
    ok = sys.version_info >= (3, 11)
    return Finding("python", platform.python_version(), ok, None if ok else "Install Python 3.11 or newer.")


def _package(name: str) -> Finding:
    try:
        found = version(name)
    except PackageNotFoundError:
        return Finding(name, "not installed", False, f"pip install '{name}>={PACKAGES[name]}'")
    ok = _parts(found) >= _parts(PACKAGES[name])
    return Finding(name, found, ok, None if ok else f"pip install '{name}>={PACKAGES[name]}'")


def _parts(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("+")[0].split(".") if part.isdigit())


def _device() -> Finding:
    if find_spec("torch") is None:
        return Finding("device", "torch is not installed", False, "pip install torch")
    import torch

    if torch.cuda.is_available():
        return Finding("device", torch.cuda.get_device_name(0), True)
    return Finding("device", f"processor, {os.cpu_count()} cores (no accelerator is needed)", True)


def _writable() -> Finding:
    here = Path.cwd()
    ok = os.access(here, os.W_OK)
    return Finding("write access here", str(here), ok, None if ok else "Run in a folder you may write to.")


def _disk() -> Finding:
    free = disk_usage(Path.cwd()).free
    ok = free >= MIN_FREE_BYTES
    return Finding(
        "free disk", f"{free / 1e9:.1f} GB", ok, None if ok else "Free some space; an audit needs 0.1 GB and more."
    )


def _organisms() -> Finding:
    shipped, known = bundled(), list(ORGANISMS)
    ok = shipped == known
    return Finding("bundled organisms", ", ".join(shipped) or "none", ok, None if ok else "Install the package again.")


def _dashboard() -> Finding:
    try:
        ok = find_spec("apps") is not None and read_audit(DEMO_AUDIT).status == "complete"
    except SchemaError:
        ok = False
    return Finding(
        "dashboard and demo audit", "installed" if ok else "absent", ok, None if ok else "Install the package again."
    )
