"""The cells of a fit as one flat table: data frame, formula-safe CSV, Parquet."""

from __future__ import annotations

import csv
import io
from typing import Any

import pandas as pd

from workbench.reports.escape import csv_cell
from workbench.reports.fit_records import CellRecord, FitRecord

_LISTS = ("learning_curve", "reliability", "confusions")
_TEXTS = ("site", "label", "probe", "undefined_because", "standing")
_WHOLE = ("layer", "step", "n_fit", "n", "n_groups", "n_classes", "n_shuffles", "n_iter", "seed")
_TRUTHS = ("readable", "converged")


def _columns() -> tuple[str, ...]:
    names: list[str] = []
    for name in CellRecord.model_fields:
        if name == "interval":
            names += ["interval_low", "interval_high"]
        elif name not in _LISTS:
            names.append(name)
    return (*names, "standing")


COLUMNS = _columns()
"""Every scalar of a cell, its interval in two columns, and what may be said of it."""


def _row(cell: CellRecord) -> list[Any]:
    interval = cell.interval
    ends = {
        "interval_low": None if interval is None else interval.low,
        "interval_high": None if interval is None else interval.high,
    }
    return [ends[name] if name in ends else getattr(cell, name) for name in COLUMNS]


def cells_frame(fit: FitRecord) -> pd.DataFrame:
    """One row per cell in the order of the fit; what is undefined or was not run is missing, never 0."""
    rows = [_row(cell) for cell in fit.fits]
    columns = {name: [row[place] for row in rows] for place, name in enumerate(COLUMNS)}
    return pd.DataFrame({name: pd.Series(values, dtype=_dtype(name)) for name, values in columns.items()})


def _dtype(name: str) -> str:
    if name in _TEXTS:
        return "string"
    if name in _WHOLE:
        return "Int64"
    return "boolean" if name in _TRUTHS else "float64"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return csv_cell(value)
    return str(value).lower() if isinstance(value, bool) else repr(value)


def cells_csv(fit: FitRecord) -> str:
    """The same table as CSV (RFC 4180, header row); what is missing is empty.

    Text that a spreadsheet would run as a formula gets a leading ``'``; it is
    otherwise kept as it came, hidden characters included.
    """
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    writer.writerows([_cell(value) for value in _row(cell)] for cell in fit.fits)
    return out.getvalue()


def cells_parquet(fit: FitRecord) -> bytes:
    """The same table as Parquet; equal fits give equal bytes (of one version of pandas and Arrow)."""
    out = io.BytesIO()
    cells_frame(fit).to_parquet(out, engine="pyarrow", compression="snappy", index=False)
    return out.getvalue()
