"""The table of cells: nothing missing becomes 0, nothing becomes a formula, equal fits give equal bytes."""

import csv
import io

import pandas as pd
import pytest
from fit_factory import HOSTILE, cell_of, hostile_fit, make_fit, undefined_cell

from workbench.reports.escape import csv_cell
from workbench.reports.fit_records import parse_fit
from workbench.reports.fit_tables import COLUMNS, cells_csv, cells_frame, cells_parquet


def rows_of(fit):
    return list(csv.DictReader(io.StringIO(cells_csv(fit), newline="")))


def test_a_row_is_a_cell_with_its_controls():
    row = cells_frame(make_fit([cell_of(step=2, accuracy=0.9)])).iloc[0]
    assert tuple(row.index) == COLUMNS
    assert (row["accuracy"], row["shuffled"], row["n"], row["standing"]) == (0.9, 0.12, 300, "readable")
    assert (row["interval_low"], row["interval_high"]) == pytest.approx((0.87, 0.93))


def test_what_is_missing_is_not_zero():
    fit = make_fit([undefined_cell("too few rows"), cell_of(step=1, twin=None, layer=None)])
    frame = cells_frame(fit)
    assert pd.isna(frame.loc[0, "accuracy"])
    assert pd.isna(frame.loc[1, "twin"])
    assert pd.isna(frame.loc[1, "layer"])
    undefined, other = rows_of(fit)
    assert (undefined["accuracy"], undefined["interval_low"], undefined["shuffled"]) == ("", "", "")
    assert (undefined["undefined_because"], undefined["readable"]) == ("too few rows", "false")
    assert (other["twin"], other["layer"], other["undefined_because"]) == ("", "", "")


def test_three_tables_hold_the_same():
    fit = make_fit()
    frame = cells_frame(fit)
    again = pd.read_parquet(io.BytesIO(cells_parquet(fit)))
    pd.testing.assert_frame_equal(again, frame)
    rows = rows_of(fit)
    assert len(rows) == len(frame) == len(fit.fits)
    for row, cell in zip(rows, fit.fits, strict=True):
        assert (row["accuracy"] and float(row["accuracy"])) == (cell.accuracy if cell.accuracy is not None else "")


def test_equal_fits_give_equal_bytes(tmp_path):
    fit = make_fit()
    again = parse_fit(fit.to_plain(), path=tmp_path)
    assert cells_parquet(fit) == cells_parquet(again)
    assert cells_csv(fit) == cells_csv(again)
    other = make_fit([cell_of(accuracy=0.96)])
    assert cells_parquet(make_fit([cell_of()])) != cells_parquet(other)


def test_an_empty_fit_has_a_header_and_its_types():
    fit = make_fit([], [])
    assert cells_csv(fit).strip().split(",") == list(COLUMNS)
    frame = pd.read_parquet(io.BytesIO(cells_parquet(fit)))
    assert frame.empty
    assert str(frame["accuracy"].dtype) == "float64"


@pytest.mark.parametrize("text", HOSTILE)
def test_cells_are_no_formulas_and_text_is_kept(text):
    fit = hostile_fit(text)
    for row in rows_of(fit):
        for name in ("site", "label", "probe"):
            assert row[name] == csv_cell(text)
            assert not row[name].startswith(("=", "+", "-", "@"))
    assert rows_of(fit)[1]["undefined_because"] == csv_cell(text)
    assert list(cells_frame(fit)["site"]) == [text, text]
