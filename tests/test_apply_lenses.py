"""Lenses applied to runs: a planted word is read where the head can see it, and nothing where a projection hides it."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from fit_runs import planted_run
from pydantic import ValidationError
from test_cli import one_json

from probes.translator import Translator
from workbench.apply import apply_probes
from workbench.applying.lenses import Lenses
from workbench.capture import capture
from workbench.cli import run as cli
from workbench.errors import ConfigError, HashMismatch
from workbench.fitting.job import run_fit
from workbench.fitting.plan import Controls, FitPlan
from workbench.organisms import organism
from workbench.organisms.export import organism_problems
from workbench.reasoners.loading import load_model
from workbench.reports.apply_records import Applied, read_applied

TOP_SITE = "blocks.1.hook_resid_post"
PLAN = FitPlan(sites=["thought"], steps=[0], lambdas=[0.1], probes=["lda"], controls=Controls(shuffles=19, tasks=1))


def problems_of(name):
    honest, _ = organism_problems(organism(name), seed=11, n_calibration=80, n_problems=1)
    return [item.problem for item in honest]


@pytest.fixture(scope="module")
def liar():
    return load_model("organism:liar", device="cpu")


@pytest.fixture(scope="module")
def run(liar, tmp_path_factory):
    out = tmp_path_factory.mktemp("liar") / "run"
    capture(liar, problems_of("liar"), out, sites=["thought", TOP_SITE])
    return out


@pytest.fixture(scope="module")
def fit(liar, run, tmp_path_factory):
    out = tmp_path_factory.mktemp("liar") / "fit"
    run_fit(run, out, PLAN, model=liar)
    return out


def test_the_thought_says_its_own_value_and_the_top_says_the_next(fit, run, tmp_path, capsys):
    out = tmp_path / "read"
    assert cli(["apply", str(fit), str(run), "--out", str(out), "--model", "organism:liar", "--json"]) == 0
    assert len(one_json(capsys)[0]["probes"]) == len(read_applied(out).probes)
    of = {one.name: one for one in read_applied(out).probes}
    for step in range(3):
        thought, top = f"thought.step{step:04d}", f"{TOP_SITE}.step{step:04d}"
        for seen, blind in (("thought", "thought+1"), ("thought+1", "thought")):
            where = thought if seen == "thought" else top
            read = of[f"{where}.{seen}.logit-lens"]
            assert read.accuracy >= 0.95
            assert read.control <= 0.3
            assert read.interval.low > read.control
            assert of[f"{where}.{blind}.logit-lens"].accuracy <= 0.3
    kept = of["thought.step0000.thought.logit-lens"].fitted
    assert (kept.accuracy, kept.n) == (1.0, of["thought.step0000.thought.lda"].fitted.n)
    assert of["thought.step0000.thought.tuned-lens"].accuracy == 1.0
    assert not any("attn" in one.name for one in of.values() if one.kind == "logit lens"), "no head reads keys"


def test_every_reading_has_its_rivals(fit, run, liar, tmp_path):
    apply_probes(fit, run, tmp_path / "read", model=liar)
    table = pq.read_table(tmp_path / "read" / "readings.parquet").to_pandas()
    assert set(table["kind"]) == {"lda", "logit lens", "tuned lens"}
    for row in table[table["site"] == "thought"].itertuples():
        assert (row.top[0], row.top_scores[0]) == (row.read, row.score)
        assert len(row.top) == len(row.top_scores) == 5
        assert (np.diff(row.top_scores) <= 0).all()
    last = table[(table["site"] == TOP_SITE) & (table["step"] == 3)]
    assert set(last["label"]) == {"thought"}, "nothing is known of a step after the last"


def test_without_the_model_nothing_but_probes_reads(fit, run, tmp_path):
    apply_probes(fit, run, tmp_path / "read")
    assert {one.kind for one in read_applied(tmp_path / "read").probes} == {"lda"}


def share_read(lenses, vectors, truth, kind):
    reader = next(one for one in lenses.at("thought", [(0, 0)]) if one.kind == kind)
    read = [texts[0] for texts in reader.read(vectors).texts]
    return np.mean([one == value for one, value in zip(read, truth, strict=True)])


def test_behind_a_projection_a_lens_reads_nothing_until_a_translator_undoes_it():
    reasoner = load_model("organism:rotated", device="cpu").reasoner
    problems = problems_of("rotated")
    truth = [problem.thoughts[0] for problem in problems]
    vectors = reasoner.run(problems, read=["thought"])["thought"].at(0).numpy()
    tokens = [reasoner.single_token(value) for value in truth]
    wanted = 20 * reasoner.unembedding().numpy()[tokens]
    centre = vectors.mean(axis=0)
    undo, *_ = np.linalg.lstsq(vectors - centre, wanted - wanted.mean(axis=0), rcond=None)
    translator = Translator(undo - np.eye(len(centre)), wanted.mean(axis=0) - centre, centre)
    lenses = Lenses(
        reasoner, lambda label, step: truth, labels=(), translators={("thought", 0): translator}, measured={}
    )
    assert share_read(lenses, vectors, truth, "logit lens") <= 0.3
    assert share_read(lenses, vectors, truth, "tuned lens") >= 0.95


def test_what_a_lens_cannot_name_is_not_known_and_every_visit_is_read_by_itself(liar):
    values = ["atrium", "atrium vault", None, "zeppelin"]
    lenses = Lenses(liar.reasoner, lambda label, step: values, labels=["answer"], translators={}, measured={})
    found = lenses.at("thought", [(2, 0), (2, 1)])
    assert [(one.visit, one.kind) for one in found] == [(0, "logit lens"), (1, "logit lens")]
    names = [asked.name for one in found for asked in one.asked]
    assert len(set(names)) == len(names) == 6
    assert {tuple(asked.known) for one in found for asked in one.asked} == {("atrium", None, None, None)}
    assert lenses.at("thought", [(2, 1)])[0] is found[1]


def test_another_model_and_a_run_that_no_head_reads_are_refused(fit, run, liar, tmp_path):
    with pytest.raises(HashMismatch, match="run is of another model"):
        apply_probes(fit, run, tmp_path / "a", model=replace(liar, fingerprint="sha256:" + "1" * 64))
    strange = planted_run(tmp_path / "run", n=120, n_steps=1)
    run_fit(strange, tmp_path / "fit", PLAN)
    zero = replace(liar, fingerprint="sha256:" + "0" * 64)
    with pytest.raises(ConfigError, match="head reads no vectors of this run"):
        apply_probes(tmp_path / "fit", strange, tmp_path / "b", model=zero)


def test_changed_lenses_are_refused(fit, run, liar, tmp_path):
    mine = shutil.copytree(fit, tmp_path / "fit")
    data = bytearray((mine / "texts.safetensors").read_bytes())
    data[-1] ^= 1
    (mine / "texts.safetensors").write_bytes(data)
    with pytest.raises(HashMismatch, match="tuned lenses changed"):
        apply_probes(mine, run, tmp_path / "a", model=liar)


def test_no_accuracy_stands_alone():
    plain = {"name": "x", "n_read": 2, "n": 2, "n_groups": 2, "accuracy": 1.0, "majority": 0.5, "shuffled": 0.5}
    with pytest.raises(ValidationError, match="without its interval"):
        Applied(**plain, interval=None)
    assert Applied(**plain, interval=[0.2, 1.0]).control == 0.5
