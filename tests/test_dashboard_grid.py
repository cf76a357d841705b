"""The page Grid without a browser: readings by site and step, right ones told from wrong ones, and an empty state."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from audit_factory import liar, make_audit, write_audit  # type: ignore[import-not-found]
from test_dashboard import opened, words  # type: ignore[import-not-found]

from apps.grid import cells_of
from apps.grid_chart import Cells, heatmap_option
from apps.slots import cells_of as slots_of
from workbench.apply import COLUMNS
from workbench.reports.causal_records import Counted
from workbench.reports.fields import Interval
from workbench.reports.memory_records import SlotRecord

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
    app = opened("grid", problem="p-2", site=SITES[1], step="1")
    assert not app.exception
    assert len(app.dataframe[-1].value) == 6
    assert f"{SITES[1]}, latent step 1: reads vault with probability 0.50; right" in words(app)
    marks = [layer["mark"]["type"] for layer in chart(app)["layer"]]
    assert marks == ["rect", "text", "rect"]


def test_a_wrong_reading_says_what_is_right(folder: Path) -> None:
    readings(folder)
    app = opened("grid", site=SITES[0], step="0")
    assert f"{SITES[0]}, latent step 0: reads <b>x</b> with probability 0.25; wrong: it is vault" in words(app)
    app = opened("grid", site=SITES[0], step="2")
    assert any("not known" in text for text in words(app))


def test_large_grids_lose_their_text_first(folder: Path) -> None:
    readings(folder, n_steps=201)
    app = opened("grid")
    assert [layer["mark"]["type"] for layer in chart(app)["layer"]] == ["rect", "rect"]
    assert not app.exception


def test_very_large_grids_are_drawn_by_echarts_and_a_click_there_finds_its_cell(folder: Path) -> None:
    readings(folder, n_steps=5001)
    app = opened("grid")
    assert not app.get("vega_lite_chart")
    assert len(app.get("echarts_chart")) == 1
    assert app.selectbox(key="site").value == SITES[0]


def cells(n_sites: int, n_steps: int) -> Cells:
    sites = [f"site {k}" for k in range(n_sites)]
    rows = [(site, step, (step % 10) / 10) for site in sites for step in range(n_steps)]
    frame = pd.DataFrame(rows, columns=["where", "step", "score"]).assign(right="right", shown="x", truth="x")
    return cells_of(frame, "latent step", turned=False)


def test_echarts_numbers_columns_and_rows_from_below_and_names_each_cell_apart() -> None:
    option = heatmap_option(cells(3, 4), "probability", ("2", "site 1"), 400)
    source = option["dataset"]["source"]
    assert source["cell"].is_unique
    assert (source["x"].tolist()[:5], source["y"].tolist()[:5]) == ([0, 1, 2, 3, 0], [0, 0, 0, 0, 1])
    assert option["yAxis"]["data"] == ["site 0", "site 1", "site 2"]
    assert option["series"][1]["data"] == [[2, 1]]
    assert option["series"][0]["encode"]["itemName"] == "cell"


def test_a_looped_model_is_shown_by_recurrence_with_the_last_one_on_top(folder: Path) -> None:
    readings(folder)
    (folder / "mine" / "apply.json").write_text('{"family": "recurrent"}', encoding="utf-8")
    app = opened("grid", rows="recurrence", colour="right or wrong", site=SITES[1], step="1")
    rect = chart(app)["layer"][0]["encoding"]
    assert rect["y"]["title"] == "recurrence"
    assert rect["y"]["sort"] == ["2", "1", "0"]
    assert rect["x"]["sort"] == list(SITES)
    assert rect["color"]["field"] == "known"
    assert f"{SITES[1]}, recurrence 1: reads vault with probability 0.50; right" in words(app)


def test_other_models_have_no_recurrence_axis(folder: Path) -> None:
    readings(folder)
    app = opened("grid", rows="recurrence")
    assert chart(app)["layer"][0]["encoding"]["y"]["sort"] == list(SITES)[::-1]
    assert [box.key for box in app.selectbox] == ["readings", "problem", "label", "probe", "site", "step", "colour"]


def test_keys_walk_through_the_steps(folder: Path) -> None:
    readings(folder)
    app = opened("grid", step="1")
    next(button for button in app.button if button.label == "Next").click().run()
    assert app.selectbox(key="step").value == 2


def slot(episode: int, place: int, accuracy: float) -> SlotRecord:
    said = Counted(share=0.25, interval=Interval(low=0.1, high=0.4), n=40)
    return SlotRecord(
        episode=episode, slot=place, n=90, decode_accuracy=accuracy, decode_interval=Interval(low=0.0, high=1.0),
        control=0.125, selectivity_p=0.01, readable=accuracy > 0.5, says_otherwise=said, honest_says_otherwise=None,
    )  # fmt: skip


def test_a_memory_is_shown_slot_by_slot_beside_its_controls(folder: Path) -> None:
    audit = make_audit()
    slots = [slot(0, 0, 0.9), slot(0, 1, 0.2), slot(1, 0, 0.8)]
    model = audit.model.model_copy(update={"family": "memory"})
    write_audit(folder / "kept", audit.model_copy(update={"slots": slots, "model": model}))
    write_audit(folder / "fed", audit)
    app = opened("grid", step="0", slot="1")
    assert app.selectbox(key="readings").options == ["slots of kept"]
    texts = {row["across"] + row["up"]: row["text"] for row in slots_of(slots).frame.to_dict("records")}
    assert texts == {"0slot 0": "0.90 (0.125)", "0slot 1": "0.20 (0.125)", "1slot 0": "0.80 (0.125)"}
    assert "NOT readable" in app.dataframe[0].value["beside"].iloc[0]
    assert "0.25" in app.dataframe[0].value["value"].iloc[1]


def test_trace_opens_the_grid_at_its_problem_and_step(folder: Path) -> None:
    readings(folder)
    write_audit(folder / "audit", make_audit([liar("p-1"), liar("p-2")]))
    app = opened("trace", run="audit", problem="p-2", step="2")
    next(button for button in app.button if button.label == "Open Grid at this step").click().run()
    assert not app.exception
    assert app.title[0].value == "Grid"
    assert app.selectbox(key="problem").value == "p-2"
    assert app.selectbox(key="step").value == 2


def test_the_folder_that_reads_the_linked_problem_is_opened(folder: Path) -> None:
    readings(folder)
    shutil.move(folder / "mine", folder / "ours")
    table = pq.read_table(folder / "ours" / "readings.parquet")
    (folder / "first").mkdir()
    pq.write_table(table.filter(pc.equal(table["id"], "p-1")), folder / "first" / "readings.parquet")
    assert opened("grid", problem="p-2").selectbox(key="readings").value == "ours"
    assert opened("grid", problem="p-1").selectbox(key="readings").value == "first"


def test_without_readings_it_says_how_to_get_some(folder: Path) -> None:
    app = opened("grid")
    assert "workbench apply" in app.code[0].value
