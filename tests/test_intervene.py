"""Edits find the planted causes, and none where there are none."""

from __future__ import annotations

import numpy as np
import pytest
from planted import N_STEPS, VALUES, PlantedReasoner

from workbench.errors import InsufficientData, Interrupted
from workbench.interrupts import StopFlag
from workbench.intervene import intervene
from workbench.intervening.honest import HonestRun
from workbench.intervening.outcomes import Interventions
from workbench.tasks.base import Problem


def honest_run(reasoner: PlantedReasoner, n: int = 120) -> HonestRun:
    drawn = np.random.default_rng(3).integers(len(VALUES), size=(n, N_STEPS))
    chains = [[VALUES[k] for k in row] for row in drawn]
    problems = [Problem(id=f"p{k}", prompt=" ".join(chain)) for k, chain in enumerate(chains)]
    known = [dict(enumerate(chain)) for chain in chains]
    return HonestRun(problems, known, {step: step for step in range(N_STEPS)}, reasoner.recipe.speaking)


def effects_of(*causes: str) -> Interventions:
    reasoner = PlantedReasoner(causes)
    return intervene(reasoner, honest_run(reasoner), seed=0)


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
    assert found.channel.channel.share("follows") == 1
    assert not any(step.live for step in found.steps)


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
