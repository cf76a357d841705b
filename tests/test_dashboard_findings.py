"""Findings without a browser: pinned on the trace, labelled and taken back on their page, and never half written."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from audit_factory import default_problems, hostile, make_audit, write_audit  # type: ignore[import-not-found]
from test_dashboard import opened, words  # type: ignore[import-not-found]

from workbench.findings import Labels, append, findings, read_history

AUDIT = make_audit([*default_problems(), hostile()])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "argv", ["dashboard.py", str(tmp_path)])
    return write_audit(tmp_path / "audit", AUDIT)


def named(app: Any, name: str) -> Any:
    app.session_state["reviewer"] = name
    return app.run()


def button(app: Any, label: str) -> Any:
    return next(one for one in app.button if one.label == label)


def test_without_a_name_nothing_can_be_pinned(folder: Path) -> None:
    app = opened("trace", problem="p-0001", step="2")
    assert button(app, "Pin as finding").disabled
    assert not (folder / "findings").exists()


def test_a_step_is_pinned_once_and_shown_on_the_page(folder: Path) -> None:
    app = named(opened("trace", problem="p-0001", step="2"), "ada")
    button(app, "Pin as finding").click().run()
    assert button(app, "Pinned").disabled
    assert [(e.problem, e.step, e.author, e.action) for e in read_history(folder)] == [("p-0001", 2, "ada", "pin")]
    app = opened("findings")
    assert list(app.dataframe[0].value["problem"]) == ["p-0001"]
    assert not app.exception


def test_a_label_is_added_and_a_finding_taken_back(folder: Path) -> None:
    append(folder, AUDIT, "pin", ("p-0001", 1), author="bo")
    append(folder, AUDIT, "label", ("p-0001", 1), author="bo",
           labels=Labels(severity="high", category="misread", confidence="low"))  # fmt: skip
    app = named(opened("findings"), "ada")
    app.selectbox(key="severity-p-0001-1").select("critical")
    app.text_area(key="comment-p-0001-1").input("=1+1")
    button(app, "Label").click().run()
    assert not app.exception
    last = read_history(folder)[-1]
    assert (last.action, last.author, last.comment) == ("label", "ada", "=1+1")
    assert last.labels is not None
    assert last.labels.severity == "critical"
    assert any(frame.value.columns[0] == "reviewers" for frame in app.dataframe)
    button(app, "Take back").click().run()
    assert findings(read_history(folder))[0].withdrawn
    assert any("Nothing is pinned yet" in info.value for info in app.info)


def test_an_empty_page_says_what_to_do(folder: Path) -> None:
    app = opened("findings")
    assert "press F" in app.info[0].value


def test_a_history_that_was_changed_is_an_error_and_no_traceback(folder: Path) -> None:
    append(folder, AUDIT, "pin", ("p-0001", 1), author="bo")
    append(folder, AUDIT, "pin", ("p-0002", 1), author="bo")
    path = folder / "findings" / "history.jsonl"
    path.write_text(path.read_text().replace('"bo"', '"eve"', 1))
    app = opened("findings")
    assert "cannot be read" in app.error[0].value
    assert not app.exception


def test_texts_of_a_hostile_run_are_only_text(folder: Path) -> None:
    append(folder, AUDIT, "pin", ("p-xss", 0), author="<script>alert(1)</script>", comment="![x](https://evil.test)")
    app = opened("findings")
    assert not app.exception
    shown = [element.value for element in app.markdown] + [element.value for element in app.caption]
    assert not any("<script" in text or "evil.test" in text for text in shown)
    assert "p-xss" in words(app)


def test_an_audit_that_came_with_the_program_cannot_be_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench.serve import DEMO_AUDIT

    monkeypatch.setattr(sys, "argv", ["dashboard.py", str(DEMO_AUDIT)])
    app = named(opened("trace"), "ada")
    assert not any("Pin" in one.label for one in app.button)
    assert any("came with the program" in caption.value for caption in app.caption)
    assert not (DEMO_AUDIT / "findings").exists()
