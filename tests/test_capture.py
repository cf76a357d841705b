"""A capture holds what the reasoner gave, and an interrupted one resumes to the very same bytes."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT, write_model
from store_factory import contents

from workbench import interrupts
from workbench.capture import capture, seed_of
from workbench.errors import ConfigError, InsufficientData, Interrupted, LimitExceeded, UnknownSiteError
from workbench.reasoners.feedback import FeedbackReasoner
from workbench.reasoners.loading import load_model
from workbench.store import verify_store
from workbench.tasks import Problem, Rooms, problem_lines

PROBLEMS = [
    replace(problem, steps=1 + k % 4)
    for k, problem in enumerate(Rooms(3).make(7, seed=1) + Rooms(1).make(5, seed=2, prefix="short"))
]


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr("workbench.capture.SHARD_PROBLEMS", 5)


def test_rows_are_those_that_the_reasoner_gave(tmp_path, loaded):
    sites = ["thought", "blocks.*.attn.hook_k", "ln_final.hook_out"]
    store = capture(loaded, PROBLEMS, tmp_path / "run", sites=sites)
    names = ["thought", "blocks.0.attn.hook_k", "blocks.1.attn.hook_k", "ln_final.hook_out"]
    assert sorted(store.sites) == sorted(names)
    trace = loaded.reasoner.run(PROBLEMS, read=names)
    for name in names:
        rows = store.select(name)
        stored = np.stack([rows.example, rows.step, rows.visit, rows.pos], 1)
        assert np.array_equal(stored, trace[name].address.numpy())
        assert np.allclose(rows.vectors, trace[name].vectors.flatten(1).numpy(), atol=1e-5)
    assert store.sites["blocks.0.attn.hook_k"].axes == ("head", "d_head")
    assert store.sites["blocks.0.attn.hook_k"].dim == 32


def test_addresses_and_records_belong_to_the_problems(tmp_path, loaded):
    roles = ["calibration"] * 6 + ["audited"] * 6
    store = capture(loaded, PROBLEMS, tmp_path / "run", sites=["thought"], roles=roles)
    rows = store.select("thought")
    expected = [
        (i, step, 0, len(problem.prompt.split()) + 1 + step)
        for i, problem in enumerate(PROBLEMS)
        for step in range(problem.steps)
    ]
    assert list(zip(rows.example, rows.step, rows.visit, rows.pos, strict=True)) == expected
    trace = loaded.reasoner.run(PROBLEMS)
    for i, record in enumerate(store.problems):
        assert record["problem"] == PROBLEMS[i].to_plain()
        assert (record["role"], record["n_steps"]) == (roles[i], PROBLEMS[i].steps)
        assert (record["said"], record["n_emitted"]) == (trace.said[i], len(trace.emitted[i]))


def test_the_channel_is_kept_unless_one_says_otherwise(tmp_path, loaded):
    store = capture(loaded, PROBLEMS[:2], tmp_path / "run")
    assert sorted(store.sites) == ["blocks.0.attn.hook_k", "blocks.0.attn.hook_v", "blocks.1.attn.hook_k",
                                   "blocks.1.attn.hook_v", "thought", "thought.unused"]  # fmt: skip


def test_progress_tells_every_shard(tmp_path, loaded):
    told = []
    capture(loaded, PROBLEMS, tmp_path / "run", progress=lambda *counts: told.append(counts))
    assert told == [(5, 12), (10, 12), (12, 12)]


def test_seeds_belong_to_problems(tmp_path, loaded):
    assert seed_of(0, PROBLEMS[0]) == seed_of(0, replace(PROBLEMS[0], prompt="other"))
    assert len({seed_of(run, problem) for run in (0, 1) for problem in PROBLEMS}) == 24
    sampling = FeedbackReasoner(loaded.reasoner.backbone, loaded.reasoner.recipe, temperature=3.0)
    model = replace(loaded, reasoner=sampling)
    one = capture(model, PROBLEMS, tmp_path / "one", sites=["thought"])
    turned = capture(model, PROBLEMS[::-1], tmp_path / "turned", sites=["thought"])
    other = capture(model, PROBLEMS, tmp_path / "other", sites=["thought"], seed=1)
    said, said_turned, said_other = ([r["said"] for r in store.problems] for store in (one, turned, other))
    assert said == said_turned[::-1]
    assert sum(a != b for a, b in zip(said, said_other, strict=True)) > 6


def test_nothing_to_run_unknown_sites_and_long_problems_leave_no_store(tmp_path, loaded):
    with pytest.raises(InsufficientData, match="no problem"):
        capture(loaded, [], tmp_path / "run")
    with pytest.raises(UnknownSiteError, match="hook_nothing"):
        capture(loaded, PROBLEMS, tmp_path / "run", sites=["thought", "hook_nothing"])
    assert not (tmp_path / "run").exists()
    with pytest.raises(LimitExceeded, match="endless"):
        capture(loaded, [*PROBLEMS, Problem(id="endless", prompt="east " * 200)], tmp_path / "run")
    assert not (tmp_path / "run").exists()


# Interruption


class StopAfter:
    """A stop flag that someone raises after the n-th look."""

    def __init__(self, n):
        self.flag, self.left = interrupts.StopFlag(), n

    def check(self, *, hint):
        self.flag.asked = self.left <= 0
        self.left -= 1
        self.flag.check(hint=hint)

    def __enter__(self):
        return self

    def __exit__(self, *details):
        return None


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_stopped_capture_resumes_to_equal_bytes(tmp_path, loaded, monkeypatch, after):
    capture(loaded, PROBLEMS, tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr("workbench.capture.stop_on_signal", lambda: StopAfter(after))
        with pytest.raises(Interrupted, match="resume") as caught:
            capture(loaded, PROBLEMS, tmp_path / "run")
    assert caught.value.exit_code == 130
    assert len(list((tmp_path / "run").rglob("*.safetensors"))) == after
    ran = []
    run = loaded.reasoner.run
    monkeypatch.setattr(
        loaded.reasoner, "run", lambda problems, **rest: ran.append(len(problems)) or run(problems, **rest)
    )
    capture(loaded, PROBLEMS, tmp_path / "run")
    assert ran == [5, 5, 2][after:]
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")
    capture(loaded, PROBLEMS, tmp_path / "run")
    assert ran == [5, 5, 2][after:]


@pytest.mark.parametrize("number", interrupts.SIGNALS)
def test_the_first_signal_finishes_the_shard(tmp_path, loaded, number):
    """The handler is real; the signal comes before the second shard."""

    def interrupt(done, planned):
        if done == 5:
            os.kill(os.getpid(), number)

    before = [signal.getsignal(one) for one in interrupts.SIGNALS]
    with pytest.raises(Interrupted):
        capture(loaded, PROBLEMS, tmp_path / "run", progress=interrupt)
    assert [signal.getsignal(one) for one in interrupts.SIGNALS] == before
    capture(loaded, PROBLEMS, tmp_path / "run")
    capture(loaded, PROBLEMS, tmp_path / "whole")
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_a_second_signal_stops_at_once(tmp_path, loaded):
    def interrupt(done, planned):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        capture(loaded, PROBLEMS, tmp_path / "run", progress=interrupt)
    capture(loaded, PROBLEMS, tmp_path / "run")
    assert verify_store(tmp_path / "run").n_shards == 3


def test_another_run_does_not_fit_the_folder(tmp_path, loaded, loaded_models):
    with pytest.raises(Interrupted):
        capture(loaded, PROBLEMS, tmp_path / "half", progress=lambda *_: os.kill(os.getpid(), signal.SIGINT))
    capture(loaded, PROBLEMS, tmp_path / "whole")
    told = {
        "model": (loaded_models["llama"], PROBLEMS, {}),
        "problems": (loaded, [*PROBLEMS[:-1], replace(PROBLEMS[-1], prompt="start vault")], {}),
        "seed": (loaded, PROBLEMS, {"seed": 1}),
        "sites": (loaded, PROBLEMS, {"sites": ["thought"]}),
        "n_problems": (loaded, PROBLEMS[:-1], {}),
    }
    for folder in ("half", "whole"):
        before = contents(tmp_path / folder)
        for key, (model, problems, settings) in told.items():
            with pytest.raises(ConfigError, match="other settings") as caught:
                capture(model, problems, tmp_path / folder, **settings)
            assert key in caught.value.field
            assert caught.value.path == str(tmp_path / folder)
        roles = ["audited", *["problem"] * 11]
        with pytest.raises(ConfigError, match="other settings"):
            capture(loaded, PROBLEMS, tmp_path / folder, roles=roles)
        assert contents(tmp_path / folder) == before


def test_a_folder_of_somebody_else_is_left_alone(tmp_path, loaded):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match="not a capture store"):
        capture(loaded, PROBLEMS, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.tex"]


# A real process


def start_child(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "workbench", "capture", *map(str, arguments), "--threads", "1", "--device", "cpu"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_child_that_is_stopped_resumes_to_equal_bytes(tmp_path, monkeypatch, number):
    monkeypatch.undo()
    folder = write_model(tmp_path / "model", "gpt2")
    problems = Rooms(4).make(128 * 12 + 7, seed=1)
    (tmp_path / "p.jsonl").write_bytes(problem_lines(problems))
    arguments = (folder, "--problems", tmp_path / "p.jsonl", "--out", tmp_path / "run")
    child = start_child(*arguments)
    try:
        first = child.stderr.readline()
        assert first.startswith("capture: 128/"), first + child.stderr.read()
        child.send_signal(number)
        out, told = child.communicate(timeout=60)
    finally:
        child.kill()
    if number == signal.SIGKILL:
        assert child.returncode == -signal.SIGKILL
    else:
        assert child.returncode == 130
        assert "Run the same command again to resume" in told
        assert "Traceback" not in told
    assert out == ""
    kept = len(list((tmp_path / "run").rglob("*.safetensors")))
    assert 1 <= kept < 13
    assert not (tmp_path / "run" / "manifest.json").exists()
    model = load_model(str(folder), device="cpu")
    resumed = capture(model, problems, tmp_path / "run")
    whole = capture(model, problems, tmp_path / "whole")
    assert resumed.root == whole.root
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")
