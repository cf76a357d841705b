"""The process behind a job: runs the command, writes down how far it is, and passes a cancel on as Ctrl-C."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

from workbench.jobs.command import interrupts_held_back
from workbench.jobs.folder import CANCEL, LOG, now, read_job, write_status
from workbench.jobs.records import JobStatus, State
from workbench.store.locking import FolderLock

LOOK_EVERY, WRITE_EVERY = 0.2, 0.5
INSIST_AFTER = 60.0
"""Seconds after which a cancel that was not heeded is passed on once more: the command then stops at once."""
PROGRESS = re.compile(
    r"^(?P<stage>.{1,80}): (?P<done>\d+)/(?P<planned>\d+)(?: \((?P<rate>[\d.]+)/s, (?P<left>\d+) s left\))?$"
)
FINISHED: dict[int, State] = {0: "done", 1: "done", 3: "done", 130: "cancelled", -signal.SIGINT: "cancelled"}
"""Exit codes that are no failure: a gate that failed and an audit that cannot tell are results."""


def run_job(place: Path) -> int:
    """Run the job's command to its end and return its exit code; the folder's lock is held meanwhile.

    Raises:
        StoreBusy: another process works on it.
    """
    lock = FolderLock(place)
    lock.acquire()
    try:
        return _Run(place).finish()
    finally:
        lock.release()


class _Run:
    """One attempt at a job."""

    def __init__(self, place: Path) -> None:
        self.place = place
        job = read_job(place)
        self.status = JobStatus(state="running", started=now(), updated=now(), attempts=job.status.attempts)
        self.written = 0.0
        self.lines = threading.Lock()
        write_status(place, self.status)
        self.log = (place / LOG).open("ab")
        with interrupts_held_back():
            self.child = subprocess.Popen(
                [sys.executable, "-m", "workbench.jobs.command", str(place), *job.spec.command], cwd=job.spec.folder,
                stdin=subprocess.PIPE,  # never written to: its end tells the command that this process is gone
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace",
            )  # fmt: skip
        assert self.child.stdout is not None
        self.reader = threading.Thread(target=self._read, args=(self.child.stdout,), daemon=True)
        self.reader.start()

    def finish(self) -> int:
        """Watch until the command ends."""
        asked: float | None = None
        insisted = False
        while self.child.poll() is None:
            time.sleep(LOOK_EVERY)
            if asked is None and (self.place / CANCEL).exists():
                asked = time.monotonic()
                self.child.send_signal(signal.SIGINT)
            elif asked is not None and not insisted and time.monotonic() - asked > INSIST_AFTER:
                insisted = True
                self.child.send_signal(signal.SIGINT)
            self._write()
        self.reader.join()
        self.log.close()
        if self.child.stdin is not None:
            self.child.stdin.close()
        code = int(self.child.returncode)
        state = FINISHED.get(code, "failed")
        with self.lines:
            self.status = self.status.model_copy(
                update={"state": state, "exit_code": code, "updated": now(), "rate": None, "seconds_left": None}
            )
        write_status(self.place, self.status)
        return code

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self.log.write(line.encode())
            self.log.flush()
            self._take(line.rstrip("\n"))

    def _take(self, line: str) -> None:
        found = PROGRESS.match(line)
        with self.lines:
            if found is None:
                if line.strip():
                    self.status = self.status.model_copy(update={"message": line.strip()[:1000]})
                return
            self.status = self.status.model_copy(
                update={
                    "stage": found["stage"],
                    "done": int(found["done"]),
                    "planned": int(found["planned"]),
                    "rate": float(found["rate"]) if found["rate"] else None,
                    "seconds_left": float(found["left"]) if found["left"] else None,
                }
            )

    def _write(self) -> None:
        if time.monotonic() - self.written >= WRITE_EVERY:
            self.written = time.monotonic()
            with self.lines:
                self.status = self.status.model_copy(update={"updated": now()})
                status = self.status
            write_status(self.place, status)
