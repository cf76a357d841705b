"""Causal effects, as the records of an audit hold them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from probes import Interval as ProbeInterval
from workbench.intervening.effects import Bools, Effect, Measure, exceeds, minus_control, share_interval
from workbench.intervening.outcomes import ChannelEffects, Edited, Interventions, StepEffects, SubspaceEffects
from workbench.reports.causal_records import Channel, Counted, DoseRecord, EditRecord, SubspaceRecord
from workbench.reports.fields import Interval


@dataclass(frozen=True, slots=True)
class Causal:
    """Causal part of an audit's records: it takes the model to make, and is taken as recorded when verified."""

    channel: Channel
    steps: Mapping[int, Mapping[str, object]]
    """Step -> causal fields of its `StepSummary`."""


def causal_records(effects: Interventions) -> Causal:
    """Effects as records hold them."""
    steps = {step.step: _step_fields(step, effects.n) for step in effects.steps}
    return Causal(_channel(effects.channel, effects.n, effects.filler), steps)


def _channel(whole: ChannelEffects, n: int, filler: str | None) -> Channel:
    measure = whole.measure
    difference, between = minus_control(whole.thoughts, whole.placebo, measure)
    covered = whole.coverage_interval
    return Channel(
        measure=measure,
        thought_effect=whole.thoughts.share(measure),
        thought_interval=record_interval(whole.thoughts.interval(measure)),
        **_whole_channel(whole, measure),
        placebo_effect=whole.placebo.share(measure),
        placebo_interval=record_interval(whole.placebo.interval(measure)),
        zero_effect=whole.zero.share(),
        reach=whole.reach,
        coverage=whole.coverage,
        coverage_absent=whole.why_no_coverage,
        coverage_interval=None if covered is None else record_interval(covered),
        effect_minus_placebo=difference,
        effect_minus_placebo_interval=record_interval(between),
        decorative=whole.decorative,
        n=n,
        edits=[_edit(one) for one in whole.edits],
        filler=filler,
    )


def _whole_channel(whole: ChannelEffects, measure: Measure) -> dict[str, Any]:
    if whole.whole is None:
        return {"channel_effect": None, "channel_interval": None}
    exchange, placebo = whole.whole
    difference, between = minus_control(exchange, placebo, measure)
    return {
        "channel_effect": exchange.share(measure),
        "channel_interval": record_interval(exchange.interval(measure)),
        "channel_placebo_effect": placebo.share(measure),
        "channel_placebo_interval": record_interval(placebo.interval(measure)),
        "channel_minus_placebo": difference,
        "channel_minus_placebo_interval": record_interval(between),
    }


def _edit(one: Edited) -> EditRecord:
    if isinstance(one.effect, str):
        return EditRecord(edit=one.edit, target=one.target, absent=one.effect)
    effect, claims = one.effect, one.effect.claims()
    return EditRecord(
        edit=one.edit,
        target=one.target,
        said=_counted(effect.moved),
        answers=_counted(effect.answer_moved),
        claims=None if claims is None else Counted(share=claims[0], interval=record_interval(claims[1]), n=claims[2]),
        follows=None if effect.followed is None else _counted(effect.followed),
    )


def _step_fields(step: StepEffects, n: int) -> dict[str, object]:
    measure = step.measure
    difference, between = minus_control(step.exchange, step.placebo, measure)
    part = step.subspace
    return {
        "measure": measure,
        "causal_effect": step.exchange.share(measure),
        "causal_interval": record_interval(step.exchange.interval(measure)),
        "placebo_effect": step.placebo.share(measure),
        "placebo_interval": record_interval(step.placebo.interval(measure)),
        "effect_minus_placebo": difference,
        "effect_minus_placebo_interval": record_interval(between),
        "zero_effect": step.zero.share(),
        "shuffle_effect": step.shuffle.share(),
        "causal_p": step.p_value,
        "n_causal": n,
        "live": step.live,
        "subspace": None if isinstance(part, str) else _subspace(part, measure),
        "subspace_absent": part if isinstance(part, str) else None,
        "doses": [DoseRecord(amount=dose.amount, effect=_measured(dose.effect, measure)) for dose in step.doses],
        "doses_rise": step.doses_rise,
    }


def _subspace(part: SubspaceEffects, measure: Measure) -> SubspaceRecord:
    difference, between = minus_control(part.inside, part.placebo, measure)
    return SubspaceRecord(
        rank=part.rank,
        inside=_measured(part.inside, measure),
        placebo=_measured(part.placebo, measure),
        outside=_measured(part.outside, measure),
        minus_placebo=difference,
        minus_placebo_interval=record_interval(between),
        p_value=exceeds(part.inside, part.placebo, measure),
    )


def _measured(effect: Effect, measure: Measure) -> Counted:
    return _counted(effect.of(measure))


def _counted(happened: Bools) -> Counted:
    interval = record_interval(share_interval(happened))
    return Counted(share=float(happened.mean()), interval=interval, n=len(happened))


def record_interval(interval: ProbeInterval) -> Interval:
    """The interval as records hold it."""
    return Interval(low=float(interval.low), high=float(interval.high))
