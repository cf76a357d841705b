"""Jobs outlive who started them: they end, fail, are cancelled, lost and resumed, and their files say so."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from workbench.errors import ConfigError, CorruptArtifact
from workbench.jobs import JobStatus, cancel, jobs_in, read_job, resume, start
from workbench.jobs.command import COMMAND_LOCK, run_command
from workbench.jobs.folder import STATUS, wait, write_status
from workbench.organisms.kinds import make_items
from workbench.organisms.recipes import organism
from workbench.store import RunStore, write_file
from workbench.store.locking import FolderLock
from workbench.tasks import problem_lines


def problems(folder: Path, n: int) -> Path:
    items = make_items(organism("honest"), n, seed=5, flagged_share=0.0)
    write_file(folder / "p.jsonl", problem_lines(item.problem for item in items))
    return folder / "p.jsonl"


def capturing(root: Path, n: int) -> list[str]:
    problems(root, n)
    return ["capture", "organism:honest", "--problems", "p.jsonl", "--out", "run", "--no-channel"]


def until_it_runs(place: Path) -> None:
    """Until it has a process; importing alone takes that seconds."""
    deadline = time.monotonic() + 60
    while read_job(place).status.state != "running":
        assert time.monotonic() < deadline, read_job(place)
        time.sleep(0.02)


def test_a_job_runs_to_its_end_in_its_own_folder(tmp_path: Path) -> None:
    job = start(tmp_path, capturing(tmp_path, 40), title="capture the honest one")
    assert job.name == "0001-capture"
    assert job.alive
    ended = wait(job.folder, seconds=120)
    assert (ended.status.state, ended.status.exit_code, ended.status.attempts) == ("done", 0, 1)
    assert (ended.status.stage, ended.status.done, ended.status.planned) == ("capture", 40, 40)
    assert len(RunStore(tmp_path / "run").problems) == 40
    assert "40 problems" in ended.log
    assert [one.name for one in jobs_in(tmp_path)] == ["0001-capture"]


def test_a_job_that_fails_says_why(tmp_path: Path) -> None:
    command = ["capture", "organism:honest", "--problems", "absent.jsonl", "--out", "run"]
    ended = wait(start(tmp_path, command, title="nothing there").folder, seconds=120)
    assert (ended.status.state, ended.status.exit_code) == ("failed", 2)
    assert "absent.jsonl" in ended.log
    assert ended.status.message


def test_a_cancelled_job_is_resumed(tmp_path: Path) -> None:
    job = start(tmp_path, capturing(tmp_path, 400), title="some")
    until_it_runs(job.folder)
    with pytest.raises(ConfigError, match="is running"):
        resume(job.folder)
    cancel(job.folder)
    stopped = wait(job.folder, seconds=120)
    assert stopped.status.state == "cancelled"
    assert stopped.status.exit_code in (130, -signal.SIGINT)
    ended = wait(resume(job.folder).folder, seconds=240)
    assert (ended.status.state, ended.status.attempts) == ("done", 2)
    assert len(RunStore(tmp_path / "run").problems) == 400


def test_a_job_that_is_cancelled_while_it_starts_is_cancelled(tmp_path: Path) -> None:
    job = start(tmp_path, capturing(tmp_path, 40), title="some")
    cancel(job.folder)
    assert wait(job.folder, seconds=120).status.state == "cancelled"


def test_a_job_whose_process_was_killed_is_lost_and_can_be_resumed(tmp_path: Path) -> None:
    job = start(tmp_path, capturing(tmp_path, 40), title="some")
    until_it_runs(job.folder)
    holder = re.search(r"process (\d+)", (job.folder / ".lock").read_text())
    assert holder is not None
    os.killpg(int(holder[1]), signal.SIGKILL)
    assert wait(job.folder, seconds=30).status.state == "lost"
    ended = wait(resume(job.folder).folder, seconds=240)
    assert (ended.status.state, len(RunStore(tmp_path / "run").problems)) == ("done", 40)


def holder(path: Path) -> int:
    """Process that the lock file names, once it names one."""
    deadline = time.monotonic() + 60
    while (found := re.search(r"process (\d+)", path.read_text() if path.exists() else "")) is None:
        assert time.monotonic() < deadline, path
        time.sleep(0.02)
    return int(found[1])


def is_there(process: int) -> bool:
    """Whether it lives; what has ended and was not waited for does not."""
    status = Path(f"/proc/{process}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are not files here")
def test_a_command_ends_with_its_runner_and_two_never_write_at_once(tmp_path: Path) -> None:
    place = start(tmp_path, capturing(tmp_path, 400), title="some").folder
    until_it_runs(place)
    runner, writer = holder(place / ".lock"), holder(place / ".command.lock")
    assert runner != writer
    os.kill(writer, signal.SIGSTOP)  # it cannot end yet: the job is not lost, and nothing may be set beside it
    os.kill(runner, signal.SIGKILL)
    time.sleep(0.5)
    assert is_there(writer)
    assert read_job(place).alive
    with pytest.raises(ConfigError, match="is running"):
        resume(place)
    os.kill(writer, signal.SIGCONT)
    assert wait(place, seconds=30).status.state == "lost"
    assert not is_there(writer)
    cancel(resume(place).folder)
    assert wait(place, seconds=120).status.state in ("cancelled", "done")


def test_a_command_whose_folder_another_one_works_in_does_not_start(tmp_path: Path, monkeypatch: Any) -> None:
    lock = FolderLock(tmp_path, COMMAND_LOCK)
    lock.acquire()
    monkeypatch.setattr("workbench.jobs.command.WAIT", 0.2)
    monkeypatch.setattr("workbench.jobs.command.end_with_runner", lambda: None)
    assert run_command(tmp_path, ["--version"]) == 2
    lock.release()
    assert run_command(tmp_path, ["--version"]) == 0


def test_the_latest_job_is_listed_first_whatever_its_kind(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("workbench.jobs.folder._launch", lambda place, attempts: None)
    for kind in ("live", "audit", "fit"):
        start(tmp_path, [kind], title=kind)
    (tmp_path / "jobs" / "notes").mkdir()
    assert start(tmp_path, ["audit"], title="again").name == "0004-audit"
    assert [job.name for job in jobs_in(tmp_path)] == ["0004-audit", "0003-fit", "0002-audit", "0001-live"]


def test_only_commands_of_the_workbench_run_as_jobs(tmp_path: Path) -> None:
    for command in ([], ["dashboard"], ["rm", "-rf"]):
        with pytest.raises(ConfigError, match="does not run as a job"):
            start(tmp_path, command, title="no")
    assert not (tmp_path / "jobs").exists()


def test_a_job_without_a_process_is_not_running(tmp_path: Path) -> None:
    place = tmp_path / "jobs" / "0001-audit"
    place.mkdir(parents=True)
    spec = {"schema": "neuralese-job/1", "title": "t", "command": ["audit"], "folder": "/", "created": "2026"}
    (place / "job.json").write_text(json.dumps(spec))
    write_status(place, JobStatus(state="running", updated="2026-01-01T00:00:00+00:00", attempts=1))
    assert read_job(place).status.state == "lost"
    (place / STATUS).write_text('{"state": "asleep"}')
    with pytest.raises(CorruptArtifact):
        read_job(place)
    assert jobs_in(tmp_path) == []
