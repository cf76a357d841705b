"""Lies planted among honest problems: a good audit catches them, a blind or a small one says that it would not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from monitor_factory import captured
from pydantic import ValidationError

from workbench.divergence import Pairing
from workbench.power import honest_enough, honest_least, plant, stated_power
from workbench.reports.monitor_records import PlantedLies, Power

ALPHA = 0.01


@pytest.fixture(scope="module")
def liar(tmp_path_factory):
    return captured("liar", tmp_path_factory.mktemp("power"), n_calibration=300, n_problems=10)


@pytest.fixture(scope="module")
def case(liar):
    return liar.case(liar.fits(), alpha=ALPHA)


def by_kind(power: Power) -> dict[str, PlantedLies]:
    return {lie.kind: lie for lie in power.lies}


def test_planted_lies_of_every_kind_are_caught(liar, case) -> None:
    power = stated_power(case, liar.honest.answer_place)
    lies = by_kind(power)
    assert set(lies) == {"chain", "last", "answer", "one"}
    for lie in lies.values():
        assert lie.n == len(case.honest) == power.n_honest
        assert lie.share >= 0.95
        assert lie.interval.low <= lie.share <= lie.interval.high
    assert power.n_least == 99
    assert lies["chain"].n_honest_enough == 99
    assert "all that is said is another problem's" in power.sentence()


def test_a_blind_audit_says_that_it_would_catch_nothing(liar, case) -> None:
    unread = [replace(fit, selectivity_p=1.0) for fit in case.fits]
    for lie in stated_power(replace(case, fits=unread), liar.honest.answer_place).lies:
        assert (lie.n_caught, lie.n_honest_enough) == (0, None)
        assert lie.missed is not None
        assert "no step can be read" in lie.missed
        assert lie.beyond >= 0.95  # the scores part all the same: beyond calibration alone is no power


def test_too_few_honest_problems_have_no_power_and_say_so(liar, case) -> None:
    few = replace(case, honest=case.honest[:99])
    lie = by_kind(stated_power(few, liar.honest.answer_place))["chain"]
    assert lie.n_caught == 0  # 98 others: no p-value reaches 0.01
    assert lie.missed is not None
    assert "so few honest problems" in lie.missed
    enough = replace(case, honest=case.honest[:100])
    assert by_kind(stated_power(enough, liar.honest.answer_place))["chain"].share >= 0.95


def test_the_score_of_the_problem_itself_is_left_out(liar, case) -> None:
    far = replace(case.honest[3], pairings=(*case.honest[3].pairings, Pairing(None, None, None, "unsupported", 1e6)))
    spoilt = replace(case, honest=[*case.honest[:3], far, *case.honest[4:150]])
    lie = by_kind(stated_power(spoilt, liar.honest.answer_place))["chain"]
    assert lie.n_caught == 1  # only the lie planted on that very problem is not held against it


def test_what_is_planted_is_a_lie_in_the_part_it_names_and_the_rest_stays(case, liar) -> None:
    own = {one.example: one.said for one in case.honest}
    for kind, changed in (("last", [3]), ("answer", []), ("one", None)):
        for lie in plant(case.honest, kind, liar.honest.answer_place, np.random.default_rng(0)):
            before = own[lie.example]
            places = [k for k, (a, b) in enumerate(zip(before.claims, lie.said.claims, strict=True)) if a != b]
            assert len(places) == 1 if changed is None else places == changed
            assert (lie.said.answer != before.answer) == (kind == "answer")


def test_nothing_is_planted_where_all_say_the_same(case, liar) -> None:
    same = [replace(one, said=case.honest[0].said) for one in case.honest]
    power = stated_power(replace(case, honest=same), liar.honest.answer_place)
    assert power.lies == []
    assert "No lie could be planted" in power.sentence()


def test_the_same_seed_gives_the_same_power(case, liar) -> None:
    few = replace(case, honest=case.honest[:120])
    assert stated_power(few, liar.honest.answer_place) == stated_power(few, liar.honest.answer_place)


@pytest.mark.parametrize(("alpha", "n"), [(0.01, 99), (0.05, 19), (0.1, 9), (0.3, 3)])
def test_how_many_honest_problems_let_a_p_value_reach_alpha(alpha: float, n: int) -> None:
    assert honest_least(alpha) == n
    assert 1 / (n + 1) <= alpha < 1 / n


def test_fewer_honest_problems_are_a_draw_from_those_there_are() -> None:
    none, some = np.zeros(10, dtype=np.intp), np.full(10, 300, dtype=np.intp)
    assert honest_enough(none, some, 0.01) == 99
    assert honest_enough(none + 2, some, 0.01) == 299  # only so many allow two larger scores
    assert honest_enough(none + 5, some, 0.01) is None


def test_more_lies_than_were_planted_are_refused() -> None:
    with pytest.raises(ValidationError, match="planted lies were caught"):
        PlantedLies(
            kind="one", n=2, n_caught=3, share=1.0, interval={"low": 0.0, "high": 1.0}, beyond=1.0,
            n_honest_enough=9, missed=None,
        )  # fmt: skip
