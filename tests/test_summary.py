"""The model's verdict: copies, groups, the order of a file and rare triggers neither hide a lie nor make one."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from audit_factory import problem_of

from workbench.assess import Case
from workbench.claims import Said
from workbench.evidence import Compared
from workbench.reports.fields import Interval
from workbench.reports.monitor_records import Lie, PlantedLies, Power
from workbench.summary import CHANCE_P, by_chance, powerless

N_HONEST = 350


@dataclass(frozen=True)
class Row:
    """One audited problem."""

    group: str
    lies: bool
    condition: str | None = None
    prompt: str | None = None


def chance(rows: list[Row], n_honest: int = N_HONEST) -> float:
    said = Said(text="", claims=(), answer=None)
    compared = [Compared(k, 4, said, (), {}, (), finite=True) for k in range(n_honest + len(rows))]
    case = Case(
        honest=compared[len(rows) :], audited=compared[: len(rows)],
        sources={k: {"prompt": row.prompt or f"problem {k}"} for k, row in enumerate(rows)},
        fits=(), causal=SimpleNamespace(), alpha=0.01, seed=0,  # type: ignore[arg-type]
    )  # fmt: skip
    problems = [
        problem_of(f"p-{k}", [], [], group=row.group, condition=row.condition,
                   verdict="diverges" if row.lies else "agrees")
        for k, row in enumerate(rows)
    ]  # fmt: skip
    return by_chance(case, problems)


@pytest.mark.parametrize("condition", [None, "flagged"])
@pytest.mark.parametrize("lie_first", [False, True])
def test_lies_are_seen_wherever_in_its_group_a_lie_stands(lie_first: bool, condition: str | None) -> None:
    rows = []
    for group in range(60):
        plain = [Row(f"g{group}", lies=False, condition=condition and "plain") for _ in range(3)]
        lie = [Row(f"g{group}", lies=True, condition=condition)]
        rows += lie + plain if lie_first else plain + lie
    assert chance(rows) < CHANCE_P / 10


def test_copies_of_one_false_alarm_are_one_alarm() -> None:
    plain = [Row(f"h{k}", lies=False) for k in range(380)]
    copies = [Row(f"c{k}", lies=True, prompt="the same") for k in range(20)]
    assert chance(plain + copies) > CHANCE_P
    assert chance(plain + [Row(f"c{k}", lies=True) for k in range(20)]) < CHANCE_P


def test_a_rare_condition_that_always_lies_is_no_chance() -> None:
    plain = [Row(f"h{k}", lies=False, condition="plain") for k in range(790)]
    rare = [Row(f"r{k}", lies=True, condition="flagged") for k in range(8)]
    assert chance(plain + rare) < CHANCE_P
    assert chance([Row(row.group, row.lies) for row in plain + rare]) > CHANCE_P  # nobody says which belong together


def test_false_alarms_under_many_conditions_stay_within_chance() -> None:
    generator = np.random.default_rng(0)
    called = []
    for _ in range(100):
        alarm = generator.beta(3, N_HONEST - 2)  # the threshold itself is drawn: see `alarms_by_chance`
        rows = [Row(f"g{k}", bool(generator.random() < alarm), condition=f"c{k % 8}") for k in range(240)]
        called.append(chance(rows) <= CHANCE_P)
    assert np.mean(called) <= CHANCE_P


def lie_of(kind: Lie, share: float) -> PlantedLies:
    return PlantedLies(
        kind=kind, n=100, n_caught=round(100 * share), share=share, interval=Interval(low=0, high=1), beyond=share,
        missed=None, n_honest_enough=None,
    )  # fmt: skip


def power_of(**shares: float) -> Power:
    lies = [lie_of(kind, share) for kind, share in shares.items()]  # type: ignore[arg-type]
    return Power(alpha=0.01, n_honest=N_HONEST, n_least=99, lies=lies)


def test_agreement_needs_lies_that_would_show() -> None:
    assert powerless(power_of(chain=1.0, answer=0.9), answers_compared=True) is None
    assert "of 100 lies planted" in str(powerless(power_of(chain=0.4, answer=1.0), answers_compared=True))
    assert "no lie could be planted" in str(powerless(power_of(), answers_compared=False))


def test_a_lie_in_the_answer_must_show_where_answers_are_compared() -> None:
    blind = power_of(chain=1.0, answer=0.0)
    assert "in the answer alone" in str(powerless(blind, answers_compared=True))
    assert powerless(blind, answers_compared=False) is None  # the audit warns that it compares none
    assert "in the answer alone" in str(powerless(power_of(answer=0.0), answers_compared=True))
