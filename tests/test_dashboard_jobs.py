"""The page Jobs without a browser: what can be chosen, what command comes of it, and what a job's files look like."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from audit_factory import make_audit, write_audit  # type: ignore[import-not-found]
from test_dashboard import opened, words  # type: ignore[import-not-found]

from workbench.jobs import JobStatus, read_job, start
from workbench.jobs.folder import wait, write_status
from workbench.organisms.export import organism_problems
from workbench.organisms.recipes import organism
from workbench.tasks import problem_lines


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "argv", ["dashboard.py", str(tmp_path)])
    write_audit(tmp_path / "audit", make_audit())
    return tmp_path


def inputs(folder: Path) -> None:
    model = folder / "mine"
    model.mkdir()
    (model / "reasoner.toml").write_text("")
    for name in ("calibration.jsonl", "problems.jsonl", "truth.jsonl"):
        (model / name).write_text('{"id": "p", "prompt": "x"}\n')


def job(folder: Path, state: str, **more: Any) -> Path:
    place = folder / "jobs" / "0001-audit"
    place.mkdir(parents=True)
    spec = {"schema": "neuralese-job/1", "title": "<b>mine</b>", "command": ["audit", "organism:liar"],
            "folder": str(folder), "created": "2026-01-01T00:00:00+00:00"}  # fmt: skip
    (place / "job.json").write_text(json.dumps(spec))
    write_status(place, JobStatus(state=state, attempts=1, **more))  # type: ignore[arg-type]
    return place


def commands(app: Any) -> list[str]:
    return [block.value for block in app.code if block.value.startswith("workbench ")]


def test_without_problems_it_says_how_to_get_some(folder: Path) -> None:
    app = opened("jobs")
    assert any("no honest problems" in info.value for info in app.info)
    assert "workbench organism export" in commands(app)[0]


def test_everything_is_chosen_and_the_command_is_shown(folder: Path) -> None:
    inputs(folder)
    app = opened("jobs")
    model = next(box for box in app.selectbox if box.key == "job-model")
    assert "organism:liar" in model.options
    assert "mine" in model.options
    files = next(box for box in app.selectbox if box.key == "job-problems")
    assert files.options == ["mine/problems.jsonl", "mine/calibration.jsonl"]  # never the sealed key
    assert commands(app)[-1].startswith(f"workbench audit {folder / 'mine'} --calibration ")
    assert commands(app)[-1].endswith(f"--out {folder / 'audit-1'}")


@pytest.mark.parametrize("name", ["../out", "a/b", "", ".", "jobs", "audit", "<x>"])
def test_a_name_is_never_a_path(folder: Path, name: str) -> None:
    inputs(folder)
    app = opened("jobs")
    app.text_input(key="job-name").input(name).run()
    assert next(one for one in app.button if one.label == "Start").disabled
    assert app.warning


def test_a_job_is_cancelled_and_resumed_from_the_page(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest, _ = organism_problems(organism("liar"), seed=3, n_problems=10)
    (folder / "problems.jsonl").write_bytes(problem_lines(item.problem for item in honest[:60]))
    command = ["capture", "organism:liar", "--problems", str(folder / "problems.jsonl"), "--out", str(folder / "run")]
    place = start(folder, command, title="capture run").folder
    app = opened("jobs")

    def press(label: str) -> None:
        next(one for one in app.button if one.label == label).click().run()

    if any(one.label == "Cancel" for one in app.button):  # it may have ended already
        press("Cancel")
    ended = wait(place, seconds=120).status.state
    assert ended in ("cancelled", "done")
    if ended == "done":
        write_status(place, JobStatus(state="cancelled", attempts=1))
    app.run()
    press("Resume")
    assert not app.exception
    assert wait(place, seconds=120).status.state == "done"
    assert read_job(place).status.attempts == 2
    again = opened("jobs")  # as another server would
    assert any("done" in str(frame.value["state"].tolist()) for frame in again.dataframe)


def test_a_job_is_started_from_the_page(folder: Path) -> None:
    inputs(folder)
    app = opened("jobs")
    next(one for one in app.button if one.label == "Start").click().run()
    assert not app.exception
    place = folder / "jobs" / "0001-audit"
    assert read_job(place).spec.command[0] == "audit"
    ended = wait(place, seconds=120)  # one problem is too few to audit with
    assert ended.status.state == "failed"


def test_a_failed_job_shows_its_last_word_and_can_be_resumed(folder: Path) -> None:
    place = job(folder, "failed", exit_code=2, message="error: <script>")
    (place / "log.txt").write_text("capture: 3/9\nerror: <script>\x1b[31m\n")
    app = opened("jobs")
    row = app.dataframe[0].value.iloc[0]
    assert (row["state"], row["last word"], row["what"]) == ("failed", "error: <script>", "<b>mine</b>")
    assert any(one.label == "Resume" for one in app.button)
    assert any("\\x1b[31m" in block.value for block in app.code)
    assert "Resume" in [one.label for one in app.button]


def test_a_job_whose_process_is_gone_is_lost(folder: Path) -> None:
    job(folder, "running", done=3, planned=9)
    app = opened("jobs")
    assert app.dataframe[0].value.iloc[0]["state"] == "lost"
    assert app.dataframe[0].value.iloc[0]["progress"] == pytest.approx(1 / 3)


def test_no_job_is_written_into_the_program_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from apps import data
    from workbench.serve import DEMO_AUDIT

    monkeypatch.setattr(sys, "argv", ["dashboard.py", str(DEMO_AUDIT)])
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert data.working_root() == tmp_path / "neuralese-workbench"
    app = opened("jobs")
    assert any("No job was started" in info.value for info in app.info)
    assert words(app) == []
