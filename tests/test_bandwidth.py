"""Channels of known capacity are found, and nothing is found in one that carries nothing."""

import dataclasses

import numpy as np
import pytest
from channel_factory import ChannelReasoner, channel_problems, loaded, memory_problems, trained_memory

from workbench import bandwidth
from workbench.bandwidth import BandwidthPlan, run_bandwidth
from workbench.errors import ConfigError, InsufficientData, Interrupted, SchemaError
from workbench.interrupts import StopFlag
from workbench.reports.bandwidth_records import read_bandwidth
from workbench.tasks.base import Problem

WHOLE = BandwidthPlan(per_step=False)


def measured(reasoner, problems, out, plan=WHOLE):
    return run_bandwidth(loaded(reasoner, 2**reasoner.bits), problems, out, plan)


@pytest.mark.parametrize(("bits", "n"), [(3, 300), (4, 400), (5, 480)])
def test_a_channel_of_so_many_bits_is_found_to_have_them(bits, n, tmp_path):
    record = measured(ChannelReasoner(bits), channel_problems(bits, n), tmp_path)
    assert record.whole.used.bits == pytest.approx(bits, rel=0.1)
    assert record.whole.used.holds
    assert record.whole.used.changed <= 0.01
    assert record.whole.named == pytest.approx(bits, rel=0.1)
    assert record.whole.erased > 0.8
    assert record.chain.bits == pytest.approx(bits, rel=0.1)
    assert record.chain.shuffled < 0.1 * bits
    assert record.rerun_changed == 0
    assert record.whole.numbers * record.bits_per_number == 24 * 16


def test_thoughts_that_hold_what_nothing_reads_are_decodable_and_not_used(tmp_path):
    record = measured(ChannelReasoner(3, deaf=True), channel_problems(3, 300), tmp_path)
    assert record.chain.bits == pytest.approx(3, rel=0.1)
    assert record.whole.used.bits == 0
    assert record.whole.erased == 0


def test_a_channel_that_carries_nothing_has_no_bits(tmp_path):
    record = measured(ChannelReasoner(3, blank=True), channel_problems(3, 300), tmp_path)
    assert record.whole.used.bits == 0
    assert record.chain.interval.low == 0
    assert record.chain.bits < 0.1


def test_steps_are_told_apart(tmp_path):
    problems = channel_problems(2, 200, n_steps=2)
    blind = [dataclasses.replace(p, thoughts=(p.thoughts[0], None)) for p in problems]
    record = measured(ChannelReasoner(2, n_steps=2), blind, tmp_path, BandwidthPlan())
    first, second = record.steps
    assert first.decodable.bits == pytest.approx(2, rel=0.1)
    assert second.decodable is None
    assert (first.sweep.named is None, second.sweep.named is None) == (False, True)
    for step in (first, second):
        assert step.sweep.used.bits == pytest.approx(2, rel=0.1)
    assert record.whole.used.bits == pytest.approx(4, rel=0.1)


def test_what_one_value_tells_of_the_next_is_counted_once(tmp_path):
    drawn = np.random.default_rng(0).integers(4, size=200)
    chains = [(f"m{k}", f"m{(k + 1) % 4}") for k in drawn]
    problems = [Problem(id=f"p{k}", prompt=f"{' '.join(c)} #{k}", thoughts=c) for k, c in enumerate(chains)]
    record = measured(ChannelReasoner(2, n_steps=2), problems, tmp_path)
    assert record.chain.told_before == pytest.approx(2, rel=0.1)
    assert record.chain.bits == pytest.approx(2, rel=0.1)


def test_without_known_values_what_is_said_is_the_label(tmp_path):
    problems = [dataclasses.replace(p, thoughts=None) for p in channel_problems(3, 300)]
    record = measured(ChannelReasoner(3), problems, tmp_path)
    assert record.labels == "said"
    assert record.chain.bits == pytest.approx(3, rel=0.1)


def test_a_memory_trained_to_keep_three_bits_passes_three(tmp_path):
    record = run_bandwidth(trained_memory(), memory_problems(400), tmp_path, WHOLE)
    assert record.model.family == "memory"
    assert record.whole.used.bits == pytest.approx(3, rel=0.1)
    assert record.chain.bits == pytest.approx(3, rel=0.1)


def test_an_interrupted_measurement_goes_on_where_it_stopped(tmp_path, monkeypatch):
    problems = channel_problems(2, 80, n_steps=2)
    whole = measured(ChannelReasoner(2, n_steps=2), problems, tmp_path / "whole", BandwidthPlan())
    sweep, swept = bandwidth.sweep, []

    def stopping(bench, step, numbers, *, allowed):
        if len(swept) == 1:
            stop = StopFlag()
            stop.asked = True
            stop.check(hint=bandwidth.RESUME)
        swept.append(step)
        return sweep(bench, step, numbers, allowed=allowed)

    monkeypatch.setattr(bandwidth, "sweep", stopping)
    with pytest.raises(Interrupted, match="Run the same command again"):
        measured(ChannelReasoner(2, n_steps=2), problems, tmp_path / "cut", BandwidthPlan())
    assert not (tmp_path / "cut" / "bandwidth.json").exists()
    monkeypatch.setattr(
        bandwidth, "sweep", lambda bench, step, *a, **k: swept.append(step) or sweep(bench, step, *a, **k)
    )
    again = measured(ChannelReasoner(2, n_steps=2), problems, tmp_path / "cut", BandwidthPlan())
    assert swept == [0, 1, None]
    assert again.to_json() == whole.to_json() == (tmp_path / "cut" / "bandwidth.json").read_bytes()
    assert read_bandwidth(tmp_path / "cut") == again


def test_a_sweep_of_other_settings_is_not_taken_over(tmp_path):
    problems = channel_problems(2, 80)
    measured(ChannelReasoner(2), problems, tmp_path)
    few = measured(ChannelReasoner(2), problems, tmp_path, BandwidthPlan(per_step=False, n_measured=10))
    assert few.whole.used.n == 10


def test_too_few_problems_and_impossible_settings_are_refused(tmp_path):
    with pytest.raises(InsufficientData, match="too few problems"):
        measured(ChannelReasoner(2), channel_problems(2, 12), tmp_path)
    with pytest.raises(ConfigError):
        BandwidthPlan(n_measured=0)
    with pytest.raises(ConfigError):
        BandwidthPlan(changed_at_most=1.0)


def test_a_damaged_part_is_named(tmp_path):
    measured(ChannelReasoner(2), channel_problems(2, 60), tmp_path)
    (tmp_path / "parts" / "all.json").write_text('{"key": 1}')
    with pytest.raises(SchemaError, match="not a finished sweep"):
        measured(ChannelReasoner(2), channel_problems(2, 60), tmp_path)
