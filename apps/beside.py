"""What lies beside an audit: bits of the same model, and runs by hand. Read and cached as `apps.data` does."""

from __future__ import annotations

import os
from pathlib import Path

import streamlit as st

from apps.data import FileKey, file_key, roots
from workbench.errors import WorkbenchError
from workbench.reports.bandwidth_records import BANDWIDTH_NAME, BandwidthRecord, read_bandwidth
from workbench.reports.escape import visible
from workbench.reports.live_records import NAME as LIVE_NAME
from workbench.reports.live_records import LiveRecord, read_live


@st.cache_resource(max_entries=8, show_spinner=False)
def _read_bandwidth(key: FileKey) -> BandwidthRecord:
    return read_bandwidth(Path(key[0]))


def bandwidth_of(directory: Path, fingerprint: str) -> tuple[str, BandwidthRecord] | None:
    """Bits of the same model, measured in the audit's folder, below it, or beside it: folder's name and record."""
    around = [root.resolve() for root in roots() if directory.is_relative_to(root.resolve())]
    below = [directory / BANDWIDTH_NAME, *sorted(directory.glob(f"*/{BANDWIDTH_NAME}"))]
    # Beside it is still inside what the dashboard was started with, unless the audit itself is all of that.
    near = [] if directory in around else sorted(directory.parent.glob(f"*/{BANDWIDTH_NAME}"))
    for path in [*below, *near]:
        if not path.is_file() or not any(path.resolve().is_relative_to(root) for root in around):
            continue
        try:
            record = _read_bandwidth(file_key(path.parent, BANDWIDTH_NAME))
        except WorkbenchError:
            continue
        if record.model.fingerprint == fingerprint:
            return visible(path.parent.name), record
    return None


@st.cache_resource(max_entries=64, show_spinner=False)
def _read_live(key: FileKey) -> LiveRecord:
    return read_live(Path(key[0]))


def load_live(folder: Path) -> LiveRecord:
    """The run by hand in this folder.

    Raises:
        WorkbenchError: it cannot be read.
    """
    return _read_live(file_key(folder, LIVE_NAME))


def typed(directory: Path) -> str:
    """The folder as a person types it where the dashboard was started."""
    here = Path.cwd()
    return os.path.relpath(directory, here) if directory.is_relative_to(here) else str(directory)
