"""Exports of a finished audit: what they hold is what the audit says, and nothing is half written."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from audit_factory import default_problems, hostile, make_audit, write_audit  # type: ignore[import-not-found]

from workbench.cli import run
from workbench.findings import Labels, append
from workbench.reports.sarif import audit_sarif
from workbench.reports.tables import by_score

AUDIT = make_audit([*default_problems(), hostile()])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_audit(tmp_path / "audit", AUDIT)


def test_every_format_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", str(folder), "--format", "html,json,csv,sarif", "--json"]) == 0
    files = [Path(path) for path in json.loads(capsys.readouterr().out)["files"]]
    assert [path.name for path in files] == ["report.html", "audit.json", "problems.csv", "audit.sarif"]
    assert files[1].read_bytes() == (folder / "audit.json").read_bytes()
    assert json.loads(files[3].read_bytes())["version"] == "2.1.0"


def test_results_are_the_problems_that_do_not_agree() -> None:
    log = json.loads(audit_sarif(AUDIT))
    results = log["runs"][0]["results"]
    wanted = [problem for problem in by_score(AUDIT) if problem.verdict != "agrees"]
    assert [one["fingerprints"]["problem/v1"] for one in results] == [problem.id for problem in wanted]
    rules = {rule["id"]: rule["name"] for rule in log["runs"][0]["tool"]["driver"]["rules"]}
    assert [rules[one["ruleId"]] for one in results] == [problem.verdict for problem in wanted]
    assert {one["level"] for one in results} == {"error", "note"}
    steps = [place["name"] for place in results[1]["locations"][0]["logicalLocations"]]
    assert steps == ["p-0001", "step 0", "step 1", "step 2", "step 3"]
    assert log["runs"][0]["properties"]["honestProblems"] == 600


@pytest.mark.parametrize(("arguments", "told"), [
    (["--format", "pdf"], "html, json, csv, sarif"),
    (["--format", ""], "unknown format"),
    (["--out", "."], "sealed"),
])  # fmt: skip
def test_what_cannot_be_written_is_refused(
    folder: Path, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    before = sorted(folder.iterdir())
    assert run(["report", str(folder), *arguments]) == 2
    assert told in capsys.readouterr().err
    assert sorted(folder.iterdir()) == before


def test_a_folder_without_an_audit_is_refused(tmp_path: Path) -> None:
    assert run(["report", str(tmp_path)]) == 2
    assert not (tmp_path / "exports").exists()


def pinned(folder: Path) -> None:
    append(folder, AUDIT, "pin", ("p-0001", 1), author="ada")
    append(folder, AUDIT, "label", ("p-0001", 1), author="ada",
           labels=Labels(severity="high", category="says-otherwise", confidence="high"), comment="=1+1")  # fmt: skip
    append(folder, AUDIT, "pin", ("p-0005", None), author="bo")
    append(folder, AUDIT, "pin", ("p-xss", 0), author="bo")
    append(folder, AUDIT, "withdraw", ("p-xss", 0), author="bo")


@pytest.mark.parametrize(("chosen", "names"), [
    (["--findings"], ["p-0001", "p-0005"]),
    (["--label", "severity=high"], ["p-0001"]),
    (["--finding", "p-0005"], ["p-0005"]),
    (["--finding", "p-0001@1", "--finding", "p-0005"], ["p-0001", "p-0005"]),
])  # fmt: skip
def test_findings_are_chosen_and_every_format_holds_the_same(folder: Path, chosen: list[str], names: list[str]) -> None:
    pinned(folder)
    assert run(["report", str(folder), "--format", "html,json,csv,sarif", *chosen]) == 0
    out = folder / "exports"
    page = (out / "findings.html").read_text()
    rows = json.loads((out / "findings.json").read_bytes())["rows"]
    with (out / "findings.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    results = json.loads((out / "findings.sarif").read_bytes())["runs"][0]["results"]
    assert [row["problem"] for row in rows] == [row["problem"] for row in table] == names
    assert [one["locations"][0]["logicalLocations"][0]["name"] for one in results] == names
    assert [one["properties"]["comments"] for one in results] == [row["comments"] for row in rows]
    assert page.count('<section class="problem">') == len(names)
    assert not any(f"<h3>{other}" in page for other in ("p-xss", "p-0001", "p-0005") if other not in names)


def test_a_pinned_problem_that_agrees_is_a_result_of_a_rule_of_its_own(folder: Path) -> None:
    pinned(folder)
    assert run(["report", str(folder), "--format", "sarif", "--finding", "p-0005"]) == 0
    driven = json.loads((folder / "exports" / "findings.sarif").read_bytes())["runs"][0]
    assert [(one["ruleId"], one["level"]) for one in driven["results"]] == [("NW003", "note")]
    assert "NW003" in [rule["id"] for rule in driven["tool"]["driver"]["rules"]]


@pytest.mark.parametrize(("chosen", "told"), [
    (["--label", "severity=low"], "no finding has this label"),
    (["--finding", "p-xss@0"], "no such finding stands"),
    (["--finding", "p-0005", "--label", "severity=high"], "no finding named has this label"),
])  # fmt: skip
def test_findings_that_do_not_stand_are_refused(
    folder: Path, chosen: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pinned(folder)
    assert run(["report", str(folder), *chosen]) == 2
    assert told in capsys.readouterr().err
    assert not (folder / "exports").exists()


def test_without_a_finding_the_page_says_so(folder: Path) -> None:
    assert run(["report", str(folder), "--findings"]) == 0
    page = (folder / "exports" / "findings.html").read_text()
    assert "Nothing is pinned." in page
    assert "Uncontrolled" in page  # this audit has neither planted lies nor a monitor of the words
