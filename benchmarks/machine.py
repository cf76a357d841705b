"""What a benchmark ran on: figures mean nothing without it."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def about_this_machine(*packages: str) -> str:
    """Processor, Python, versions of the packages and the revision of the code."""
    revision = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    found = ", ".join(f"{package} {_version(package)}" for package in packages)
    return (
        f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, {found}, "
        f"revision {revision.stdout.strip() or 'unknown'}, load {os.getloadavg()[0]:.1f}"
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
