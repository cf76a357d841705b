"""What an engine promises, and the one loop that hands tasks to workers which may die."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Collection, Generator, Sequence
from typing import Any, Protocol

from workbench.errors import ConfigError, Interrupted, WorkbenchError
from workbench.interrupts import StopFlag

Worker = Callable[[Any], Any]
"""From a task to its result; keeps what is costly to make (a model, an open store) from one task to the next."""
MakeWorker = Callable[[], Worker]
"""Makes a worker where it runs; must survive pickling, unless the engine runs in this process."""

MAX_LOSSES = 3
"""So many workers may die on one task before the task is blamed."""
RESUME = "Run the same command again to resume."


class Engine(ABC):
    """Runs tasks on workers; the caller alone writes what comes back."""

    @property
    @abstractmethod
    def in_process(self) -> bool:
        """Whether workers run in this process, so that what it holds need not be loaded again."""

    @abstractmethod
    def run(
        self, make_worker: MakeWorker, tasks: Sequence[Any], *, stop: StopFlag | None = None
    ) -> Generator[tuple[int, Any]]:
        """Yield (place of the task, its result) as tasks finish, in any order, every task exactly once.

        Results must follow from the task alone: a task whose worker died is done again by another. At most two
        results a worker are held at any time. Close the generator (`contextlib.closing`) to end the workers early.

        Args:
            make_worker: called once by every worker, where it runs.
            tasks: what to do; tasks and results must survive pickling, unless `in_process`.
            stop: looked at before a task is begun; what is under way is finished and yielded first.

        Raises:
            Interrupted: someone asked to stop and tasks are left.
            WorkbenchError: what a worker raised, as it raised it; or a task on which `MAX_LOSSES` workers died.
        """


class WorkerLost(Exception):
    """A worker died before it gave its result; the message says of what."""


class Hand(Protocol):
    """A worker somewhere else, as the dispatcher sees it; does one task at a time."""

    def give(self, task: Any) -> None:
        """Begin a task; a dead worker shows when its result is taken."""

    def take(self) -> Any:
        """The answer (see `attempt`) of the task that was given; raises `WorkerLost`."""

    def dismiss(self) -> None:
        """End the worker now, whatever it is doing, and leave nothing of it behind."""


def attempt(make: Callable[[], Any]) -> tuple[Any, WorkbenchError | None]:
    """(result, None), or (None, the error that a person can act on): both travel between processes."""
    try:
        return make(), None
    except WorkbenchError as error:
        return None, error


def dispatch(
    tasks: Sequence[Any],
    *,
    n_workers: int,
    hire: Callable[[], Hand],
    wait: Callable[[Collection[Hand]], Hand],
    stop: StopFlag | None,
) -> Generator[tuple[int, Any]]:
    """Keep every worker busy until all tasks are done; see `Engine.run`.

    Args:
        tasks: what to do.
        n_workers: how many to hire.
        hire: starts a worker.
        wait: gives one of the busy workers that has finished or died.
        stop: looked at before a task is begun.
    """
    todo, losses = deque(range(len(tasks))), Counter[int]()
    busy: dict[Hand, int] = {}
    idle: list[Hand] = []
    finished: tuple[int, Any] | None = None
    asked: Interrupted | None = None
    try:
        while True:
            while todo and len(busy) < n_workers and (asked := asked or _asked(stop)) is None:
                hand = idle.pop() if idle else hire()
                busy[hand] = todo.popleft()
                hand.give(tasks[busy[hand]])
            while idle:  # on a full cluster another worker may be waiting for this one's room
                idle.pop().dismiss()
            if finished is not None:
                yield finished
                finished = None
            if not busy:
                break
            hand = wait(busy.keys())
            place = busy.pop(hand)
            try:
                result, error = hand.take()
            except WorkerLost as lost:
                hand.dismiss()
                todo.appendleft(place)
                losses[place] += 1
                if losses[place] == MAX_LOSSES:
                    raise _blame(place, tasks, lost) from lost
                continue
            idle.append(hand)
            if error is not None:
                raise error
            finished = (place, result)
        if asked is not None and todo:
            raise asked
    finally:
        for hand in [*busy, *idle]:
            hand.dismiss()


def _asked(stop: StopFlag | None) -> Interrupted | None:
    try:
        if stop is not None:
            stop.check(hint=RESUME)
    except Interrupted as interrupted:
        return interrupted
    return None


def _blame(place: int, tasks: Sequence[Any], lost: WorkerLost) -> WorkbenchError:
    return WorkbenchError(
        f"{MAX_LOSSES} workers died one after the other on task {place + 1} of {len(tasks)}", found=str(lost),
        hint=f"If memory ran out, use fewer workers. What was finished is kept. {RESUME}",
    )  # fmt: skip


def require_positive(**settings: int) -> None:
    """Refuse numbers of workers or threads below one.

    Raises:
        ConfigError: naming the setting.
    """
    for name, value in settings.items():
        if type(value) is not int or value < 1:
            raise ConfigError("must be 1 or more", field=name, found=value)
