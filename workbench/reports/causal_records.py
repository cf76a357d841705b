"""What an audit, and an intervene run, record of the causal tests. What was added later has a default: files written
before still read."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from workbench.reports.fields import Interval, Record, Share

Measure = Literal["follows", "moves"]
EditName = Literal["zero", "mean", "noise", "shuffle", "exchange", "placebo", "pause"]
Target = Literal["thoughts", "keys-values", "both"]


class Counted(Record):
    """A share, its exact 95 % interval, and of how many it is one."""

    share: Share
    interval: Interval
    n: Annotated[int, Field(ge=1)]


class EditRecord(Record):
    """One edit of all steps at once, and what of the said text is another for it."""

    edit: EditName
    target: Target
    absent: str | None = None
    """Why this edit was not tried."""
    said: Counted | None = None
    """Said texts that move."""
    answers: Counted | None = None
    """Answers that move."""
    claims: Counted | None = None
    """Claims that move; absent where none is stated."""
    follows: Counted | None = None
    """Answers that become the donor's; of the exchange and its placebo only."""

    @model_validator(mode="after")
    def _tried_or_said_why_not(self) -> Self:
        if (self.absent is None) == (self.said is None) or (self.said is None) != (self.answers is None):
            raise ValueError(f"edit {self.edit} on {self.target} needs either its shares or why it has none")
        return self


class Channel(Record):
    """What honest problems answer when the thoughts, or all that carries them, are exchanged with another problem's."""

    measure: Measure
    """`follows`: the answer becomes the donor's. `moves`: the said text changes (where no exchange is followed)."""
    thought_effect: Share
    thought_interval: Interval
    channel_effect: Share | None
    """Thoughts, keys and values exchanged together; absent where not all keys and values can be reached."""
    channel_interval: Interval | None
    channel_placebo_effect: Share | None = None
    """All of these moved as far in random directions."""
    channel_placebo_interval: Interval | None = None
    channel_minus_placebo: float | None = None
    channel_minus_placebo_interval: Interval | None = None
    placebo_effect: Share
    """The thoughts alone moved as far."""
    placebo_interval: Interval
    zero_effect: Share
    reach: Share | None = None
    """Answers that follow the whole channel beyond its placebo, of those that the placebo leaves; absent where not all
    of it can be reached."""
    coverage: Share | None
    """The same of the thoughts and their placebo over `reach`, at most 1; absent where it cannot be measured."""
    coverage_absent: str | None = None
    """Why there is no coverage."""
    coverage_interval: Interval | None = None
    effect_minus_placebo: float | None = None
    effect_minus_placebo_interval: Interval | None = None
    decorative: bool
    n: int
    edits: list[EditRecord] = Field(default_factory=list)
    """Every edit on thoughts, on keys and values at their positions, and on both."""
    filler: str | None = None
    """What stood where the thoughts stand, for `pause`; absent where nothing can."""


class SubspaceRecord(Record):
    """Only a part of the thought is exchanged: what the probe of the step tells values apart by, or all the rest."""

    rank: Annotated[int, Field(ge=1)]
    """Dimensions of the part."""
    inside: Counted
    """Only the part is the donor's."""
    placebo: Counted
    """Moved as far, in a random subspace of the same rank."""
    outside: Counted
    """All but the part is the donor's."""
    minus_placebo: float
    """Inside less placebo."""
    minus_placebo_interval: Interval
    p_value: Share
    """Exact McNemar test of inside against placebo."""


class DoseRecord(Record):
    """The thought goes part of the way to the donor's."""

    amount: float
    """0 is the problem's own thought, 1 the donor's."""
    effect: Counted


class StepCausal(Record):
    """Abstract: what the causal tests found at one step."""

    measure: Measure
    """`follows`: the claim of this step becomes the exchanged value. `moves`: the said text changes (where no claim
    stands for the step)."""
    causal_effect: Share
    """Share of honest problems that follow (or move) when this thought is exchanged for one with another value."""
    causal_interval: Interval
    placebo_effect: Share
    """The same when the thought is moved as far in a random direction."""
    placebo_interval: Interval
    effect_minus_placebo: float | None = None
    effect_minus_placebo_interval: Interval | None = None
    """Both outcomes of a problem together (Newcombe 1998 on exact limits)."""
    zero_effect: Share
    """Share whose said text moves when the thought is zeroed."""
    shuffle_effect: Share
    """Share whose said text moves when the thought is that of any other problem."""
    causal_p: Share
    """Exact McNemar test of exchange against placebo."""
    n_causal: int
    live: bool
    subspace: SubspaceRecord | None = None
    subspace_absent: str | None = None
    """Why no subspace of this thought was exchanged."""
    doses: list[DoseRecord] = Field(default_factory=list)
    """Rising amounts."""
    doses_rise: bool | None = None
    """Whether no dose up to 1 touches fewer problems than the one before (McNemar, 0.01)."""
