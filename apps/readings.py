"""Folders that `workbench apply` wrote: what was read of each problem, and how each reader did. Read and cached as
`apps.data` does."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import streamlit as st

from apps.data import FileKey, file_key, inside, roots
from workbench.errors import WorkbenchError
from workbench.jsonio import read_json
from workbench.reports.apply_records import APPLY_NAME, Applied, read_applied
from workbench.reports.escape import visible

READINGS = "readings.parquet"
OF_A_CELL = ("probe", "site", "step", "label", "kind", "read", "score", "known")
NOT_EVERYWHERE = ("visit", "top", "top_scores")
"""Columns that older folders lack."""


def folders() -> dict[str, Path]:
    """Folders of readings below those the dashboard was started with."""
    found: dict[str, Path] = {}
    for root in roots():
        for path in inside(root, READINGS):
            below = path.parent.relative_to(root.resolve())
            found[visible(str(below) if below.parts else root.name)] = path.parent
    return found


@st.cache_data(max_entries=8, show_spinner=False)
def _ids(key: FileKey) -> list[str]:
    table = pq.read_table(Path(key[0]) / READINGS, columns=["id"])
    return list(dict.fromkeys(table["id"].to_pylist()))


def ids(folder: Path) -> list[str]:
    """Problems that the folder holds readings of, in their order."""
    return _ids(file_key(folder, READINGS))


@st.cache_resource(max_entries=32, show_spinner=False)
def _table(key: FileKey, problem: str) -> pa.Table:
    path = Path(key[0]) / READINGS
    held = pq.read_schema(path).names
    columns = [*OF_A_CELL, *(name for name in NOT_EVERYWHERE if name in held)]
    return pq.read_table(path, columns=["id", *columns], filters=[("id", "=", problem)])


def of_problem(folder: Path, problem: str) -> pd.DataFrame:
    """Readings of one problem, a row for each vector, reader and label; texts as they came, rivals left aside."""
    table = _table(file_key(folder, READINGS), problem)
    kept = [*OF_A_CELL, *(["visit"] if "visit" in table.column_names else [])]
    frame: pd.DataFrame = table.select(kept).to_pandas()
    return frame


def rivals(folder: Path, problem: str, row: int) -> list[tuple[str, float]]:
    """The likeliest readings of one row of `of_problem` and their scores; empty where the folder does not hold them."""
    table = _table(file_key(folder, READINGS), problem)
    if "top" not in table.column_names:
        return []
    texts, scores = table["top"][row].as_py(), table["top_scores"][row].as_py()
    return list(zip(texts or (), scores or (), strict=True))


@st.cache_resource(max_entries=16, show_spinner=False)
def _applied(key: FileKey) -> dict[str, Applied]:
    try:
        return {one.name: one for one in read_applied(Path(key[0])).probes}
    except WorkbenchError:
        return {}  # readings stand without it, and the page says that nothing stands beside them


def applied(folder: Path) -> dict[str, Applied]:
    """How each reader did on the whole run, by its name; empty where `apply.json` cannot be read."""
    return _applied(file_key(folder, APPLY_NAME))


def family(folder: Path) -> str | None:
    """Family of the model whose vectors were read, where `apply.json` says so."""
    try:
        plain = read_json(folder / APPLY_NAME)
    except WorkbenchError:
        return None
    return plain.get("family") if isinstance(plain, dict) and isinstance(plain.get("family"), str) else None
