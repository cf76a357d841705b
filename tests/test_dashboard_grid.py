"""The page Grid without a browser: readings by site and step, right ones told from wrong ones, and an empty state."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_dashboard import opened, words  # type: ignore[import-not-found]

from workbench.apply import COLUMNS

SITES = ("blocks.0.hook_resid_post", "blocks.1.hook_resid_post")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "argv", ["dashboard.py", str(tmp_path)])
    return tmp_path


def readings(folder: Path, n_steps: int = 3, read: str = "vault") -> None:
    rows = [
        (name, "p", site, step, "thought", "multinomial-logistic", read if step else "<b>x</b>", 0.25 + 0.25 * step,
         None if step == 2 else "vault")
        for name in ("p-1", "p-2") for site in SITES for step in range(n_steps)
    ]  # fmt: skip
    columns = list(zip(*rows, strict=True))
    table = pa.table([pa.array(column, field.type) for column, field in zip(columns, COLUMNS, strict=True)], COLUMNS)
    (folder / "mine").mkdir()
    pq.write_table(table, folder / "mine" / "readings.parquet")


def chart(app: Any) -> Any:
    return json.loads(app.get("vega_lite_chart")[0].proto.spec)


def test_every_site_and_step_is_a_cell(folder: Path) -> None:
    readings(folder)
    app = opened("grid", problem="p-2", cell=f"{SITES[1]}, step 1")
    assert not app.exception
    assert len(app.dataframe[0].value) == 6
    assert "reads vault with probability 0.50; right" in words(app)
    marks = [layer["mark"]["type"] for layer in chart(app)["layer"]]
    assert marks == ["rect", "text"]


def test_a_wrong_reading_says_what_is_right(folder: Path) -> None:
    readings(folder)
    app = opened("grid", cell=f"{SITES[0]}, step 0")
    assert "reads <b>x</b> with probability 0.25; wrong: it is vault" in words(app)
    app = opened("grid", cell=f"{SITES[0]}, step 2")
    assert any("not known" in text for text in words(app))


def test_large_grids_lose_their_text_first(folder: Path) -> None:
    readings(folder, n_steps=201)
    app = opened("grid")
    assert [layer["mark"]["type"] for layer in chart(app)["layer"]] == ["rect"]
    assert not app.exception


def test_without_readings_it_says_how_to_get_some(folder: Path) -> None:
    app = opened("grid")
    assert "workbench apply" in app.code[0].value
