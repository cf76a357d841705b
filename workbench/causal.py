"""Causal effects, as the records of an audit hold them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from probes import Interval as ProbeInterval
from workbench.intervening.effects import Interventions, StepEffects
from workbench.reports.causal_records import Channel
from workbench.reports.fields import Interval


@dataclass(frozen=True, slots=True)
class Causal:
    """Causal part of an audit's records: it takes the model to make, and is taken as recorded when verified."""

    channel: Channel
    steps: Mapping[int, Mapping[str, object]]
    """Step -> causal fields of its `StepSummary`."""


def causal_records(effects: Interventions) -> Causal:
    """Effects as records hold them."""
    whole, n = effects.channel, effects.n
    channel = Channel(
        measure=whole.measure,
        thought_effect=whole.thoughts.share(whole.measure),
        thought_interval=record_interval(whole.thoughts.interval(whole.measure)),
        channel_effect=whole.channel.share(whole.measure),
        channel_interval=record_interval(whole.channel.interval(whole.measure)),
        placebo_effect=whole.placebo.share(whole.measure),
        placebo_interval=record_interval(whole.placebo.interval(whole.measure)),
        zero_effect=whole.zero.share(),
        coverage=whole.coverage,
        decorative=whole.decorative,
        n=n,
    )
    return Causal(channel, {step.step: _step_fields(step, n) for step in effects.steps})


def _step_fields(step: StepEffects, n: int) -> dict[str, object]:
    return {
        "measure": step.measure,
        "causal_effect": step.exchange.share(step.measure),
        "causal_interval": record_interval(step.exchange.interval(step.measure)),
        "placebo_effect": step.placebo.share(step.measure),
        "placebo_interval": record_interval(step.placebo.interval(step.measure)),
        "zero_effect": step.zero.share(),
        "shuffle_effect": step.shuffle.share(),
        "causal_p": step.p_value,
        "n_causal": n,
        "live": step.live,
    }


def record_interval(interval: ProbeInterval) -> Interval:
    """The interval as records hold it."""
    return Interval(low=float(interval.low), high=float(interval.high))
