"""Workers for the tests of engines: module-level, so that other processes can import them."""

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

from workbench.errors import UnknownSiteError


def squares(notes):
    """A worker that notes its process at birth and each task that it begins."""
    (notes / f"born-{os.getpid()}-{time.monotonic_ns()}").touch()
    return partial(square, notes)


def square(notes, task):
    (notes / f"task-{task}-{os.getpid()}-{time.monotonic_ns()}").touch()
    return task * task


def dies_once(notes, number, task):
    """Ends its own process by a signal at the first attempt of task 3."""
    died = notes / "died"
    if task == 3 and not died.exists():
        died.touch()
        os.kill(os.getpid(), number)
        time.sleep(30)
    return square(notes, task)


def always_dies(task):
    if task == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def refuses(task):
    raise UnknownSiteError("no such site", path="a/b", field="site", expected="thought", found=task, hint="Look.")


def raises_a_bug(task):
    return 1 // task


def exits(task):
    sys.exit(7)


def sleeps(seconds):
    time.sleep(seconds)
    return os.getpid()


def counts_threads():
    """A worker that loads torch when it is made."""
    import torch

    return lambda _task: (torch.get_num_threads(), os.environ["OMP_NUM_THREADS"])


def make(worker, *given):
    return partial(worker, *given)


def notes_of(folder: Path, kind: str) -> list[str]:
    return sorted(path.name for path in folder.glob(f"{kind}-*"))


def slow(notes, seconds, task):
    square(notes, task)
    time.sleep(seconds)
    return task


def naps(notes, task):
    number, seconds = task
    square(notes, number)
    time.sleep(seconds)
    return number


def noted(notes, make_worker, n_free):
    """The worker that `make_worker` makes, which notes each task that it begins and waits while it is told to."""
    return partial(note, notes, make_worker(), n_free)


def note(notes, worker, n_free, task):
    square(notes, task)
    while task >= n_free and (notes / "hold").exists():
        time.sleep(0.05)
    return worker(task)
