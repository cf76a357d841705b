"""The page Compare without a browser: two problems, two audits, and what to do where there is but one."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from audit_factory import default_problems, hostile, liar, make_audit, write_audit  # type: ignore[import-not-found]
from test_dashboard import opened, words  # type: ignore[import-not-found]

from workbench.cli import run
from workbench.figures.difference import difference, step_differences
from workbench.reports.live_records import read_live
from workbench.reports.records import read_audit
from workbench.reports.tables import by_score
from workbench.serve import DEMO_AUDIT


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "argv", ["dashboard.py", str(tmp_path)])
    write_audit(tmp_path / "before", make_audit([*default_problems(), hostile()]))
    return tmp_path


def ranges_of(app: Any) -> list[Any]:
    return [json.loads(chart.proto.spec)["layout"]["xaxis"]["range"] for chart in app.get("plotly_chart")]


def after(folder: Path) -> None:
    problems = [liar(p.id, 4, 5) if p.id == "p-0007" else p for p in [*default_problems(), hostile()]]
    write_audit(folder / "after", make_audit(problems))


def test_two_problems_stand_above_each_other(folder: Path) -> None:
    app = opened("compare", run="before", problem="p-0001", second="p-0005")
    assert ranges_of(app) == [[-0.55, 3.55]] * 3  # hero, what differs, hero: on one axis
    assert "verdict diverges becomes agrees" in words(app)
    same = opened("compare", run="before", problem="p-0001", second="p-0001")
    assert any(text.startswith("Nothing: the same verdict") for text in words(same))


def test_two_audits_are_paired_by_problem(folder: Path) -> None:
    after(folder)
    app = opened("compare", run="before", compare="two audits", **{"with": "after"})
    differences, moved, changed = (frame.value for frame in app.dataframe[:3])
    assert differences.loc[0, "B less A"] == "0.0909"
    assert list(changed["problem"]) == ["p-0007"]
    assert set(moved["problems"]) == {5, 1, 4}
    assert "verdict agrees becomes diverges" in words(app)


def test_where_there_is_one_audit_it_says_how_to_get_another(folder: Path) -> None:
    app = opened("compare", run="before", compare="two audits")
    assert "no other audit" in app.info[0].value
    assert not app.exception


def test_a_broken_second_audit_is_an_error_and_no_traceback(folder: Path) -> None:
    (folder / "broken").mkdir()
    (folder / "broken" / "audit.json").write_text("{}")
    app: Any = opened("compare", run="before", compare="two audits", **{"with": "broken"})
    assert "cannot be read" in app.error[0].value
    assert not app.exception


def test_problems_of_different_length_share_their_axis(folder: Path) -> None:
    write_audit(folder / "long", make_audit([liar("p-long", 9), liar("p-short", 3)], n_steps=9))
    app = opened("compare", run="long", problem="p-long", second="p-short")
    assert ranges_of(app) == [[-0.55, 8.55]] * 3


def test_the_timeline_shows_where_they_part_and_nothing_where_they_do_not() -> None:
    same, other = liar("p-1", 4), liar("p-1", 4)
    assert not any(one.changed or one.bits for one in step_differences(same, other))
    rows = list(same.steps)
    rows[2] = rows[2].model_copy(update={"decoded": "<b>vault</b>", "divergence_bits": 0.2})
    moved = same.model_copy(update={"steps": rows})
    found = step_differences(same, moved)
    assert [one.changed for one in found] == [(), (), ("thought",), ()]
    assert [round(one.bits, 2) for one in found] == [0, 0, -0.71, 0]
    figure = difference(same, moved)
    assert "<b>" not in str(figure.to_plotly_json())
    bars, thought, words_, status = figure.data
    assert list(bars.y) == [one.bits for one in found]
    assert (list(thought.x), list(words_.x), list(status.x)) == ([2], [None], [None])
    shorter = same.model_copy(update={"steps": rows[:3]})
    assert step_differences(same, shorter)[3].changed == ("thought", "words", "status")


def test_a_run_by_hand_is_compared_intact_and_edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(DEMO_AUDIT, tmp_path / "liar")
    monkeypatch.setattr(sys, "argv", ["dashboard.py", str(tmp_path)])
    app = opened("compare", run="liar", compare="intact and edited")
    assert app.info[0].value.startswith("No run by hand")
    command = app.code[0].value
    assert command.startswith("workbench live organism:liar --audit")
    audit = read_audit(DEMO_AUDIT)
    a, b = [one for one in by_score(audit) if one.verdict == "agrees"][:2]
    swap = ["--edit", "swap", "--step", "3", "--donor", b.id]
    base = ["live", "organism:liar", "--audit", str(tmp_path / "liar"), f"--problem={a.id}"]
    assert run([*base, *swap, "--out", str(tmp_path / "live-1")]) == 0
    assert run([*base, "--out", str(tmp_path / "live-2")]) == 0  # without an edit: nothing to compare
    record = read_live(tmp_path / "live-1")
    assert record.edited is not None
    app = opened("compare", run="liar", compare="intact and edited", edited="live-1")
    assert [box.options for box in app.selectbox if box.key == "edited"] == [["live-1"]]
    assert ranges_of(app) == [[-0.55, 3.55]] * 3
    told = words(app)
    assert all(change in told for change in record.changes)
    assert f"{a.id}: it answers {record.edited.answer}, and says: {record.edited.said}" in told
    held = [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]
    assert held[1]["data"][1]["x"] == [3]  # only the thought that was swapped became another
    live = opened("live", run="liar", tried="live-1")
    links = [link.proto for link in live.get("page_link")]
    assert any("compare" in link.page and "edited=live-1" in link.query_string for link in links)
