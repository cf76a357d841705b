"""A capture on several workers: the same bytes as in one process, whoever dies on the way."""

import json
import multiprocessing
import os
import shutil
import signal
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import pytest
from store_factory import contents

from workbench.capture import capture
from workbench.cli import run
from workbench.engines import Engine, LocalEngine
from workbench.errors import ConfigError, HashMismatch, Interrupted, WorkbenchError
from workbench.reasoners.loading import load_model
from workbench.reasoners.twin import randomised
from workbench.store import RunStore, verify_store
from workbench.tasks import Rooms, problem_lines

PROBLEMS = [
    replace(problem, steps=1 + k % 4)
    for k, problem in enumerate(Rooms(3).make(17, seed=1) + Rooms(1).make(10, seed=2, prefix="short"))
]
SITES = ["thought", "thought.unused", "blocks.*.attn.hook_k"]
N_SHARDS = 6


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr("workbench.capture.SHARD_PROBLEMS", 5)


def captured(model, out, workers=1, **settings):
    return capture(model, PROBLEMS, out, sites=SITES, engine=LocalEngine(workers), **settings)


@pytest.fixture
def whole(tmp_path, loaded):
    captured(loaded, tmp_path / "whole")
    return contents(tmp_path / "whole")


class Noted(Engine):
    """An engine that notes which shards it was asked for."""

    in_process = True

    def __init__(self, order=1):
        self.order, self.shards = order, []

    def run(self, make_worker, tasks, *, stop=None):
        self.shards += [task.shard for task in tasks]
        worker = make_worker()
        for place in range(len(tasks))[:: self.order]:
            yield place, worker(tasks[place])


class Elsewhere(Engine):
    """An engine whose worker knows only what was pickled, and the world as it has become."""

    in_process = False

    def __init__(self, becomes):
        self.becomes = becomes

    def run(self, make_worker, tasks, *, stop=None):
        pickled = ForkingPickler.dumps(make_worker)
        self.becomes()
        worker = ForkingPickler.loads(pickled)()
        yield from ((place, worker(task)) for place, task in enumerate(tasks))


@pytest.mark.slow
def test_two_workers_give_the_same_bytes_and_one_that_dies_costs_nothing(tmp_path, loaded, whole):
    told, killed = [], []

    def kill_one(done, planned):
        told.append((done, planned))
        if not killed:
            killed.extend(multiprocessing.active_children()[:1])
            os.kill(killed[0].pid, signal.SIGKILL)

    store = captured(loaded, tmp_path / "run", 2, progress=kill_one)
    assert len(killed) == 1
    assert contents(tmp_path / "run") == whole
    assert verify_store(tmp_path / "run").n_shards == N_SHARDS
    assert len(store.problems) == len(PROBLEMS)
    # Shards may come in any order, each once; the last of the six holds two problems.
    assert len(told) == N_SHARDS
    assert sorted(b - a for (a, _), (b, _) in zip([(0, 0), *told], told, strict=False)) == [2, 5, 5, 5, 5, 5]
    assert told[-1] == (27, 27)
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_a_twin_on_two_workers_resumes_to_the_bytes_of_one(tmp_path, loaded, whole):
    twin = randomised(loaded, 3)

    def interrupt(done, planned):
        if done == 5:  # what is under way still comes
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match="resume"):
        captured(twin, tmp_path / "run", 2, progress=interrupt)
    n_kept = len(list((tmp_path / "run").rglob("*.safetensors")))
    assert 0 < n_kept < N_SHARDS
    rest = Noted()
    told = []
    capture(twin, PROBLEMS, tmp_path / "run", sites=SITES, engine=rest, progress=lambda done, _: told.append(done))
    assert len(rest.shards) == N_SHARDS - n_kept
    assert len(told) == 1 + len(rest.shards)
    captured(twin, tmp_path / "at once")
    assert contents(tmp_path / "run") == contents(tmp_path / "at once") != whole
    assert RunStore(tmp_path / "run").config["model"] == f"random twin 3 of {loaded.fingerprint}"
    with pytest.raises(ConfigError, match="other settings"):
        captured(loaded, tmp_path / "run")


def test_shards_may_come_in_any_order(tmp_path, loaded, whole):
    backwards = Noted(-1)
    capture(loaded, PROBLEMS, tmp_path / "run", sites=SITES, engine=backwards)
    assert backwards.shards == list(range(N_SHARDS))
    assert contents(tmp_path / "run") == whole
    told = []
    capture(loaded, PROBLEMS, tmp_path / "run", sites=SITES, engine=backwards, progress=lambda *n: told.append(n))
    assert len(backwards.shards) == N_SHARDS
    assert told == [(27, 27)]


def test_a_model_of_this_process_alone_goes_to_no_other(tmp_path, loaded):
    with pytest.raises(ConfigError, match="no other can load it"):
        captured(replace(loaded, origin=None), tmp_path / "run", 2)
    assert not (tmp_path / "run").exists()


def test_workers_load_the_model_and_refuse_another_or_other_versions(tmp_path, model_folder, monkeypatch):
    model = load_model(str(model_folder), device="cpu")
    here = captured(model, tmp_path / "here")
    monkeypatch.chdir(model_folder.parent)
    named = load_model(model_folder.name, device="cpu")
    there = capture(named, PROBLEMS, tmp_path / "there", sites=SITES, engine=Elsewhere(lambda: monkeypatch.chdir("/")))
    assert there.root == here.root
    with pytest.MonkeyPatch.context() as patched:
        others = Elsewhere(lambda: patched.setattr("workbench.capture.version", lambda package: "0"))
        with pytest.raises(ConfigError, match="other versions"):
            capture(model, PROBLEMS, tmp_path / "no", sites=SITES, engine=others)
    recipe = Path(model_folder, "reasoner.toml")
    changed = Elsewhere(lambda: recipe.write_text(recipe.read_text() + "\n# changed\n"))
    with pytest.raises(HashMismatch, match="another model") as caught:
        capture(model, PROBLEMS, tmp_path / "no", sites=SITES, engine=changed)
    assert caught.value.path == str(model_folder)
    with pytest.raises(WorkbenchError, match="no such"):
        capture(model, PROBLEMS, tmp_path / "no", sites=SITES, engine=Elsewhere(lambda: shutil.rmtree(model_folder)))


@pytest.mark.slow
def test_the_command_takes_engine_workers_and_twin(tmp_path, model_folders, capsys):
    (tmp_path / "p.jsonl").write_bytes(problem_lines(PROBLEMS))
    common = [
        "capture",
        str(model_folders["gpt2"]),
        "--problems",
        str(tmp_path / "p.jsonl"),
        "--device",
        "cpu",
        "--json",
    ]
    roots = []
    for out, more in (("one", []), ("two", ["--workers", "2", "--engine", "local"])):
        assert run([*common, "--out", str(tmp_path / out), "--random-twin", "3", *more]) == 0
        roots.append(json.loads(capsys.readouterr().out)["root"])
    assert len(set(roots)) == 1
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert RunStore(tmp_path / "one").config["model"].startswith("random twin 3 of sha256:")
    assert run([*common, "--out", str(tmp_path / "no"), "--address", "here:1"]) == 2
    assert "--engine ray" in json.loads(capsys.readouterr().out)["hint"]
    assert not (tmp_path / "no").exists()
