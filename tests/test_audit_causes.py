"""Audits of reasoners whose causes are written down: thoughts that nothing depends on, and thinking beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from planted import N_STEPS, VALUES, D, PlantedReasoner

from workbench.audit import Plan, run_audit
from workbench.cli.terminal import verdict_lines
from workbench.judge import DECORATIVE
from workbench.reasoners.loading import LoadedModel
from workbench.reports.causal_words import DECORATIVE as FIRST_LINE
from workbench.reports.headline import notices
from workbench.reports.records import AuditRecord
from workbench.tasks.base import Problem

N_HONEST, N_AUDITED = 160, 30
ALPHA = 0.05


def problems(n: int, seed: int, prefix: str) -> list[Problem]:
    drawn = np.random.default_rng(seed).integers(len(VALUES), size=(n, N_STEPS))
    chains = [tuple(VALUES[k] for k in row) for row in drawn]
    # a word of its own, so that no prompt is given twice
    return [
        Problem(id=f"{prefix}{k}", prompt=f"{' '.join(chain)} {prefix}{k}", thoughts=chain)
        for k, chain in enumerate(chains)
    ]


def audit_of(cause: str, folder: Path) -> AuditRecord:
    reasoner = PlantedReasoner([cause] * N_STEPS)
    model = LoadedModel(
        reasoner=reasoner, source=f"planted-{cause}", fingerprint="sha256:" + "0" * 64, device="cpu",
        d_model=D, n_layers=1, d_vocab=len(VALUES),
    )  # fmt: skip
    return run_audit(model, problems(N_HONEST, 1, "h"), problems(N_AUDITED, 2, "p"), folder, Plan(alpha=ALPHA))


def test_thoughts_that_nothing_depends_on_are_named_first(tmp_path: Path) -> None:
    record = audit_of("prompt", tmp_path)
    summary = record.summary
    assert summary.channel.decorative
    assert (summary.verdict, summary.reason) == ("cannot-tell", DECORATIVE)
    assert verdict_lines(summary.model_dump(mode="json"))[0] == FIRST_LINE
    assert notices(record)[0].kind == "decorative"
    assert min(step.decode_accuracy for step in record.steps) == 1  # decodable is not used
    for step in record.steps:
        assert step.effect_minus_placebo_interval is not None
        assert step.effect_minus_placebo_interval.low <= 0 <= step.effect_minus_placebo_interval.high
        assert step.subspace is not None
        assert step.subspace.minus_placebo == 0


def test_thinking_in_keys_and_values_is_never_called_agreement(tmp_path: Path) -> None:
    record = audit_of("key", tmp_path)
    assert not record.summary.channel.decorative
    assert record.summary.channel.coverage == pytest.approx(0, abs=0.05)
    assert record.summary.channel.coverage_interval is not None
    assert record.summary.channel.coverage_interval.high < 0.5
    assert record.summary.n_agrees == 0
    assert record.summary.verdict == "cannot-tell"


def test_thoughts_that_are_said_agree(tmp_path: Path) -> None:
    record = audit_of("thought", tmp_path)
    assert record.summary.channel.coverage == 1
    assert record.summary.verdict == "agrees"
    assert all(step.live and step.subspace is not None for step in record.steps)
    assert all(step.subspace.inside.share == 1 for step in record.steps if step.subspace is not None)
