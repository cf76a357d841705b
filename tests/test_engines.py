"""Engines do every task once, lose nothing to a dying worker, and leave nothing behind."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import closing, contextmanager, suppress
from functools import partial
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import engine_factory as factory
import pytest
from conftest import ROOT

from workbench import errors
from workbench.engines import LocalEngine, open_engine
from workbench.engines.base import MAX_LOSSES, WorkerLost, dispatch
from workbench.errors import ConfigError, Interrupted, UnknownSiteError, WorkbenchError
from workbench.interrupts import StopFlag

TASKS = list(range(7))
SQUARES = [(k, k * k) for k in TASKS]


def make(worker, *given):
    return partial(factory.make, worker, *given)


def begun(folder):
    """How often each task was begun."""
    tasks = [int(name.split("-")[1]) for name in factory.notes_of(folder, "task")]
    return {task: tasks.count(task) for task in tasks}


def gone(pid):
    """Whether a process has ended, reaped by whoever inherited it or not."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def soon(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


@pytest.fixture(autouse=True)
def _nothing_is_left():
    yield
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_every_task_once_by_workers_that_are_made_once(tmp_path, workers):
    found = list(open_engine("local", workers=workers).run(partial(factory.squares, tmp_path), TASKS))
    assert sorted(found) == SQUARES
    assert begun(tmp_path) == dict.fromkeys(TASKS, 1)
    born = {name.split("-")[1] for name in factory.notes_of(tmp_path, "born")}
    assert len(born) == len(factory.notes_of(tmp_path, "born")) == workers
    assert (str(os.getpid()) in born) == (workers == 1)


def test_no_tasks_no_workers(tmp_path):
    assert [list(LocalEngine(n).run(partial(factory.squares, tmp_path), [])) for n in (1, 2)] == [[], []]
    assert factory.notes_of(tmp_path, "born") == []


def test_one_worker_pickles_nothing_and_several_refuse_what_cannot_be_pickled():
    assert list(LocalEngine(1).run(lambda: lambda task: task + 1, [1, 2])) == [(0, 2), (1, 3)]
    with pytest.raises((AttributeError, TypeError), match="pickle"):
        list(LocalEngine(2).run(lambda: lambda task: task + 1, [1, 2]))


# Dying


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_worker_that_dies_costs_its_task_and_nothing_else(tmp_path, number):
    found = list(LocalEngine(2).run(make(factory.dies_once, tmp_path, number), TASKS))
    assert sorted(found) == SQUARES
    assert (tmp_path / "died").exists()
    assert begun(tmp_path) == dict.fromkeys(TASKS, 1)


def test_a_task_on_which_every_worker_dies_is_named():
    with pytest.raises(WorkbenchError, match=rf"{MAX_LOSSES} workers died .* task 4 of 7; .*SIGKILL") as caught:
        list(LocalEngine(2).run(make(factory.always_dies), TASKS))
    assert "fewer workers" in caught.value.hint


def test_errors_come_out_as_they_were_raised():
    for worker in (make(factory.refuses), partial(factory.refuses, 0)):  # at a task, and when it is made
        for workers in (1, 2):
            with pytest.raises(UnknownSiteError) as caught:
                list(LocalEngine(workers).run(worker, [0]))
            error = caught.value
            assert (error.message, error.path, error.field) == ("no such site", "a/b", "site")
            assert (error.expected, error.found, error.hint) == ("thought", 0 if workers == 1 else "0", "Look.")
            assert str(error) == "a/b, field site: no such site; expected thought; found 0. Look."


def test_a_bug_is_told_once_and_not_tried_again(capfd):
    with pytest.raises(ZeroDivisionError):
        list(LocalEngine(1).run(make(factory.raises_a_bug), [1, 0]))
    with pytest.raises(WorkbenchError, match="exit code 1"):
        list(LocalEngine(2).run(make(factory.raises_a_bug), [1, 0]))
    assert capfd.readouterr().err.count("ZeroDivisionError: integer") == 1
    with pytest.raises(WorkbenchError, match="exit code 7"):
        list(LocalEngine(2).run(make(factory.exits), [1, 0]))


KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, WorkbenchError)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_travels(kind):
    error = kind("what", path=Path("a/b"), field="f", expected=object, found=[1], hint="Do.")
    other = ForkingPickler.loads(ForkingPickler.dumps(error))
    assert type(other) is kind
    assert str(other) == str(error)
    assert other.to_dict() == error.to_dict()
    assert str(ForkingPickler.loads(ForkingPickler.dumps(kind("what")))) == "what"


# Stopping


def taken(results, stop):
    """What came, and what `Interrupted` advised if it ended so; the first result makes someone ask to stop."""
    found = []
    try:
        for one in results:
            stop.asked = True
            found.append(one)
    except Interrupted as interrupted:
        return found, interrupted.hint
    return found, None


@pytest.mark.parametrize("workers", [1, 2])
def test_when_asked_to_stop_what_is_under_way_is_finished_and_nothing_begun(tmp_path, workers):
    stop = StopFlag()
    found, hint = taken(LocalEngine(workers).run(partial(factory.squares, tmp_path), TASKS, stop=stop), stop)
    assert "resume" in hint
    assert {place: 1 for place, _ in found} == begun(tmp_path)
    assert len(found) <= 1 + workers


def test_a_stop_after_the_last_task_was_begun_is_for_the_caller(tmp_path):
    stop = StopFlag()
    found, hint = taken(LocalEngine(2).run(partial(factory.squares, tmp_path), [0, 1], stop=stop), stop)
    assert (sorted(found), hint) == (SQUARES[:2], None)


def test_workers_wait_for_the_one_who_takes_results(tmp_path):
    with closing(LocalEngine(2).run(partial(factory.squares, tmp_path), TASKS)) as results:
        next(results)
        time.sleep(0.5)
        assert len(begun(tmp_path)) <= 3


def test_closing_ends_workers_in_the_middle(tmp_path):
    with closing(LocalEngine(2).run(make(factory.sleeps), [0.01, 100, 100, 100])) as results:
        next(results)
        children = [child.pid for child in multiprocessing.active_children()]
        assert len(children) == 2
    assert all(map(gone, children))


PROGRAM = """
import sys
from functools import partial
from pathlib import Path
import engine_factory as factory
from workbench.engines import open_engine
from workbench.errors import Interrupted
from workbench.interrupts import stop_on_signal

if __name__ == "__main__":
    make_worker = partial(factory.make, factory.slow, Path(sys.argv[1]), float(sys.argv[2]))
    with stop_on_signal() as stop:
        try:
            for place, result in open_engine(sys.argv[3], workers=2).run(make_worker, range(40), stop=stop):
                print(place, flush=True)
        except Interrupted:
            print("interrupted", flush=True)
"""


@contextmanager
def program(folder, seconds, n_begun, engine="local"):
    """A program in a session of its own that has begun so many tasks, each of which takes so many seconds."""
    (folder / "program.py").write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    started = subprocess.Popen(
        [sys.executable, folder / "program.py", folder, str(seconds), engine], text=True, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        assert soon(lambda: len(begun(folder)) >= n_begun)
        yield started
    finally:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.communicate()


def workers_of(folder):
    return {name.split("-")[2] for name in factory.notes_of(folder, "task")}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_whole_group_loses_nothing(tmp_path, number):
    with program(tmp_path, 0.15, 5) as running:
        os.killpg(running.pid, number)
        told, complaints = running.communicate(timeout=60)
    *places, last = told.split()
    assert (last, complaints) == ("interrupted", "")
    assert {int(place): 1 for place in places} == begun(tmp_path)
    assert 4 < len(places) < 40
    assert all(map(gone, workers_of(tmp_path)))


def test_ctrl_c_twice_stops_at_once(tmp_path):
    with program(tmp_path, 100, 2) as running:
        os.killpg(running.pid, signal.SIGINT)
        time.sleep(0.3)
        assert running.poll() is None
        os.killpg(running.pid, signal.SIGINT)
        assert "KeyboardInterrupt" in running.communicate(timeout=30)[1]
        assert all(map(gone, workers_of(tmp_path)))


def test_workers_end_with_the_one_who_started_them(tmp_path):
    with program(tmp_path, 100, 2) as running:
        assert len(workers_of(tmp_path)) == 2
        running.kill()
        assert soon(lambda: all(map(gone, workers_of(tmp_path))))


# Choosing


def test_threads_are_those_that_were_asked_for():
    assert list(LocalEngine(2, threads=3).run(factory.counts_threads, [0])) == [(0, (3, "3"))]


def test_engines_that_cannot_be_are_refused(monkeypatch):
    with pytest.raises(ConfigError, match="expected local or ray; found spark"):
        open_engine("spark")
    for name, settings in (("workers", {"workers": 0}), ("threads", {"threads": 0}), ("workers", {"workers": 1.5})):
        with pytest.raises(ConfigError, match="1 or more") as caught:
            open_engine("local", **settings)
        assert caught.value.field == name
    with pytest.raises(ConfigError, match="--engine ray"):
        open_engine("local", address="here:1")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"neuralese-workbench\[ray\]"):
        open_engine("ray")


class Seat:
    """A worker on a cluster that has room for fewer than were hired: it works once it has a seat."""

    def __init__(self, hall):
        self.hall, self.task = hall, None
        hall.append(self)

    def give(self, task):
        self.task = task

    def take(self):
        if self.task == "lost":
            self.task = None
            raise WorkerLost("gone")
        return self.task, None

    def dismiss(self):
        self.hall.remove(self)


@pytest.mark.parametrize("room", [1, 2, 3])
def test_workers_without_a_seat_get_one_when_others_are_done(room):
    hall: list[Seat] = []

    def wait(busy):
        return next(seat for seat in hall[:room] if seat in busy)  # StopIteration: all wait for ever

    tasks = list("abcdefg")
    found = list(dispatch(tasks, n_workers=3, hire=lambda: Seat(hall), wait=wait, stop=None))
    assert sorted(found) == list(enumerate(tasks))
    assert hall == []
    with pytest.raises(WorkbenchError, match="task 2 of 3"):
        list(dispatch(["a", "lost", "b"], n_workers=3, hire=lambda: Seat(hall), wait=wait, stop=None))
    assert hall == []
