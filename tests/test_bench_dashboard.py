"""The benchmark of the dashboard still runs, in miniature; no time is asserted."""

from __future__ import annotations

import re
import shutil
import sys

import pytest

from benchmarks import bench_dashboard
from benchmarks.made_audit import made_audit
from workbench.reports.records import AuditRecord


def test_a_made_audit_is_one_that_can_be_read() -> None:
    made = made_audit(5, 7)
    assert AuditRecord.model_validate(made.to_plain()) == made
    assert [len(problem.steps) for problem in made.problems] == [7] * 5
    assert len({problem.id for problem in made.problems}) == 5


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(not shutil.which("chromium"), reason="Chromium is not installed")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_it_measures_both_apps(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = "--problems 5 --steps 3 --reruns 10 --sessions 1 --each 2 --rounds 1 --visits 1"
    monkeypatch.setattr(sys, "argv", ["bench_dashboard", *sizes.split()])
    monkeypatch.setattr(bench_dashboard, "THINKS", (0.0, 0.0))
    bench_dashboard.main()
    out = capsys.readouterr().out
    assert "5 problems of 3 steps, made and not judged" in out
    rows = [line for line in out.splitlines() if line.startswith("| ") and "---" not in line]
    assert len(rows) == 5 + 2 + 5
    assert re.search(r"\| row click to hero, button to its effect \| \d+\.\d\d s", out)
    assert [int(row.split("|")[1]) for row in rows[-4:]] == [0, 1, 5, 10]
