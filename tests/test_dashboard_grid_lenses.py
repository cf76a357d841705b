"""The page Grid read by lenses: what they name, what it must be compared with, and what older folders lack."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from audit_factory import XSS  # type: ignore[import-not-found]
from test_dashboard import opened, words  # type: ignore[import-not-found]

from workbench.apply import COLUMNS, SCHEMA
from workbench.reports.apply_records import APPLY_NAME, Applied, ApplyRecord, Measured
from workbench.reports.escape import visible
from workbench.reports.fields import Interval

SITES = ("thought", "blocks.2.hook_resid_post", "blocks.10.hook_resid_post")
INTERVAL = Interval(low=0.9, high=1.0)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "argv", ["dashboard.py", str(tmp_path)])
    return tmp_path


def rows_of(site: str, visits: int) -> list[tuple[Any, ...]]:
    """A probe that is wrong, a logit lens that is right, at two steps; of the second nothing is known."""
    rows: list[tuple[Any, ...]] = []
    for step in range(2):
        known = None if step else "vault"
        probe = ["p-1", f"{site}.{step}", site, step, "thought", "lda", "atrium", 0.5, known]
        rows.append((*probe, None, ["atrium", "vault"], [0.5, 0.4]))
        for visit in range(visits):
            lens = ["p-1", f"{site}.{step}.lens", site, step, "thought", "logit lens", "vault", 0.75, known]
            rows.append((*lens, visit, ["vault", XSS], [0.75, 0.125]))
    return rows


def write(folder: Path, *, visits: int = 1, schema: pa.Schema = SCHEMA) -> None:
    rows = [row[: len(schema)] for site in SITES for row in rows_of(site, visits)]
    columns = list(zip(*rows, strict=True))
    table = pa.table([pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema)
    (folder / "mine").mkdir()
    pq.write_table(table, folder / "mine" / "readings.parquet")


def write_scores(folder: Path) -> None:
    """Of the thought: a probe and a lens scored on the run at step 0; a lens scored by its fit alone at step 1."""
    shared: dict[str, Any] = {"n_read": 9, "n": 8, "n_groups": 8, "accuracy": 0.95, "interval": INTERVAL}
    fitted = Measured(accuracy=0.5, interval=Interval(low=0.4, high=0.6), control=0.25, n=40)
    blind = {"n_read": 9, "n": 0, "n_groups": 0, "accuracy": None, "interval": None, "majority": None, "shuffled": None}
    scores = [
        Applied(name="thought.0", kind="lda", majority=0.2, shuffled=0.11, mismatched=0.3, **shared),
        Applied(name="thought.0.lens", kind="logit lens", majority=0.2, shuffled=None, mismatched=0.125, **shared),
        Applied(name="thought.1.lens", kind="logit lens", fitted=fitted, **blind),
    ]
    record = ApplyRecord(family="feedback", run_root="a", probes_root="b", left_out=[], probes=scores)
    (folder / "mine" / APPLY_NAME).write_bytes(record.to_json())


def badges(app: Any) -> list[str]:
    return [block.value for block in app.markdown if "uncontrolled" in block.value]


def test_probes_come_first_and_a_link_opens_the_lens(folder: Path) -> None:
    write(folder)
    write_scores(folder)
    assert opened("grid").selectbox(key="probe").options == ["lda", "logit lens"]
    assert "thought, latent step 0: reads atrium with probability 0.50; wrong: it is vault" in words(
        opened("grid", site="thought", step="0")
    )
    app = opened("grid", probe="logit lens", site="thought", step="0")
    assert not app.exception
    assert not app.toast
    assert "thought, latent step 0: reads vault with probability 0.75; right" in words(app)
    assert app.dataframe[0].value["reads"].tolist() == ["vault", visible(XSS)]
    assert not any(expander.label == "Read by lenses too" for expander in app.expander)


@pytest.mark.parametrize(
    ("reader", "step", "value", "control", "n"),
    [
        ("lda", "0", "0.95", "0.11 with shuffled labels", "n = 8"),
        ("logit lens", "0", "0.95", "0.125 with other problems' values", "n = 8"),
        ("logit lens", "1", "0.50", "0.25 with other rows' words", "n = 40"),
    ],
)
def test_beside_the_cell_stands_its_control(
    folder: Path, reader: str, step: str, value: str, control: str, n: str
) -> None:
    write(folder)
    write_scores(folder)
    app = opened("grid", probe=reader, site="thought", step=step)
    assert (app.metric[0].value, app.metric[0].delta) == (value, control)
    assert any(n in caption.value for caption in app.caption)
    assert not badges(app)
    told = app.dataframe[-1].value.set_index(["site", "latent step"])
    assert told.loc[("thought", int(step)), "control"] == control
    assert told.loc[("blocks.2.hook_resid_post", 0), "control"] == "uncontrolled"


def test_without_a_control_a_cell_says_so_in_amber(folder: Path) -> None:
    write(folder)
    app = opened("grid", probe="logit lens", site="thought", step="1")
    assert badges(app)
    assert not app.metric
    assert "thought, latent step 1: reads vault with probability 0.75; no value of one token is known here" in words(
        app
    )
    write_scores(folder)
    assert badges(opened("grid", probe="lda", site="thought", step="1"))


def test_each_visit_is_a_row_and_block_2_lies_below_block_10(folder: Path) -> None:
    write(folder, visits=2)
    assert opened("grid").selectbox(key="site").options == [SITES[1], SITES[2], SITES[0]]
    app = opened("grid", probe="logit lens")
    assert app.selectbox(key="site").options[:2] == [f"{SITES[1]}, visit 0", f"{SITES[1]}, visit 1"]
    assert len(app.dataframe[-1].value) == 12


def test_folders_from_before_lenses_open_and_say_how_to_get_them(folder: Path) -> None:
    write(folder, schema=COLUMNS)
    (folder / "mine" / APPLY_NAME).write_text(
        '{"schema":"neuralese-apply/1","family":null,"run_root":"a","probes_root":"b","left_out":[],"probes":[{"name":'
        '"thought.0","n_read":9,"n":8,"n_groups":8,"accuracy":0.95,"interval":[0.9,1.0],"majority":0.2,"shuffled":0.1}]}',
        encoding="utf-8",
    )
    app = opened("grid", site="thought", step="0")
    assert not app.exception
    assert (app.metric[0].value, app.metric[0].delta) == ("0.95", "0.10 with shuffled labels")
    assert app.dataframe[0].value["reads"].tolist() == ["atrium"]


def test_where_no_lens_read_the_command_stands_there(folder: Path) -> None:
    write(folder, visits=0)
    app = opened("grid")
    assert "workbench apply PROBES RUN --out DIR --model MODEL" in [block.value for block in app.code]
