"""``python -m workbench.jobs.command DIR ARGUMENTS...``: a job's command, which does not outlive the runner behind it.

Nobody would read the progress of a command whose runner was killed, nobody
could cancel it, and resuming the job would set a second one beside it. So it
holds a lock of its own, and ends with its runner, however that ends.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from workbench.errors import Interrupted, StoreBusy
from workbench.jobs.folder import COMMAND_LOCK
from workbench.store.locking import FolderLock

WAIT = 30.0
"""Seconds for the command of an attempt before to end."""


def run_command(place: Path, arguments: list[str]) -> int:
    """Run the command line under the job's second lock and return its exit code; 2 where another one works on it."""
    end_with_runner()
    heed_interrupts()
    lock = FolderLock(place, COMMAND_LOCK)
    try:
        _acquire(lock)
    except StoreBusy as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    try:
        from workbench.cli import run

        return run(arguments)
    finally:
        lock.release()


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    """A process that is started here gets a Ctrl-C once it can heed it: while Python starts, it would be an error."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def heed_interrupts() -> None:
    """End at a Ctrl-C while no stage of a command handles it: an exception could be lost among imports.

    Nothing is lost that a kill would not lose as well.
    """

    def end(number: int, frame: FrameType | None) -> None:
        os.write(2, b"stopped as asked\n")
        os._exit(Interrupted.exit_code)

    signal.signal(signal.SIGINT, end)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _acquire(lock: FolderLock) -> None:
    until = time.monotonic() + WAIT
    while True:
        try:
            lock.acquire()
        except StoreBusy:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return


def end_with_runner() -> None:
    """Watch the pipe that is standard input: only the runner holds its other end, so it ends when the runner does."""
    watched = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    threading.Thread(target=_watch, args=(watched,), daemon=True).start()


def _watch(pipe: int) -> None:
    while os.read(pipe, 1):
        pass
    # A runner starts a session: its group is this command and the processes that it started.
    if hasattr(os, "killpg") and os.getpgrp() != os.getpid() and os.getsid(0) == os.getpgrp():
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGTERM if os.name == "nt" else signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(run_command(Path(sys.argv[1]), sys.argv[2:]))
