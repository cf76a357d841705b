"""The page Compare without a browser: two problems, two audits, and what to do where there is but one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from audit_factory import default_problems, hostile, liar, make_audit, write_audit  # type: ignore[import-not-found]
from test_dashboard import opened, words  # type: ignore[import-not-found]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "argv", ["dashboard.py", str(tmp_path)])
    write_audit(tmp_path / "before", make_audit([*default_problems(), hostile()]))
    return tmp_path


def after(folder: Path) -> None:
    problems = [liar(p.id, 4, 5) if p.id == "p-0007" else p for p in [*default_problems(), hostile()]]
    write_audit(folder / "after", make_audit(problems))


def test_two_problems_stand_above_each_other(folder: Path) -> None:
    app = opened("compare", run="before", problem="p-0001", second="p-0005")
    assert len(app.get("plotly_chart")) == 2
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
