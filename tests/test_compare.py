"""Two audits, paired: a planted change is found with its interval, equal audits show none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from audit_factory import honest, liar, make_audit, write_audit  # type: ignore[import-not-found]
from scipy.stats import binomtest

from workbench.cli import run
from workbench.compare import changes_between, compare_audits
from workbench.errors import InsufficientData

N = 30


def audits():
    """B is A but for ten honest problems that diverge in it."""
    a = [honest(f"p-{k:02d}", 4, k) for k in range(N)]
    b = [liar(one.id, 4, k) if k < 10 else one for k, one in enumerate(a)]
    return make_audit(a), make_audit(b)


def test_equal_audits_do_not_differ() -> None:
    a, _ = audits()
    record = compare_audits(a, a)
    assert record.changed == []
    assert [one.difference for one in record.differences] == [0, 0, 0, 0]
    assert all(one.interval.low < 0 < one.interval.high for one in record.differences)
    assert [one.p_value for one in record.differences] == [1, 1, 1, None]


def test_a_planted_change_is_found() -> None:
    record = compare_audits(*audits())
    diverges = record.differences[0]
    assert (diverges.name, diverges.a, diverges.b) == ("diverges", 0.0, pytest.approx(1 / 3))
    assert 0.1 < diverges.interval.low < 1 / 3 < diverges.interval.high < 0.6
    assert diverges.p_value is not None
    assert diverges.p_value < 0.01
    assert {(one.a, one.b): one.n for one in record.transitions} == {
        ("agrees", "agrees"): 20,
        ("agrees", "diverges"): 10,
    }
    assert len(record.changed) == 10
    assert record.changed[0].changes[0] == "verdict agrees becomes diverges"


def test_copies_of_one_problem_are_no_evidence() -> None:
    """Three problems, ten copies of each, all of which change: the least that three exchanges can give is 1/4."""
    a = [honest(f"p-{k:02d}", 4, k, group=f"g{k % 3}") for k in range(N)]
    b = [liar(one.id, 4, k, group=one.group) for k, one in enumerate(a)]
    diverges = compare_audits(make_audit(a), make_audit(b)).differences[0]
    assert diverges.difference == 1
    assert diverges.p_value == pytest.approx(0.25)


def test_problems_that_are_alone_in_their_groups_get_the_p_value_of_mcnemar() -> None:
    a = [liar(f"p-{k:02d}", 4, k) if k < 3 else honest(f"p-{k:02d}", 4, k) for k in range(N)]
    b = [liar(f"p-{k:02d}", 4, k) if 3 <= k < 13 else honest(f"p-{k:02d}", 4, k) for k in range(N)]
    diverges = compare_audits(make_audit(a), make_audit(b)).differences[0]
    assert diverges.p_value == pytest.approx(binomtest(10, 13).pvalue)


def test_changes_are_told_step_by_step() -> None:
    told = changes_between(honest("p", 2), liar("p", 3))
    assert "step 2 is only in the second" in told
    assert "step 0 goes from agree to conflict" in told
    assert any(text.startswith("at step 0 it says ") for text in told)
    assert changes_between(honest("p", 3), honest("p", 3)) == []


def test_what_cannot_be_compared_is_said() -> None:
    a, b = audits()
    with pytest.raises(InsufficientData, match="no problem in common"):
        compare_audits(a, make_audit([honest("other")]))
    settings = b.settings.model_copy(update={"alpha": 0.05, "labels": "said"})
    told = compare_audits(a, b.model_copy(update={"settings": settings})).warnings
    assert len(told) == 2


def test_the_command_prints_and_gives_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = audits()
    folders = [str(write_audit(tmp_path / name, audit)) for name, audit in (("a", a), ("b", b))]
    assert run(["compare", *folders, "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["schema"] == "neuralese-compare/1"
    assert plain["n_shared"] == N
    assert run(["compare", *folders]) == 0
    shown = capsys.readouterr().out
    assert "30 problems in both" in shown
    assert "What changed (10 problems)" in shown
    assert run(["compare", folders[0], str(tmp_path)]) == 2
