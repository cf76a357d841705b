"""Workers on this machine: this process itself, or processes beside it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any, cast, final

from workbench.engines.base import RESUME, Engine, Hand, MakeWorker, WorkerLost, attempt, dispatch, require_positive
from workbench.engines.threads import THREADS, limit_threads
from workbench.errors import WorkbenchError
from workbench.interrupts import SIGNALS, StopFlag


@final
@dataclass(frozen=True, slots=True)
class LocalEngine(Engine):
    """One worker in this process, or several in processes of their own, each with its own number of threads."""

    workers: int = 1
    threads: int = THREADS
    """Threads of each process; a worker in this process leaves the threads as they are."""

    def __post_init__(self) -> None:
        require_positive(workers=self.workers, threads=self.threads)

    @property
    def in_process(self) -> bool:
        """Whether there is but one worker, this process."""
        return self.workers == 1

    def run(
        self, make_worker: MakeWorker, tasks: Sequence[Any], *, stop: StopFlag | None = None
    ) -> Generator[tuple[int, Any]]:
        """See `Engine.run`; with one worker nothing is pickled and errors of any kind come out as they are."""
        if not self.in_process:
            yield from dispatch(
                tasks,
                n_workers=min(self.workers, len(tasks)),
                hire=lambda: _Process(make_worker, self.threads),
                wait=_first_finished,
                stop=stop,
            )
            return
        worker = None
        for place, task in enumerate(tasks):
            if stop is not None:
                stop.check(hint=RESUME)
            worker = worker or make_worker()
            yield place, worker(task)


@contextmanager
def _no_script() -> Iterator[None]:
    """Processes that start meanwhile do not run this program's script: workers import what they need by name.

    Under Streamlit, and after its tests, what stands for the script is a page that runs nowhere else.
    """
    before = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = before


@final
class _Process(Hand):
    """A worker in a fresh process, which holds nothing of this one and ends when this one does."""

    def __init__(self, make_worker: MakeWorker, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=_serve, args=(theirs, threads), daemon=True, name="workbench-worker"
        )
        resource_tracker.ensure_running()  # its start would lift the mask
        # Ctrl-C in a terminal reaches every process of the group: only this one is to act on it, from the start.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            with _no_script():
                self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()
        try:
            self._send(make_worker)
        except BaseException:  # it cannot be pickled, or someone asked twice to stop
            self.dismiss()
            raise

    def _send(self, message: Any) -> None:
        with suppress(OSError):  # it died: `take` says so
            self.connection.send(message)

    def give(self, task: Any) -> None:
        """Begin a task."""
        self._send(task)

    def take(self) -> Any:
        """The answer, or `WorkerLost` with the signal that ended the process."""
        try:
            return self.connection.recv()
        except (EOFError, OSError) as closed:
            self.process.join()
            code = self.process.exitcode
            if code is not None and code < 0:
                raise WorkerLost(f"a process ended by {_signal_name(-code)}") from closed
            raise WorkbenchError(
                "a worker process ended without an answer", found=f"exit code {code}",
                hint="Why stands above, on standard error.",
            ) from closed  # fmt: skip

    def dismiss(self) -> None:
        """End the process and wait until it is gone."""
        self.process.kill()
        self.process.join()
        self.process.close()
        self.connection.close()


def _first_finished(hands: Collection[Hand]) -> Hand:
    by_connection = {cast(_Process, hand).connection: hand for hand in hands}
    return by_connection[cast(Connection, wait(by_connection)[0])]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _serve(connection: Connection, threads: int) -> None:
    """What a worker process does: make a worker, then one task after the other until nobody asks any more."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    limit_threads(threads)
    make_worker = _receive(connection)
    limit_threads(threads)  # unpickling may have loaded libraries, and so may making
    worker, error = attempt(make_worker)
    limit_threads(threads)
    while True:
        task = _receive(connection)
        answer = (None, error) if error is not None else attempt(partial(worker, task))
        with suppress(ConnectionError):  # the other side is done with us
            connection.send(answer)


def _receive(connection: Connection) -> Any:
    try:
        return connection.recv()
    except (EOFError, ConnectionError):
        raise SystemExit from None  # the other side is done with us


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
