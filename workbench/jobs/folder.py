"""Job folders: start, look, cancel, resume. Everything is a file, so a closed browser or a restarted server changes
nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError

from workbench.errors import ConfigError, CorruptArtifact, SchemaError
from workbench.jobs.records import KINDS, Job, JobSpec, JobStatus
from workbench.jsonio import canonical_json, read_json
from workbench.store import write_file
from workbench.store.files import disk_errors, make_folder
from workbench.store.locking import LOCK_NAME

JOBS, SPEC, STATUS, LOG, CANCEL = "jobs", "job.json", "status.json", "log.txt", "cancel"
COMMAND_LOCK = ".command.lock"
"""Held by the command itself, as `LOCK_NAME` is by the runner that watches it: either may outlive the other."""
LOG_BYTES = 8192
BEGINS_WITHIN = 20.0
"""Seconds in which a job that was started must have a process of its own."""


def start(root: Path, command: Sequence[str], *, title: str, folder: Path | None = None) -> Job:
    """Make a job folder under `root/jobs` and start a process for it that outlives this one.

    Args:
        root: a folder of runs.
        command: arguments of `workbench`, the sub-command first.
        title: for people.
        folder: where it runs; `root` if absent.

    Raises:
        ConfigError: a command that is not for jobs, or a folder that cannot be written.
    """
    if not command or command[0] not in KINDS:
        raise ConfigError(
            "this command does not run as a job", field="command", expected=", ".join(KINDS), found=command[:1]
        )
    spec = JobSpec(title=title, command=list(command), folder=str((folder or root).resolve()), created=now())
    make_folder(root / JOBS)
    for number in count(_last_number(root) + 1):
        place = root / JOBS / f"{number:04d}-{command[0]}"
        try:
            with disk_errors(place):
                place.mkdir()
        except ConfigError:
            if place.exists():
                continue
            raise
        break
    write_file(place / SPEC, canonical_json(spec.model_dump(mode="json", by_alias=True)))
    _launch(place, attempts=1)
    return read_job(place)


def _last_number(root: Path) -> int:
    """Of all kinds of jobs: they are listed by their numbers."""
    numbers = (path.name.partition("-")[0] for path in (root / JOBS).iterdir())
    return max((int(number) for number in numbers if number.isdecimal()), default=0)


def resume(place: Path) -> Job:
    """Start the same command again; what it had finished is kept by the command itself.

    Raises:
        ConfigError: a process works on it.
    """
    job = read_job(place)
    if job.alive:
        raise ConfigError("the job is running", path=place, field="state", found=job.status.state)
    (place / CANCEL).unlink(missing_ok=True)
    _launch(place, attempts=job.status.attempts + 1)
    return read_job(place)


def cancel(place: Path) -> None:
    """Ask the job to stop where it can be resumed; it does so within seconds."""
    write_file(place / CANCEL, b"")


def _launch(place: Path, *, attempts: int) -> None:
    write_status(place, JobStatus(state="waiting", updated=now(), attempts=attempts))
    environment = {**os.environ, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}
    with disk_errors(place):
        runner = subprocess.Popen(
            [sys.executable, "-m", "workbench.jobs", str(place.resolve())], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, env=environment,
        )  # fmt: skip
    # Whoever started it may stay for days: the thread takes note of the end, so that no dead process is kept.
    threading.Thread(target=runner.wait, daemon=True).start()


def jobs_in(root: Path) -> list[Job]:
    """Jobs under a folder of runs, the latest first; what cannot be read is left out."""
    found = []
    for path in sorted((root / JOBS).glob(f"*/{SPEC}"), reverse=True):
        try:
            found.append(read_job(path.parent))
        except (SchemaError, CorruptArtifact):
            continue
    return found


def read_job(place: Path) -> Job:
    """A job folder as it is now; a job without a process is not running, whatever its file says.

    Raises:
        SchemaError: the folder holds no job.
        CorruptArtifact: its files are not what a job has.
    """
    try:
        spec = JobSpec.model_validate(read_json(place / SPEC))
        status = (
            JobStatus.model_validate(read_json(place / STATUS))
            if (place / STATUS).is_file()
            else JobStatus(state="lost")
        )
    except ValidationError as error:
        raise CorruptArtifact(f"not a job: {error.errors()[0]['msg']}", path=place) from error
    if status.state in ("waiting", "running") and not _has_process(place, status):
        status = status.model_copy(update={"state": "lost", "message": "its process ended without a word"})
    return Job(place, spec, status, _tail(place / LOG))


def _has_process(place: Path, status: JobStatus) -> bool:
    """A runner and its command each hold a lock of the folder as long as they live."""
    if status.state == "waiting" and status.updated is not None:
        since = datetime.now(UTC) - datetime.fromisoformat(status.updated)
        if since.total_seconds() < BEGINS_WITHIN:
            return True
    return any(_is_held(place / name) for name in (LOCK_NAME, COMMAND_LOCK))


def _is_held(path: Path) -> bool:
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True


def _tail(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as stream:
        stream.seek(0, os.SEEK_END)
        stream.seek(max(0, stream.tell() - LOG_BYTES))
        return stream.read().decode("utf-8", errors="replace")


def write_status(place: Path, status: JobStatus) -> None:
    """Replace the status file."""
    write_file(place / STATUS, canonical_json(status.model_dump(mode="json")))


def now() -> str:
    """UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def wait(place: Path, *, seconds: float) -> Job:
    """Wait until no process works on the job, at most so long."""
    until = time.monotonic() + seconds
    while (job := read_job(place)).alive and time.monotonic() < until:
        time.sleep(0.1)
    return job
