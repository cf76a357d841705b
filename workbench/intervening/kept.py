"""Outcomes of edits to a record and back, so that whoever has no model can count them again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from workbench.intervening.effects import Bools, Effect
from workbench.intervening.outcomes import ChannelEffects, Dose, Edited, Interventions, StepEffects, SubspaceEffects
from workbench.reports.effects_records import (
    DoseOutcomes,
    EditOutcomes,
    EffectsRecord,
    Outcomes,
    StepOutcomes,
    SubspaceOutcomes,
)


def effects_record(effects: Interventions, problems: Sequence[str]) -> EffectsRecord:
    """What edits did to each problem.

    Args:
        effects: every edit that was tried.
        problems: ids of the problems, in the order of the outcomes.
    """
    return EffectsRecord(
        problems=list(problems),
        gap=effects.channel.gap,
        filler=effects.filler,
        edits=[_edit(one) for one in effects.channel.edits],
        steps=[_step(step) for step in effects.steps],
    )


def interventions_of(record: EffectsRecord) -> Interventions:
    """The same effects from their record."""
    edits = [
        Edited(one.edit, one.target, (one.absent or "") if one.outcomes is None else _effect(one.outcomes))
        for one in record.edits
    ]
    return Interventions(
        steps=tuple(_step_effects(step) for step in record.steps),
        channel=ChannelEffects(edits, record.gap),
        n=len(record.problems),
        filler=record.filler,
    )


def _edit(one: Edited) -> EditOutcomes:
    if isinstance(one.effect, str):
        return EditOutcomes(edit=one.edit, target=one.target, absent=one.effect)
    return EditOutcomes(edit=one.edit, target=one.target, outcomes=_outcomes(one.effect))


def _step(step: StepEffects) -> StepOutcomes:
    part = step.subspace
    return StepOutcomes(
        step=step.step,
        exchange=_outcomes(step.exchange),
        placebo=_outcomes(step.placebo),
        zero=_outcomes(step.zero),
        shuffle=_outcomes(step.shuffle),
        doses=[DoseOutcomes(amount=dose.amount, outcomes=_outcomes(dose.effect)) for dose in step.doses],
        subspace=None if isinstance(part, str) else _subspace(part),
        subspace_absent=part if isinstance(part, str) else None,
    )


def _subspace(part: SubspaceEffects) -> SubspaceOutcomes:
    return SubspaceOutcomes(
        rank=part.rank,
        inside=_outcomes(part.inside),
        placebo=_outcomes(part.placebo),
        outside=_outcomes(part.outside),
    )


def _outcomes(effect: Effect) -> Outcomes:
    return Outcomes(
        moved=_marks(effect.moved),
        followed=None if effect.followed is None else _marks(effect.followed),
        answer_moved=_marks(effect.answer_moved),
        claims_moved=effect.claims_moved.tolist(),
        n_claims=effect.n_claims.tolist(),
    )


def _step_effects(step: StepOutcomes) -> StepEffects:
    part = step.subspace
    return StepEffects(
        step=step.step,
        exchange=_effect(step.exchange),
        placebo=_effect(step.placebo),
        zero=_effect(step.zero),
        shuffle=_effect(step.shuffle),
        doses=tuple(Dose(dose.amount, _effect(dose.outcomes)) for dose in step.doses),
        subspace=(step.subspace_absent or "")
        if part is None
        else SubspaceEffects(part.rank, _effect(part.inside), _effect(part.placebo), _effect(part.outside)),
    )


def _effect(outcomes: Outcomes) -> Effect:
    return Effect(
        moved=_bools(outcomes.moved),
        followed=None if outcomes.followed is None else _bools(outcomes.followed),
        answer_moved=_bools(outcomes.answer_moved),
        claims_moved=np.array(outcomes.claims_moved),
        n_claims=np.array(outcomes.n_claims),
    )


def _marks(happened: Bools) -> str:
    return "".join("1" if one else "0" for one in happened)


def _bools(marks: str) -> Bools:
    return np.array([mark == "1" for mark in marks])
