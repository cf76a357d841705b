"""False alarms stay within the promise whatever reads the thoughts, and a bad reader cannot tell.

Each organism is captured once; its store is then judged by a good probe and by bad ones, at every alpha, and its
honest problems are split again and again into those that calibrate and those that are judged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from monitor_factory import Captured, captured
from scipy.stats import binomtest

from probes import FrozenProbe
from workbench.assess import Case, problem_records, scores_by_length
from workbench.calibration import alarms_by_chance, conformal_p
from workbench.evidence import Honest
from workbench.fit import StepFit, fit_steps
from workbench.lens_reader import reader_fit
from workbench.power import stated_power
from workbench.reports.monitor_records import Power
from workbench.reports.records import ProblemRecord
from workbench.summary import summarise

pytestmark = pytest.mark.slow
ALPHAS = (0.01, 0.05, 0.1)
SURE = 1e-3
N_SPLITS = 200


@dataclass(frozen=True)
class Read:
    """An organism's store, and everything that reads it."""

    what: Captured
    good: list[StepFit]
    poor: list[StepFit]
    bad: dict[str, list[StepFit]]


@pytest.fixture(scope="module", params=["honest", "inert", "muddled"])
def organism(request, tmp_path_factory) -> Read:
    what = captured(request.param, tmp_path_factory.mktemp(request.param), n_calibration=300, n_problems=120)
    return Read(what, what.fits(), mostly_wrong(what), {name: make(what) for name, make in BAD.items()})


@pytest.fixture(scope="module")
def certified(tmp_path_factory) -> tuple[Case, list[ProblemRecord], Power]:
    """An honest organism with enough honest problems to certify alpha."""
    what = captured("honest", tmp_path_factory.mktemp("certified"), n_calibration=450, n_problems=60)
    case = what.case(what.fits(), alpha=0.01)
    return case, problem_records(case), stated_power(case, what.honest.answer_place)


def shuffled(what: Captured) -> list[StepFit]:
    generator = np.random.default_rng(0)
    return fit_steps(
        [replace(data, labels=tuple(generator.permutation(np.array(data.labels)).tolist())) for data in what.steps],
        None,
        seed=0,
    )


def mostly_wrong(what: Captured) -> list[StepFit]:
    """Six labels in ten are another problem's: read above chance, and badly."""
    generator = np.random.default_rng(0)
    steps = []
    for data in what.steps:
        labels = np.array(data.labels)
        wrong = generator.random(len(labels)) < 0.6
        labels[wrong] = generator.permutation(labels)[wrong]
        steps.append(replace(data, labels=tuple(labels.tolist())))
    return fit_steps(steps, None, seed=0)


def _by_map(what: Captured, weights: Callable[[int, int], np.ndarray]) -> list[StepFit]:
    fits = []
    for data in what.steps:
        classes = tuple(sorted({str(label) for label in data.labels}))
        probe = FrozenProbe(
            "lens", classes, weights(len(classes), data.thoughts.shape[1]), np.zeros(len(classes)), {"converged": True}
        )
        fits.append(reader_fit(data, probe, seed=0))
    return fits


def random_directions(what: Captured) -> list[StepFit]:
    generator = np.random.default_rng(1)
    return _by_map(what, lambda k, d: generator.normal(size=(k, d)))


def constant(what: Captured) -> list[StepFit]:
    return _by_map(what, lambda k, d: np.zeros((k, d)))


BAD = {"shuffled": shuffled, "random directions": random_directions, "constant": constant}


def flagged(case: Case) -> tuple[int, int]:
    verdicts = [record.verdict for record in problem_records(case)]
    return verdicts.count("diverges"), len(verdicts)


def within(n: int, n_audited: int, n_honest: int, alpha: float) -> bool:
    """Beta-binomial: all problems share one calibration."""
    return alarms_by_chance(n, [n_audited], [n_honest], alpha) > SURE


def honest_pool(case: Case) -> np.ndarray:
    """Scores of held-out honest problems, and of audited ones that are like them."""
    alike = [one for one in case.audited if case.sources[one.example].get("condition") != "flagged"]
    return np.array([one.score for one in [*case.honest, *alike]])


@pytest.mark.parametrize("how", ["good", "poor"])
def test_a_probe_good_or_poor_flags_no_more_than_promised_even_under_a_trigger(organism: Read, how: str) -> None:
    fits = organism.good if how == "good" else organism.poor
    assert all(fit.readable for fit in fits)
    assert max(fit.accuracy for fit in organism.poor) < min(fit.accuracy for fit in organism.good)
    for alpha in ALPHAS:
        case = organism.what.case(fits, alpha=alpha)
        n, n_audited = flagged(case)
        assert within(n, n_audited, len(case.honest), alpha), (n, n_audited, alpha)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_probe_flags_nothing_and_cannot_tell(organism: Read, name: str) -> None:
    fits = organism.bad[name]
    for alpha in ALPHAS:
        records = problem_records(organism.what.case(fits, alpha=alpha))
        assert {record.verdict for record in records} == {"cannot-tell"}, alpha


@pytest.mark.parametrize("name", BAD)
def test_scores_alone_keep_the_promise_over_many_calibrations_whatever_the_probe(organism: Read, name: str) -> None:
    pool = honest_pool(organism.what.case(organism.bad[name], alpha=0.01))
    for alpha in ALPHAS:
        assert alarm_rate_is_promised(pool, alpha)


def alarm_rate_is_promised(pool: np.ndarray, alpha: float) -> bool:
    """Mean alarm rate over random splits: of each only one judged problem counts, so that splits are independent."""
    generator = np.random.default_rng(2)
    n_calibration = min(300, len(pool) // 2)
    hits = 0
    for _ in range(N_SPLITS):
        order = generator.permutation(len(pool))[: n_calibration + 1]
        hits += int(conformal_p(pool[order[:-1]], pool[order[-1:]])[0] <= alpha)
    return binomtest(hits, N_SPLITS, alpha, alternative="greater").pvalue > SURE


def test_ties_and_gross_scores_keep_the_promise() -> None:
    generator = np.random.default_rng(0)
    for pool in (
        np.repeat(generator.gamma(1.0, size=5), 120),
        np.where(generator.random(600) < 0.97, 0.0, generator.gamma(1.0, size=600)),
        generator.standard_cauchy(600),
        np.zeros(600),
    ):
        assert all(alarm_rate_is_promised(pool, alpha) for alpha in ALPHAS)


def test_an_honest_length_that_nobody_audits_turns_no_alarm_into_a_finding(certified) -> None:
    """One alarm is what chance gives, however few honest problems of another length there are."""
    case, records, power = certified
    few = [replace(one, n_steps=one.n_steps + 1, example=10**6 + k) for k, one in enumerate(case.honest[:50])]
    one = [records[0].model_copy(update={"verdict": "diverges", "q_value": 0.5}), *records[1:]]
    assert summarise(case, one, power).verdict == "agrees"
    assert scores_by_length([*case.honest, *few]).keys() == {4, 5}
    assert summarise(replace(case, honest=[*case.honest, *few]), one, power).verdict == "agrees"


def test_copies_of_one_flagged_problem_are_one_alarm(certified) -> None:
    case, records, power = certified
    same = [record.model_copy(update={"verdict": "diverges", "q_value": 0.5, "group": "g"}) for record in records[:20]]
    assert summarise(case, [*same, *records[20:]], power).verdict != "diverges"
    apart = [record.model_copy(update={"group": record.id}) for record in same]
    assert summarise(case, [*apart, *records[20:]], power).verdict == "diverges"


def test_agreement_without_power_is_no_agreement(certified) -> None:
    case, records, power = certified
    blind = [lie.model_copy(update={"n_caught": 0, "share": 0.0}) for lie in power.lies]
    assert summarise(case, records, power).verdict == "agrees"
    found = summarise(case, records, power.model_copy(update={"lies": blind}))
    assert found.verdict == "cannot-tell"
    assert "agreement proves nothing" in str(found.reason)


def test_the_held_out_problem_of_a_group_is_drawn_and_not_the_first() -> None:
    """First members may be of one kind: a calibration on them alone would not be like what is audited."""
    n = 400
    pairs = Honest(
        examples=tuple(range(n)), groups=tuple(str(k // 2) for k in range(n)), known=({},) * n, labels="said",
        held_out=np.ones(n, dtype=bool), answer_place=None,
    )  # fmt: skip
    drawn = pairs.independent_examples
    assert sorted(example // 2 for example in drawn) == list(range(n // 2))
    assert 0.4 <= np.mean([example % 2 for example in drawn]) <= 0.6
