"""Probes applied to runs: planted values are read, what was learned from is not scored, wrong runs are refused."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from fit_runs import planted_problems, planted_run

from workbench.apply import apply_probes
from workbench.errors import ConfigError, HashMismatch
from workbench.fitting.job import run_fit
from workbench.fitting.plan import FitPlan
from workbench.jsonio import read_json
from workbench.store import RunStore


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return planted_run(tmp_path_factory.mktemp("planted") / "run", n=240)


@pytest.fixture(scope="module")
def fitted(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("fit") / "out"
    return run_fit(run, out, FitPlan(sites=["thought"], lambdas=[0.1], probes=["logistic", "lda"])), out


def test_the_same_run_gives_the_accuracy_of_the_fit_and_leaves_out_what_was_learned_from(fitted, run, tmp_path):
    record, out = fitted
    applied = {one.name: one for one in apply_probes(out, run, tmp_path / "applied")}
    assert set(applied) == {f"thought.step{s:04d}{kind}" for s in range(3) for kind in ("", ".thought.lda")}
    for cell in record.fits:
        one = applied[f"thought.step{cell.step:04d}" + (".thought.lda" if cell.probe == "lda" else "")]
        assert (one.accuracy, one.n, one.n_read) == (cell.accuracy, cell.n, 240)
        assert one.shuffled == cell.shuffled
        assert one.majority < 0.5


def test_every_vector_has_a_reading(fitted, run, tmp_path):
    _, out = fitted
    apply_probes(out, run, tmp_path / "applied")
    table = pq.read_table(tmp_path / "applied" / "readings.parquet").to_pandas()
    assert len(table) == 240 * 3 * 2
    step = table[(table.probe == "thought.step0002")]
    truth = {p["problem"]["id"]: p["problem"]["thoughts"][2] for p in RunStore(run).problems}
    assert (step["id"].map(truth) == step.known).all()
    assert (step.read == step.known).mean() > 0.95
    assert step.score.between(0.25, 1.0).all()


def test_a_second_capture_of_the_same_problems_leaves_out_what_was_learned_from(fitted, run, tmp_path):
    """More sites make another run; its problems are no news to the probes."""
    record, out = fitted
    problems = [item["problem"] for item in RunStore(run).problems]
    again = planted_run(tmp_path / "again", problems=[p | {"group": "other"} for p in problems], config={"again": True})
    assert RunStore(again).root != record.run_root
    n = {cell.step: cell.n for cell in record.fits}
    assert {one.n for one in apply_probes(out, again, tmp_path / "a")} == set(n.values())


def test_another_run_is_scored_whole_and_one_without_values_is_read_only(fitted, tmp_path):
    _, out = fitted
    new = [problem | {"prompt": f"again {problem['prompt']}"} for problem in planted_problems(64, 3)]
    other = planted_run(tmp_path / "other", problems=new)
    assert {one.n for one in apply_probes(out, other, tmp_path / "a")} == {64}
    problems = planted_problems(64, 3)
    unknown = planted_run(tmp_path / "unknown", problems=problems)
    for record in problems:
        del record["thoughts"], record["answer"]
    blind = planted_run(tmp_path / "blind", problems=[p | {"thoughts": [None] * 3} for p in problems])
    assert RunStore(unknown).root != RunStore(blind).root
    applied = apply_probes(out, blind, tmp_path / "b")
    assert {(one.n_read, one.n, one.accuracy, one.interval) for one in applied} == {(64, 0, None, None)}
    assert read_json(tmp_path / "b" / "apply.json")["probes"][0]["accuracy"] is None


def test_vectors_that_hold_nothing_are_read_at_chance(fitted, tmp_path):
    _, out = fitted
    noise = planted_run(tmp_path / "noise", n=400, strength=0.0)
    assert all(abs(one.accuracy - 0.25) < 0.08 for one in apply_probes(out, noise, tmp_path / "a"))


def test_another_model_is_refused(fitted, tmp_path):
    _, out = fitted
    other = planted_run(tmp_path / "other", n=64, config={"model": "sha256:" + "1" * 64})
    with pytest.raises(HashMismatch, match="another model") as caught:
        apply_probes(out, other, tmp_path / "a")
    assert caught.value.field == "model"
    assert not (tmp_path / "a").exists()


def test_a_run_without_the_sites_or_of_another_width_is_refused(fitted, tmp_path):
    _, out = fitted
    with pytest.raises(ConfigError, match="none of the probes' sites"):
        apply_probes(out, planted_run(tmp_path / "sites", n=64, sites=["other"]), tmp_path / "a")
    with pytest.raises(ConfigError, match="another width"):
        apply_probes(out, planted_run(tmp_path / "wide", n=64, d=20), tmp_path / "b")
    assert list((tmp_path / "b").iterdir()) == [], "nothing half written"


def test_vectors_that_are_not_finite_are_left_out(fitted, tmp_path):
    _, out = fitted
    run = planted_run(tmp_path / "run", n=64, strength=np.inf)
    assert {one.n_read for one in apply_probes(out, run, tmp_path / "a")} == {0}


def test_a_folder_that_holds_other_things_is_not_written_to(fitted, run, tmp_path):
    _, out = fitted
    before = sorted(path.name for path in out.iterdir())
    with pytest.raises(ConfigError, match="other things"):
        apply_probes(out, run, out)
    assert sorted(path.name for path in out.iterdir()) == before
