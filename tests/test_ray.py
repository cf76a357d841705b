"""The Ray engine on a cluster of two machines, which are processes of this one: equal bytes when one is killed."""

import os
import signal
import subprocess
import sys
from functools import partial

import engine_factory as factory
import pytest
from conftest import ROOT
from store_factory import contents
from test_engines import SQUARES, TASKS, begun, gone, make, program, soon, taken, workers_of

from workbench.capture import capture
from workbench.engines import LocalEngine, open_engine
from workbench.errors import ConfigError, UnknownSiteError, WorkbenchError
from workbench.interrupts import StopFlag
from workbench.tasks import Rooms

ray = pytest.importorskip("ray", reason="Ray is an extra")

pytestmark = pytest.mark.slow

PROBLEMS = Rooms(3).make(60, seed=1)
STORE_BYTES = 100 << 20


@pytest.fixture(scope="module", autouse=True)
def _machines_find_the_workers():
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{ROOT / 'tests'}")
        yield


@pytest.fixture(scope="module")
def cluster():
    """A head with one core; tests add the second machine."""
    from ray.cluster_utils import Cluster

    noticed_sooner = {"health_check_period_ms": 1000}
    head = {"num_cpus": 1, "object_store_memory": STORE_BYTES, "include_dashboard": False}
    head["_system_config"] = noticed_sooner
    made = Cluster(initialize_head=True, head_node_args=head)
    yield made
    made.shutdown()


@pytest.fixture
def second(cluster):
    """The second machine, gone again afterwards if it still stands."""
    node = cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
    yield node
    if node in cluster.worker_nodes:
        cluster.remove_node(node)


@pytest.fixture
def engine(cluster, second):
    made = open_engine("ray", workers=2, address=cluster.address)
    yield made
    assert not ray.is_initialized()


def test_every_task_once_on_both_machines(tmp_path, engine):
    assert sorted(engine.run(partial(factory.squares, tmp_path), TASKS)) == SQUARES
    assert begun(tmp_path) == dict.fromkeys(TASKS, 1)
    assert len(factory.notes_of(tmp_path, "born")) == 2
    assert list(engine.run(partial(factory.squares, tmp_path), [])) == []


def test_a_worker_that_dies_costs_its_task_and_a_deadly_task_is_named(tmp_path, engine):
    assert sorted(engine.run(make(factory.dies_once, tmp_path, signal.SIGKILL), TASKS)) == SQUARES
    assert (tmp_path / "died").exists()
    assert begun(tmp_path) == dict.fromkeys(TASKS, 1)
    with pytest.raises(WorkbenchError, match=r"3 workers died .* task 4 of 7"):
        list(engine.run(make(factory.always_dies), TASKS))


def test_errors_come_out_as_they_were_raised(engine):
    for worker in (make(factory.refuses), partial(factory.refuses, 0)):  # at a task, and when it is made
        with pytest.raises(UnknownSiteError) as caught:
            list(engine.run(worker, [0]))
        assert str(caught.value) == "a/b, field site: no such site; expected thought; found 0. Look."
    with pytest.raises(ZeroDivisionError):
        list(engine.run(make(factory.raises_a_bug), [1, 0]))


def n_alive():
    return sum(node["Alive"] for node in ray.nodes())


def kill(cluster, machine):
    """As when somebody pulls the plug."""
    assert n_alive() == 2
    cluster.remove_node(machine, allow_graceful=False)
    assert soon(lambda: n_alive() == 1, 60)


def test_a_machine_killed_in_the_middle_costs_the_task_that_it_had(tmp_path, cluster, second, engine):
    tasks = [(0, 0), (1, 0), *((k, 2) for k in range(2, 7))]
    found = []
    for place, _ in engine.run(make(factory.naps, tmp_path), tasks):
        found.append(place)
        if len(found) == 2:
            assert soon(lambda: len(begun(tmp_path)) == 4)  # both are in the middle of a long one
            kill(cluster, second)
    assert sorted(found) == TASKS
    assert sorted(begun(tmp_path).values()) == [1, 1, 1, 1, 1, 1, 2]


def test_a_machine_killed_in_the_middle_of_a_capture_costs_no_byte(
    tmp_path, loaded, cluster, second, engine, monkeypatch
):
    monkeypatch.setattr("workbench.capture.SHARD_PROBLEMS", 5)
    capture(loaded, PROBLEMS, tmp_path / "whole", engine=LocalEngine(1))
    told = []

    def kill_the_second(done, planned):
        told.append(done)
        if len(told) == 2:
            kill(cluster, second)

    capture(loaded, PROBLEMS, tmp_path / "run", engine=engine, progress=kill_the_second)
    assert told == list(range(5, 65, 5))
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


LOCAL = """
import signal
import sys
from functools import partial
from pathlib import Path
import engine_factory as factory
import ray
from workbench.engines import open_engine

before = signal.getsignal(signal.SIGTERM)
counts = open_engine("ray", workers=2, threads=2).run(factory.counts_threads, [0, 1, 2])
assert next(counts)[1] == (2, "2")
assert ray.is_initialized()
assert ray.cluster_resources()["CPU"] == 4
assert signal.getsignal(signal.SIGTERM) is before
counts.close()
assert not ray.is_initialized()
results = open_engine("ray", workers=2).run(partial(factory.squares, Path(sys.argv[1])), range(7))
assert sorted(results) == [(k, k * k) for k in range(7)]
assert not ray.is_initialized()
print("well")
"""


def test_without_an_address_ray_is_started_and_ended_here(tmp_path):
    """In a process of its own: Ray does not take a process back that was elsewhere in between."""
    command = [sys.executable, "-c", LOCAL, tmp_path]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert found.stdout == "well\n", found.stderr
    assert begun(tmp_path) == dict.fromkeys(TASKS, 1)
    assert soon(lambda: all(map(gone, workers_of(tmp_path))))


def test_a_signal_to_the_whole_group_loses_nothing(tmp_path):
    with program(tmp_path, 0.3, 4, "ray") as running:
        os.killpg(running.pid, signal.SIGINT)
        told = running.communicate(timeout=60)[0]
    *places, last = told.split()
    assert last == "interrupted"
    assert {int(place): 1 for place in places} == begun(tmp_path)
    assert 3 < len(places) < 40
    assert soon(lambda: all(map(gone, workers_of(tmp_path))))


def test_when_asked_to_stop_what_is_under_way_is_finished(tmp_path, engine):
    stop = StopFlag()
    found, hint = taken(engine.run(partial(factory.squares, tmp_path), TASKS, stop=stop), stop)
    assert "resume" in hint
    assert {place: 1 for place, _ in found} == begun(tmp_path)
    assert len(found) <= 3


def test_a_connection_that_was_there_is_used_and_left(tmp_path, cluster):
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        assert sorted(open_engine("ray").run(partial(factory.squares, tmp_path), TASKS)) == SQUARES
        assert ray.is_initialized()
    finally:
        ray.shutdown()


def test_clusters_that_cannot_be_are_refused(cluster):
    for settings, found in (({"threads": 64}, "64 cores"), ({"gpus": 1}, "1 accelerators")):
        with pytest.raises(ConfigError, match=found):
            list(open_engine("ray", address=cluster.address, **settings).run(make(factory.refuses), [0]))
    with pytest.raises(ConfigError, match="ray start --head") as caught:
        list(open_engine("ray", address="127.0.0.1:9").run(make(factory.refuses), [0]))
    assert caught.value.field == "address"
    assert not ray.is_initialized()
