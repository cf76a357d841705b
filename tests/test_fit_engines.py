"""Engines under a fit: vectors that nothing can be learned from are one clear error, whoever does the work."""

import pytest
from fit_runs import TWIN, planted_run

from probes.answers import answer
from probes.errors import ProbeDataError, ProbeFileError
from workbench.cli import run as cli
from workbench.engines import LocalEngine
from workbench.errors import DataQuality
from workbench.fitting.job import run_fit
from workbench.fitting.plan import FitPlan

PLAN = FitPlan(steps=[1], lambdas=[0.1], probes=["lda"])
TOO_LARGE = 1e25
"""A number of float32 whose square is none."""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Values of one site are finite, and too large to be squared."""
    folder = tmp_path_factory.mktemp("large") / "run"
    return planted_run(folder, n=80, strength=TOO_LARGE, empty=["blocks.0.hook_resid_post"])


def told(error):
    return error.message, error.path, error.field, error.hint


def test_what_no_probe_can_be_fitted_to_is_named_by_every_engine(large, tmp_path):
    found = []
    for workers in (1, 2):
        with pytest.raises(DataQuality, match="no probe can be fitted") as caught:
            run_fit(large, tmp_path / f"out{workers}", PLAN, engine=LocalEngine(workers))
        found.append(told(caught.value))
        assert not (tmp_path / f"out{workers}" / "fit.json").exists()
    assert found[0] == found[1]
    assert found[0][1:3] == (str(large), "thought, step 1")


@pytest.mark.parametrize("kind", [ProbeDataError, ProbeFileError])
def test_the_run_is_named_that_holds_the_vectors(tmp_path, monkeypatch, kind):
    narrow = 7

    def refuses(matrix, questions, settings):
        if matrix.fit.shape[1] == narrow:
            raise kind("nothing to learn")
        return answer(matrix, questions, settings)

    monkeypatch.setattr("workbench.fitting.worker.answer", refuses)
    run = planted_run(tmp_path / "run", n=80)
    twin = planted_run(tmp_path / "twin", n=80, d=narrow, config=TWIN)
    with pytest.raises(DataQuality, match="nothing to learn") as caught:
        run_fit(run, tmp_path / "out", PLAN, twin=twin)
    assert (caught.value.path, caught.value.field) == (str(twin), "blocks.0.hook_resid_post, step 1")


def test_a_person_reads_one_line_and_what_to_do(large, tmp_path, capsys):
    (tmp_path / "plan.toml").write_text('sites = ["thought"]\nsteps = [1]\nprobes = ["ridge"]\nlambdas = [0.1]\n')
    arguments = ["fit", str(large), "--out", str(tmp_path / "out"), "--plan", str(tmp_path / "plan.toml")]
    assert cli(arguments) == 2
    said = capsys.readouterr().err
    assert "thought, step 1" in said
    assert "Leave this site or step out" in said
    assert "Traceback" not in said


def test_the_other_sites_of_the_same_run_are_fitted(large, tmp_path):
    plan = PLAN.model_copy(update={"sites": ["blocks.*"]})
    assert run_fit(large, tmp_path / "out", plan).n_undefined == 0
