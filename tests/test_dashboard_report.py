"""The page Report without a browser: what it shows is what its files hold, whatever is chosen."""

from __future__ import annotations

import csv
import io
import json
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from audit_factory import default_problems, hostile, make_audit, write_audit  # type: ignore[import-not-found]
from test_dashboard import opened, words  # type: ignore[import-not-found]

from workbench.cli import run
from workbench.findings import Labels, append
from workbench.reports.limits import limits

AUDIT = make_audit([*default_problems(), hostile()], warnings=["few problems"])
HIGH = Labels(severity="high", category="says-otherwise", confidence="high")


class Rows(HTMLParser):
    """Cells of every table, and headings of problems."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.headings: list[str] = []
        self.inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "h3"):
            self.inside = tag
            (self.rows[-1] if tag == "td" else self.headings).append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = "" if tag == self.inside else self.inside

    def handle_data(self, text: str) -> None:
        if self.inside:
            (self.rows[-1] if self.inside == "td" else self.headings)[-1] += text


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "argv", ["dashboard.py", str(tmp_path)])
    monkeypatch.chdir(tmp_path)
    written = write_audit(tmp_path / "audit", AUDIT)
    (written / "provenance.json").write_text('{"command": ["workbench", "audit", "organism:liar", "--out", "audit"]}')
    return written


@pytest.fixture
def pinned(folder: Path) -> Path:
    append(folder, AUDIT, "pin", ("p-0001", 1), author="ada", comment="look")
    append(folder, AUDIT, "label", ("p-0001", 1), author="ada", labels=HIGH)
    append(folder, AUDIT, "pin", ("p-0003", None), author="bo")
    append(folder, AUDIT, "pin", ("p-0005", 0), author="bo")
    append(folder, AUDIT, "withdraw", ("p-0005", 0), author="bo")
    return folder


def typed(app: Any) -> str:
    """The command that makes these files again."""
    return next(str(code.value) for code in app.code if code.value.startswith("workbench report"))


def written_by(command: str) -> dict[str, str]:
    assert run(command.split()[1:]) == 0
    return {path.name: path.read_text(encoding="utf-8") for path in (Path("audit") / "exports").iterdir()}


@pytest.mark.parametrize(("chosen", "names"), [
    ({}, ["p-0001", "p-0003"]),
    ({"labelled": "severity=high"}, ["p-0001"]),
    ({"finding": "p-0003"}, ["p-0003"]),
])  # fmt: skip
def test_the_files_that_the_command_writes_hold_what_the_page_shows(
    pinned: Path, chosen: dict[str, str], names: list[str]
) -> None:
    app = opened("report", run="audit", **chosen)
    shown = app.dataframe[0].value
    assert list(shown["problem"]) == names
    made = written_by(typed(app))
    assert set(made) == {"findings.html", "findings.json", "findings.csv", "findings.sarif"}
    rows = shown.to_dict("records")
    assert list(csv.DictReader(io.StringIO(made["findings.csv"]))) == rows
    plain = json.loads(made["findings.json"])
    assert plain["rows"] == rows
    assert plain["limits"] == limits(AUDIT)
    told = words(app)
    assert all(f"•  {text}" in told for text in [*plain["limits"], *plain["warnings"]])
    page = Rows(made["findings.html"])
    assert [heading.split(",")[0].split()[0] for heading in page.headings] == names
    assert [[m.label, m.value, m.delta] for m in app.metric] == [row[:3] for row in page.rows if len(row) == 6]
    assert len(app.get("image")) == len(names)


def test_the_whole_audit_is_handed_on_where_nothing_is_pinned(folder: Path) -> None:
    app = opened("report", run="audit")
    made = written_by(typed(app))
    assert set(made) == {"report.html", "audit.json", "problems.csv", "audit.sarif"}
    page = Rows(made["report.html"])
    listed = app.dataframe[1].value
    assert listed.to_numpy().tolist() == [row for row in page.rows if len(row) == 7][-len(listed) :]
    assert app.dataframe[0].value.to_numpy().tolist() == [row for row in page.rows if len(row) == 7][: -len(listed)]
    table = list(csv.DictReader(io.StringIO(made["problems.csv"])))
    assert [row["verdict"] for row in table] == list(listed["verdict"])
    assert json.loads(made["audit.json"]) == AUDIT.to_plain()
    assert any("Not run in this audit: edits of keys" in text for text in words(app))


def test_the_command_of_the_audit_is_shown_or_said_to_be_missing(folder: Path) -> None:
    app = opened("report", run="audit")
    assert [code.value.split()[1] for code in app.code] == ["audit", "report", "verify"]
    (folder / "provenance.json").write_text('{"command": []}')
    app = opened("report", run="audit")
    assert [code.value.split()[1] for code in app.code] == ["report", "verify"]
    assert any("not recorded" in caption.value for caption in app.caption)


def test_a_choice_that_holds_nothing_says_so(pinned: Path) -> None:
    app = opened("report", run="audit", labelled="severity=high", finding="p-0003")
    assert app.info[0].value.startswith("No finding named has this label")
    assert not app.get("download_button")


def test_findings_without_any_say_how_to_pin(folder: Path) -> None:
    app = opened("report", run="audit", hand="findings")
    assert "press F" in app.info[0].value


def test_a_changed_history_is_said_and_the_audit_is_still_handed_on(pinned: Path) -> None:
    path = pinned / "findings" / "history.jsonl"
    path.write_text(path.read_text().replace('"ada"', '"eve"', 1))
    app = opened("report", run="audit")
    assert "cannot be read" in app.error[0].value
    assert len(app.get("download_button")) == 4
