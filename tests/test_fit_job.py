"""The fit job: what was planted is found and beats its controls, what was not is not; a killed job loses nothing."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT
from fit_runs import TWIN, WORDS, planted_problems, planted_run

from probes import load_probes
from workbench.engines import LocalEngine
from workbench.errors import ConfigError, HashMismatch
from workbench.fitting.job import run_fit
from workbench.fitting.plan import Controls, FitPlan
from workbench.reports.fit_records import read_fit
from workbench.store import RunStore

EMPTY = "blocks.0.hook_resid_post"
OUTPUTS = ("fit.json", "cells.csv", "cells.parquet", "probes.safetensors", "probes.json", "report.html")


def contents(folder):
    return {name: (folder / name).read_bytes() for name in OUTPUTS}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return planted_run(tmp_path_factory.mktemp("planted") / "run", n=320, empty=[EMPTY])


PLAN = FitPlan(labels=["thought", "answer"], probes=["logistic", "lda", "ridge", "mean-difference"],
               lambdas=[0.1, 0.01])  # fmt: skip


@pytest.fixture(scope="module")
def fitted(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("fit") / "out"
    return run_fit(run, out, PLAN), out


def cell_of(record, site, step, label="thought", probe="logistic"):
    return next(c for c in record.fits if c.key == (site, step, label, probe))


def test_planted_values_are_read_and_beat_every_control(fitted):
    record, _ = fitted
    for step in range(3):
        for probe in PLAN.probes:
            cell = cell_of(record, "thought", step, probe=probe)
            assert cell.accuracy > 0.95, cell.key
            assert cell.readable
            assert cell.corrected_p == pytest.approx(1 / 101)
            assert cell.shuffled == pytest.approx(0.25, abs=0.06)
            assert cell.input_only < 0.4
        cell = cell_of(record, "thought", step)
        assert cell.selectivity > 0.3
        assert cell.mdl_compression > 1.5
        assert cell.log_loss < 0.3
        assert [point.n_fit for point in cell.learning_curve] == sorted(p.n_fit for p in cell.learning_curve)
        assert cell.learning_curve[-1].accuracy == cell.accuracy
        assert sum(b.n for b in cell.reliability) == cell.n
    assert cell_of(record, "thought", 0).previous_step is None
    assert cell_of(record, "thought", 2).previous_step < 0.4
    assert cell_of(record, "thought", 2).position_0 < 0.4


def test_where_nothing_was_planted_nothing_is_found(fitted):
    record, _ = fitted
    cells = [c for c in record.fits if c.site == EMPTY]
    assert len(cells) == 24
    assert not any(c.readable for c in cells)
    assert min(c.corrected_p for c in cells) > 0.05
    assert np.mean([c.accuracy for c in cells]) == pytest.approx(0.25, abs=0.05)
    assert max(c.mdl_compression for c in cells if c.mdl_compression) < 1.1


def test_one_column_has_one_answer_wherever_it_is_asked(fitted):
    record, _ = fitted
    assert cell_of(record, "thought", 2).accuracy == cell_of(record, "thought", 2, "answer").accuracy
    assert cell_of(record, "thought", 1, "answer").accuracy < 0.4, "the answer is not in thought 1"


def test_saved_probes_read_as_they_were_scored(fitted, run):
    record, out = fitted
    probes = load_probes((out / "probes.safetensors").read_bytes(), (out / "probes.json").read_bytes())
    assert len(probes) == record.n_cells
    probe = probes["thought.step0001"]
    store = RunStore(run)
    rows = store.select("thought", step=1)
    truth = [store.problems[k]["problem"]["thoughts"][1] for k in rows.example]
    read = np.array(probe.predict(rows.vectors)) == np.array(truth)
    assert read.mean() > 0.95
    scores = rows.vectors.astype(np.float64) @ probe.coef.T + probe.intercept
    np.testing.assert_allclose(np.exp(probe.log_proba(rows.vectors)).sum(axis=1), 1.0)
    assert (scores.argmax(axis=1) == probe.log_proba(rows.vectors).argmax(axis=1)).all()
    assert probe.metadata["accuracy"] == cell_of(record, "thought", 1).accuracy
    assert probe.metadata["model"] == store.config["model"]
    assert probe.classes == WORDS[:4]


def test_the_same_again_has_nothing_to_do_and_changes_nothing(fitted, run):
    record, out = fitted
    before = contents(out)
    seen = []
    assert run_fit(run, out, PLAN, progress=lambda *told: seen.append(told)) == record
    assert contents(out) == before
    assert seen == []


def test_another_plan_does_not_go_on_in_the_same_folder(fitted, run):
    _, out = fitted
    with pytest.raises(ConfigError, match="other settings") as caught:
        run_fit(run, out, FitPlan(seed=5))
    assert "plan" in caught.value.field


def test_a_folder_of_somebody_else_is_not_touched(run, tmp_path):
    (tmp_path / "thesis.tex").write_text("dear reader")
    with pytest.raises(ConfigError, match="not empty"):
        run_fit(run, tmp_path, PLAN)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_probes_that_changed_are_refused(run, tmp_path):
    plan = FitPlan(sites=["thought"], steps=[0], lambdas=[0.1])
    run_fit(run, tmp_path / "out", plan)
    pack = tmp_path / "out" / "probes.safetensors"
    data = bytearray(pack.read_bytes())
    data[-1] ^= 1
    pack.write_bytes(bytes(data))
    with pytest.raises(HashMismatch, match="changed"):
        run_fit(run, tmp_path / "out", plan)


def test_several_workers_give_the_same_bytes(fitted, run, tmp_path):
    _, out = fitted
    run_fit(run, tmp_path / "out", PLAN, engine=LocalEngine(workers=2))
    assert contents(tmp_path / "out") == contents(out)


KILLED = """
import sys
from pathlib import Path
from workbench.fitting import parts
from workbench.fitting.job import run_fit
from workbench.fitting.plan import FitPlan
import os, signal
after = int(sys.argv[3])
written = 0
def write_file(path, data, read_only=False, write=parts.write_file):
    global written
    written += 1
    if written > after:
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, data, read_only=read_only)
parts.write_file = write_file
run_fit(Path(sys.argv[1]), Path(sys.argv[2]), FitPlan.model_validate_json(sys.argv[4]))
"""


@pytest.mark.parametrize("after", [0, 1, 4, 5, 14])
def test_a_killed_job_goes_on_where_it_stopped_and_ends_with_the_same_bytes(run, tmp_path, after):
    plan = FitPlan(lambdas=[0.1])
    run_fit(run, tmp_path / "whole", plan)
    arguments = [sys.executable, "-c", KILLED, str(run), str(tmp_path / "killed"), str(after), plan.model_dump_json()]
    died = subprocess.run(arguments, cwd=ROOT, capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    finished = len(list((tmp_path / "killed" / "parts").glob("?????.json")))
    assert finished == after // 5  # files of a part
    seen = []
    run_fit(run, tmp_path / "killed", plan, progress=lambda stage, done, planned: seen.append((stage, done)))
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert not (tmp_path / "killed" / "parts").exists()
    units = 7
    assert len(seen) == 1 + units - finished, "no finished unit is done twice"


def test_ctrl_c_keeps_what_is_finished(run, tmp_path):
    arguments = [sys.executable, "-m", "workbench", "fit", str(run), "--out", str(tmp_path / "out")]
    job = subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.PIPE)
    parts = tmp_path / "out" / "parts"
    for _ in range(600):
        if list(parts.glob("*.json")) or job.poll() is not None:
            break
        time.sleep(0.05)
    os.kill(job.pid, signal.SIGINT)
    _, told = job.communicate(timeout=60)
    if job.returncode != 0:  # it may have been quicker
        assert job.returncode == 130
        assert b"resume" in told
        assert list(parts.glob("*.json"))
    run_fit(run, tmp_path / "out", FitPlan())
    run_fit(run, tmp_path / "whole", FitPlan())
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_label_that_cannot_be_scored_is_undefined_and_says_why(tmp_path):
    problems = planted_problems(160, 3)
    for k, problem in enumerate(problems):
        problem["thoughts"][1] = "ash"
        problem["thoughts"][2] = "ash" if k % 2 else None
    record = run_fit(planted_run(tmp_path / "run", problems=problems), tmp_path / "out", FitPlan())
    broken = cell_of(record, "thought", 1)
    assert broken.accuracy is None
    assert "two are needed" in broken.undefined_because
    assert cell_of(record, "thought", 0).accuracy > 0.9
    assert record.n_undefined == 4


def test_a_twin_of_other_problems_is_refused(run, tmp_path):
    other = planted_run(tmp_path / "twin", n=64, config=TWIN)
    with pytest.raises(ConfigError, match="other problems"):
        run_fit(run, tmp_path / "out", PLAN, twin=other)


def test_a_run_of_the_model_itself_is_no_twin(run, tmp_path):
    with pytest.raises(ConfigError, match="not a run by the random twin"):
        run_fit(run, tmp_path / "out", PLAN, twin=run)


def test_the_twin_stands_beside_every_cell(run, tmp_path):
    twin = planted_run(tmp_path / "twin", n=320, strength=0.0, config=TWIN)
    record = run_fit(run, tmp_path / "out", FitPlan(sites=["thought"]), twin=twin)
    assert all(c.twin == pytest.approx(0.25, abs=0.12) for c in record.fits)
    assert record.twin_root == RunStore(twin).root


def test_more_shuffles_sharpen_the_p_value(run, tmp_path):
    plan = FitPlan(sites=["thought"], steps=[0], lambdas=[0.1], controls=Controls(shuffles=400, tasks=1))
    cell = run_fit(run, tmp_path / "out", plan).fits[0]
    assert cell.n_shuffles == 400
    assert cell.corrected_p == pytest.approx(1 / 401)


def test_half_precision_stores_are_read(tmp_path):
    run = planted_run(tmp_path / "run", n=200, dtype="float16")
    assert cell_of(run_fit(run, tmp_path / "out", FitPlan()), "thought", 1).accuracy > 0.9
    assert json.loads((tmp_path / "out" / "fit.json").read_text())["schema"] == "neuralese-fit/2"
    assert read_fit(tmp_path / "out").n_undefined == 0
