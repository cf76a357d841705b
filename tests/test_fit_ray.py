"""A fit on a Ray cluster of two machines: the bytes of one process, also when a machine is killed in the middle."""

from functools import partial

import engine_factory as factory
import pytest
from fit_runs import planted_run
from test_engines import begun, soon
from test_ray import _machines_find_the_workers, cluster, engine, kill, pytestmark, second  # noqa: F401

from workbench.capture import capture
from workbench.engines import Engine
from workbench.errors import DataQuality
from workbench.fitting.job import run_fit
from workbench.fitting.plan import FitPlan
from workbench.reasoners.loading import load_model
from workbench.tasks import Rooms

PLAN = FitPlan(lambdas=[0.1], probes=["logistic", "lda"])
N_UNITS = 7
"""Two sites at three steps, and the words of the prompts."""


class Noting(Engine):
    """Another engine, whose workers note what they begin; from the third unit on they wait while `hold` is there."""

    def __init__(self, inner, notes):
        self.inner, self.notes = inner, notes

    @property
    def in_process(self):
        return self.inner.in_process

    def run(self, make_worker, tasks, *, stop=None):
        return self.inner.run(partial(factory.noted, self.notes, make_worker, 2), tasks, stop=stop)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != ".lock"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return planted_run(tmp_path_factory.mktemp("planted") / "run")


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "fit"
    run_fit(run, out, PLAN)
    return contents(out)


def test_a_fit_on_two_machines_has_the_bytes_of_one_process(run, whole, tmp_path, engine):  # noqa: F811
    run_fit(run, tmp_path / "fit", PLAN, engine=Noting(engine, tmp_path))
    assert contents(tmp_path / "fit") == whole
    assert begun(tmp_path) == dict.fromkeys(range(N_UNITS), 1)
    assert len({name.split("-")[2] for name in factory.notes_of(tmp_path, "task")}) == 2, "each did its share"


def test_a_machine_killed_in_the_middle_costs_the_unit_that_it_had(
    run, whole, tmp_path, cluster, second, engine  # noqa: F811
):  # fmt: skip
    (tmp_path / "hold").touch()
    told = []

    def kill_the_second(stage, done, planned):
        told.append(done)
        if len(told) == 3:  # nothing, one unit, two units
            assert soon(lambda: set(begun(tmp_path)) == {0, 1, 2, 3})  # both are in the middle of one
            kill(cluster, second)
            (tmp_path / "hold").unlink()

    run_fit(run, tmp_path / "fit", PLAN, engine=Noting(engine, tmp_path), progress=kill_the_second)
    assert contents(tmp_path / "fit") == whole
    assert len(told) == 1 + N_UNITS
    times = begun(tmp_path)
    assert sorted(times) == list(range(N_UNITS))
    assert sorted(times.values()) == [1] * (N_UNITS - 1) + [2]
    assert max(times, key=times.get) in {2, 3}


def test_text_probes_and_the_twin_are_made_by_workers_that_load_the_model(tmp_path, engine):  # noqa: F811
    model = load_model("organism:honest", device="cpu")
    capture(model, Rooms(3).make(60, seed=1), tmp_path / "run", sites=["thought"])
    plan = FitPlan(steps=[0, 1], lambdas=[0.1], duplicates="merge")
    record = run_fit(tmp_path / "run", tmp_path / "one", plan, model=model)
    run_fit(tmp_path / "run", tmp_path / "two", plan, model=model, engine=engine)
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    assert record.twin_root is not None
    assert len(record.text) == 2


def test_vectors_that_no_probe_can_be_fitted_to_are_named_as_by_one_process(tmp_path, engine):  # noqa: F811
    large = planted_run(tmp_path / "large", n=80, strength=1e25, empty=["blocks.0.hook_resid_post"])
    found = []
    for name, where in (("one", None), ("two", engine)):
        with pytest.raises(DataQuality) as caught:
            run_fit(large, tmp_path / name, PLAN, engine=where)
        found.append(str(caught.value))
    assert found[0] == found[1]
    assert f"{large}, field thought, step 0: no probe can be fitted" in found[0]
