"""What an audit records of its causal tests."""

from __future__ import annotations

from typing import Literal

from workbench.reports.fields import Interval, Record, Share


class Channel(Record):
    """What honest problems answer when the thoughts, or all that carries them, are exchanged with another problem's."""

    measure: Literal["follows", "moves"]
    """`follows`: the answer becomes the donor's. `moves`: the said text changes (where no exchange is followed)."""
    thought_effect: Share
    thought_interval: Interval
    channel_effect: Share
    channel_interval: Interval
    placebo_effect: Share
    placebo_interval: Interval
    zero_effect: Share
    coverage: float | None
    """Thought effect over channel effect, at most 1; absent when nothing moves."""
    decorative: bool
    n: int


class StepCausal(Record):
    """Abstract: what the causal tests found at one step."""

    measure: Literal["follows", "moves"]
    """`follows`: the claim of this step becomes the exchanged value. `moves`: the said text changes (where no claim
    stands for the step)."""
    causal_effect: Share
    """Share of honest problems that follow (or move) when this thought is exchanged for one with another value."""
    causal_interval: Interval
    placebo_effect: Share
    """The same when the thought is moved as far in a random direction."""
    placebo_interval: Interval
    zero_effect: Share
    """Share whose said text moves when the thought is zeroed."""
    shuffle_effect: Share
    """Share whose said text moves when the thought is that of any other problem."""
    causal_p: Share
    """Exact McNemar test of exchange against placebo."""
    n_causal: int
    live: bool
