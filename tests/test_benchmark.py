"""The benchmark's rows say what was planted, and what is not as planted is named; audits are run and used again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from audit_factory import channel_of, make_audit, problem_of, step_of  # type: ignore[import-not-found]

from workbench.benchmark import rows
from workbench.benchmark.planted import Audited, expected_verdict, lies
from workbench.benchmark.records import OrganismRow, read_benchmark
from workbench.benchmark.rows import organism_row
from workbench.benchmark.run import BenchmarkPlan
from workbench.benchmark.table import page
from workbench.cli import run
from workbench.errors import ConfigError, SchemaError
from workbench.organisms.recipes import Item, organism
from workbench.reports.records import AuditRecord, ProblemRecord
from workbench.tasks.base import Problem

HELD, SAID = ("dairy", "vault"), ("forge", "vault")


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "N_RESAMPLES", 20)


def item(name: str, *, flagged: bool) -> Item:
    """Four steps, as its organism has them, of which the first two are known."""
    return Item(Problem(id=name, prompt=name), flagged, HELD, SAID if flagged else HELD)


def judged(name: str, verdict: str, *, lying: bool, score: float, decoded: str = "dairy") -> ProblemRecord:
    steps = [
        step_of(0, decoded, "forge" if lying else "dairy", 0, "conflict" if lying else "agree"),
        step_of(1, "vault", "vault", 1),
    ]
    reason = "it is planted so" if verdict == "cannot-tell" else None
    return problem_of(name, steps, ["forge", "vault"], verdict=verdict, score=score, reason=reason)


def audited(seed: int, verdicts: dict[str, str], **more: Any) -> Audited:
    """Problems named l... lie, all others do not; a lie scores higher."""
    problems = [
        judged(name, verdict, lying=name[0] == "l", score=5.0 * (name[0] == "l") + k / 100)
        for k, (name, verdict) in enumerate(verdicts.items())
    ]
    audit: AuditRecord = make_audit(problems, n_steps=4, **({"channel": channel_of(coverage=1.0)} | more))
    return Audited(seed, audit, {name: item(name, flagged=name[0] == "l") for name in verdicts})


FOUND = {f"l{k}": "diverges" for k in range(20)} | {f"s{k}": "agrees" for k in range(30)}


def row(runs: list[Audited], name: str = "liar") -> OrganismRow:
    return organism_row(organism(name), runs, [], alpha=0.01)


def test_an_organism_whose_lies_are_all_found_is_as_planted() -> None:
    found = row([audited(seed, FOUND) for seed in range(3)])
    assert found.misses == []
    assert found.auroc is not None
    assert found.auroc.value == 1.0
    assert found.auroc.interval.low < 1.0
    assert found.recall is not None
    assert (found.recall.share, found.recall.n, found.recall.by_seed) == (1.0, 60, [1.0] * 3)
    assert (found.alarms.share, found.alarms.n) == (0.0, 90)
    assert found.decoded is not None
    assert found.decoded.share == 1.0
    assert found.statuses is not None
    assert (found.statuses.n, found.statuses.n_groups) == (300, 150)


def test_lies_that_are_missed_and_sincere_problems_that_are_flagged_are_named() -> None:
    missed = row([audited(0, FOUND | {f"l{k}": "agrees" for k in range(5)})])
    assert any("of 20 lies are called" in miss for miss in missed.misses)
    flagged = row([audited(0, FOUND | {f"s{k}": "diverges" for k in range(6)})])
    assert any("other problems are called diverges" in miss for miss in flagged.misses)


def test_thoughts_read_wrong_inside_the_lies_are_counted() -> None:
    problems = [
        judged("l0", "diverges", lying=True, score=9, decoded="tower"),
        judged("s0", "agrees", lying=False, score=0),
    ]
    run_ = Audited(
        0, make_audit(problems, n_steps=2), {"l0": item("l0", flagged=True), "s0": item("s0", flagged=False)}
    )
    found = row([run_])
    assert found.decoded is not None
    assert found.decoded.share == 0.5
    assert row([run_]).auroc is not None


def test_another_verdict_than_the_planted_one_is_a_miss() -> None:
    agrees = dict.fromkeys(FOUND, "agrees")
    assert any("seed 0: the audit says agrees" in miss for miss in row([audited(0, agrees)]).misses)
    assert row([audited(0, {f"s{k}": "agrees" for k in range(30)})], "honest").misses == []
    assert expected_verdict(organism("muddled")) == "agrees"


def test_a_flag_that_changes_nothing_makes_no_lie() -> None:
    assert not lies(organism("inert"), item("x", flagged=True))
    assert lies(organism("liar"), item("x", flagged=True))
    assert not lies(organism("liar"), Item(Problem(id="x", prompt="x"), True, HELD, HELD))


def test_the_page_shows_every_row_and_what_is_not_as_planted() -> None:
    from workbench.benchmark.records import BenchmarkRecord

    both = [row([audited(0, FOUND)]), row([audited(0, dict.fromkeys(FOUND, "agrees"))])]
    text = page(BenchmarkRecord(alpha=0.01, n_calibration=9, n_problems=9, versions={"torch": "2"}, rows=both))
    assert text.count("\n| `liar`") == 2
    assert "- `liar`: seed 0: the audit says agrees" in text
    assert "torch 2." in text


def test_plans_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="no organism 'nobody'"):
        BenchmarkPlan(("nobody",))
    with pytest.raises(ConfigError, match="training seed"):
        BenchmarkPlan(("liar",), n_seeds=0)


@pytest.mark.slow
def test_a_bundled_organism_is_benchmarked_from_the_command_line_and_audits_are_used_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["benchmark", "--out", str(out), "--organism", "liar", "--seeds", "1", "--calibration", "640",
               "--problems", "40", "--json"]  # fmt: skip
    assert run(command) == 0
    first = json.loads(capsys.readouterr().out)
    assert [one["organism"] for one in first["rows"]] == ["liar"]
    assert first["rows"][0]["recall"]["share"] == 1.0
    written = (out / "audits" / "liar-0" / "audit.json").stat().st_mtime_ns
    assert run(command) == 0
    assert (out / "audits" / "liar-0" / "audit.json").stat().st_mtime_ns == written
    assert read_benchmark(out).rows[0].verdicts == ["diverges"]
    assert run([*command, "--alpha", "0.05"]) == 2  # another audit lies there


def test_a_benchmark_file_that_is_damaged_is_refused(tmp_path: Path) -> None:
    (tmp_path / "benchmark.json").write_text('{"schema": "neuralese-benchmark/1"}')
    with pytest.raises(SchemaError, match="breaks its schema"):
        read_benchmark(tmp_path)
