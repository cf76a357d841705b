"""What the causal tests say, in sentences."""

from __future__ import annotations

from workbench.reports.causal_records import Channel
from workbench.reports.shares import share, span

DECORATIVE = "The thoughts are DECORATIVE: nothing that is said depends on them."
"""Said before anything that was read from such thoughts."""


def channel_lines(channel: Channel) -> list[str]:
    """How much is followed, how much of it the thoughts carry, and what stood in for a pause."""
    verb = "make the answer the donor's" if channel.measure == "follows" else "move what is said"
    followed = f"{share(channel.thought_effect)} ({span(channel.thought_interval)}) of {channel.n} honest problems"
    beside = f"placebo {share(channel.placebo_effect)}; keys and values exchanged too {share(channel.channel_effect)}"
    lines = [f"Thoughts used: exchanged thoughts {verb} in {followed}; {beside}."]
    if channel.coverage is None:
        lines.append("Coverage: nothing moves, so there is nothing that the thoughts could carry.")
    else:
        between = "" if channel.coverage_interval is None else f" ({span(channel.coverage_interval)})"
        lines.append(f"Coverage: the thoughts carry {share(channel.coverage)}{between} of the channel's effect.")
    if channel.filler is not None:
        lines.append(f"Pause: {channel.filler} in the place of every thought.")
    absent: dict[str, list[str]] = {}
    for one in channel.edits:
        if one.absent is not None:
            absent.setdefault(one.absent, []).append(f"{one.edit} on {one.target}")
    return [*lines, *(f"Not tried: {', '.join(edits)}: {reason}." for reason, edits in absent.items())]
