"""Exports of a finished audit: what they hold is what the audit says, and nothing is half written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from audit_factory import default_problems, hostile, make_audit, write_audit  # type: ignore[import-not-found]

from workbench.cli import run
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
