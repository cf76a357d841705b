"""What an audit records of a memory, slot by slot."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from workbench.reports.causal_records import Counted
from workbench.reports.fields import Interval, Record, Share


class SlotRecord(Record):
    """One vector that is kept of an episode: what it holds alone, beside what is said that was stored."""

    episode: Annotated[int, Field(ge=0)]
    slot: Annotated[int, Field(ge=0)]
    """Place among the vectors of the episode."""
    n: int
    """Held-out honest problems."""
    decode_accuracy: Share
    """How often the episode's value is read from this vector alone."""
    decode_interval: Interval
    control: Share
    """The same with shuffled labels."""
    selectivity_p: Share
    readable: bool
    """Whether it is read better than shuffled labels and the commonest value allow."""
    says_otherwise: Counted | None
    """Share of audited problems that say they stored another thing than this slot reads as; of those that say
    anything of the episode."""
    honest_says_otherwise: Counted | None
    """The same of held-out honest problems."""
