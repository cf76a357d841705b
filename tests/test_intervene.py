"""Edits find the planted causes, and none where there are none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import EMBEDDING, N_STEPS, VALUES, D, PlantedReasoner
from torch import Tensor

from probes import FrozenProbe
from workbench.causal import causal_records
from workbench.errors import InsufficientData, Interrupted
from workbench.interrupts import StopFlag
from workbench.intervene import intervene
from workbench.intervening.honest import HonestRun
from workbench.intervening.outcomes import Dose, Interventions, SubspaceEffects
from workbench.tasks.base import Problem


def honest_run(reasoner: PlantedReasoner, n: int = 120) -> HonestRun:
    drawn = np.random.default_rng(3).integers(len(VALUES), size=(n, N_STEPS))
    chains = [[VALUES[k] for k in row] for row in drawn]
    problems = [Problem(id=f"p{k}", prompt=" ".join(chain)) for k, chain in enumerate(chains)]
    known = [dict(enumerate(chain)) for chain in chains]
    return HonestRun(problems, known, {step: step for step in range(N_STEPS)}, reasoner.recipe.speaking)


def effects_of(*causes: str, probes: dict[int, FrozenProbe] | None = None) -> Interventions:
    reasoner = PlantedReasoner(causes)
    return intervene(reasoner, honest_run(reasoner), seed=0, probes=probes)


def probe_of(directions: Tensor) -> FrozenProbe:
    return FrozenProbe("lda", VALUES, directions.numpy(), np.zeros(len(VALUES)))


def beside(embedding: Tensor) -> Tensor:
    """Directions orthogonal to all of these."""
    whole = torch.linalg.qr(torch.cat([embedding, torch.eye(D)]).T)[0].T
    return whole[len(embedding) : 2 * len(embedding)]


def test_thoughts_that_are_said_are_live_and_followed() -> None:
    found = effects_of("thought", "thought", "thought")
    for step in found.steps:
        assert step.live
        assert step.measure == "follows"
        assert step.exchange.share("follows") == 1
        assert step.placebo.share("follows") < 0.2
    assert found.channel.coverage == 1
    assert not found.channel.decorative


def test_only_the_live_step_is_called_live() -> None:
    found = effects_of("prompt", "thought", "prompt")
    assert [step.live for step in found.steps] == [False, True, False]
    assert found.steps[0].exchange.share("moves") == 0


def test_thoughts_that_nothing_depends_on_are_decorative() -> None:
    found = effects_of("prompt", "prompt", "prompt")
    assert found.channel.decorative
    assert found.channel.coverage is None
    assert not any(step.live for step in found.steps)


def test_thinking_in_keys_is_low_coverage_and_not_decorative() -> None:
    found = effects_of("key", "key", "key")
    assert found.channel.coverage == 0
    assert not found.channel.decorative
    assert found.channel.whole is not None
    assert found.channel.whole[0].share("follows") == 1
    assert not any(step.live for step in found.steps)


def test_every_edit_of_what_is_used_moves_what_is_said() -> None:
    whole = effects_of("thought", "thought", "thought").channel
    for name in ("zero", "mean", "noise", "shuffle", "exchange"):
        on_thoughts, beside_them = whole.effect(name, "thoughts"), whole.effect(name, "keys-values")
        assert on_thoughts is not None
        assert beside_them is not None
        assert on_thoughts.share() > 0.6, name
        assert beside_them.share() == 0, name
    exchanged = whole.effect("exchange", "thoughts")
    assert exchanged is not None
    claims = exchanged.claims()
    assert claims is not None
    assert claims[2] == 120 * N_STEPS
    assert claims[0] == pytest.approx(1 - 1 / len(VALUES), abs=0.1)
    assert exchanged.answer_moved.all()


def test_only_the_edited_steps_claim_moves() -> None:
    exchanged = effects_of("prompt", "thought", "prompt").steps[1].exchange
    assert exchanged.moved.all()
    assert (exchanged.claims_moved == 1).all()
    assert not exchanged.answer_moved.any()


def test_coverage_has_an_interval_that_holds_what_was_planted() -> None:
    for cause, planted in (("thought", 1.0), ("key", 0.0)):
        whole = effects_of(cause, cause, cause).channel
        assert whole.coverage_interval is not None
        assert whole.coverage_interval.low <= planted <= whole.coverage_interval.high
        assert whole.coverage_interval.high - whole.coverage_interval.low < 0.05
    assert effects_of("prompt", "prompt", "prompt").channel.coverage_interval is None


def test_effect_minus_placebo_is_about_nothing_where_nothing_is_used() -> None:
    used, unused = (causal_records(effects_of(*[cause] * N_STEPS)) for cause in ("thought", "prompt"))
    for fields in used.steps.values():
        assert fields["effect_minus_placebo"] >= 0.8  # type: ignore[operator]
        assert fields["effect_minus_placebo_interval"].low > 0.7  # type: ignore[attr-defined]
    for fields in unused.steps.values():
        interval = fields["effect_minus_placebo_interval"]
        assert interval.low <= 0 <= interval.high  # type: ignore[attr-defined]
        assert not fields["live"]
    assert unused.channel.decorative
    assert unused.channel.effect_minus_placebo == 0


def test_what_the_probe_reads_is_followed_and_the_rest_is_not() -> None:
    part = effects_of("thought", "thought", "thought", probes={0: probe_of(EMBEDDING)}).steps[0].subspace
    assert isinstance(part, SubspaceEffects)
    assert part.rank == len(VALUES) - 1
    assert part.inside.share("follows") == 1
    assert part.outside.share("follows") == 0
    assert part.placebo.share("follows") < 0.4  # a random subspace holds a dose of the donor: the root of 5 in 24


def test_what_can_be_read_and_is_not_used_is_found_to_be_so() -> None:
    step = effects_of("thought", "thought", "thought", probes={1: probe_of(beside(EMBEDDING))}).steps[1]
    assert isinstance(step.subspace, SubspaceEffects)
    assert step.live
    assert step.subspace.inside.share("follows") == 0
    assert step.subspace.outside.share("follows") == 1


def test_steps_without_a_subspace_say_why() -> None:
    every = probe_of(EMBEDDING)
    found = effects_of("thought", "thought", "thought", probes={1: every})
    assert [isinstance(step.subspace, str) for step in found.steps] == [True, False, True]
    assert causal_records(found).steps[0]["subspace_absent"] == "this step has no probe"


def test_the_dose_says_how_far_towards_the_donor_it_takes() -> None:
    step = effects_of("prompt", "thought", "prompt").steps[1]
    shares = {dose.amount: dose.effect.share("follows") for dose in step.doses}
    assert list(shares) == [0, 0.25, 0.5, 0.75, 1, 1.5]
    assert [shares[amount] for amount in (0, 0.25, 0.75, 1, 1.5)] == [0, 0, 1, 1, 1]
    assert step.doses_rise
    falling = replace(step, doses=tuple(Dose(1 - dose.amount, dose.effect) for dose in reversed(step.doses[:5])))
    assert not falling.doses_rise


def test_a_pause_fits_where_thoughts_are_fed_as_embeddings_and_nowhere_else() -> None:
    planted = effects_of("thought", "thought", "thought")
    assert planted.filler is None
    reasons = [one.effect for one in planted.channel.edits if one.edit == "pause"]
    assert all(isinstance(reason, str) and "not fed as input embeddings" in reason for reason in reasons)


def test_the_same_seed_gives_the_same_effects() -> None:
    mine, other = effects_of("thought", "prompt", "key"), effects_of("thought", "prompt", "key")
    for a, b in zip(mine.steps, other.steps, strict=True):
        assert (a.placebo.moved == b.placebo.moved).all()


def test_progress_reaches_what_was_planned() -> None:
    reasoner = PlantedReasoner(["thought"] * N_STEPS)
    told: list[tuple[int, int]] = []
    intervene(reasoner, honest_run(reasoner, 10), seed=0, progress=lambda done, planned: told.append((done, planned)))
    assert [done for done, _ in told] == list(range(1, told[-1][1] + 1))


def test_a_stop_is_heard_between_runs() -> None:
    reasoner = PlantedReasoner(["thought"] * N_STEPS)
    stop = StopFlag()
    stop.asked = True
    with pytest.raises(Interrupted, match="same command"):
        intervene(reasoner, honest_run(reasoner, 10), seed=0, stop=stop)


def test_one_problem_has_no_donor() -> None:
    reasoner = PlantedReasoner(["thought"] * N_STEPS)
    with pytest.raises(InsufficientData):
        intervene(reasoner, honest_run(reasoner, 1), seed=0)
