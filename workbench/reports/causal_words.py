"""What the causal tests say, in sentences."""

from __future__ import annotations

from workbench.reports.causal_records import Channel
from workbench.reports.shares import share, span

DECORATIVE = "The thoughts are DECORATIVE: nothing that is said depends on them."
"""Said before anything that was read from such thoughts."""

MIN_COVERAGE = 0.5
"""Below this share of the channel's effect in the captured vectors, agreement proves nothing."""
MIN_REACH = 0.5
"""What follows nothing that was exchanged comes from elsewhere: below this share, agreement proves nothing either."""


def why_not_covered(channel: Channel) -> str | None:
    """Why agreement would prove nothing: thinking may pass beside what was captured. None where it would prove it."""
    if channel.coverage is None or channel.reach is None:
        return f"how much of the thinking the thoughts carry is not measured: {_why_no_coverage(channel)}"
    if channel.reach < MIN_REACH:
        return (
            f"only {share(channel.channel_effect)} of honest answers follow when the thoughts and all that passes with "
            f"them are exchanged, with a placebo {share(channel.channel_placebo_effect)}: most of what is said comes "
            "from elsewhere"
        )
    if channel.coverage < MIN_COVERAGE:
        return (
            f"the captured vectors carry only {channel.coverage:.0%} of what they and the keys and values at their "
            "positions carry together: thinking may pass beside them"
        )
    return None


def coverage_words(channel: Channel) -> str:
    """Coverage with its interval, or why there is none."""
    if channel.decorative:
        return "nothing moves, so there is nothing that the thoughts could carry"
    if channel.coverage is None:
        return f"not measured: {_why_no_coverage(channel)}"
    between = "" if channel.coverage_interval is None else f" ({span(channel.coverage_interval)})"
    return f"the thoughts carry {share(channel.coverage)}{between} of the channel's effect"


def _why_no_coverage(channel: Channel) -> str:
    return channel.coverage_absent or "this record does not say how far answers follow beyond a placebo"


def channel_lines(channel: Channel) -> list[str]:
    """How much is followed, how much of it the thoughts carry, and what stood in for a pause."""
    verb = "make the answer the donor's" if channel.measure == "follows" else "move what is said"
    followed = f"{share(channel.thought_effect)} ({span(channel.thought_interval)}) of {channel.n} honest problems"
    lines = [f"Thoughts used: exchanged thoughts {verb} in {followed}; placebo {share(channel.placebo_effect)}."]
    if channel.channel_effect is not None:
        between = "" if channel.channel_interval is None else f" ({span(channel.channel_interval)})"
        lines.append(
            f"The whole channel: with keys and values exchanged too, {share(channel.channel_effect)}{between}; "
            f"placebo on both {share(channel.channel_placebo_effect)}."
        )
    lines.append(f"Coverage: {coverage_words(channel)}.")
    if channel.filler is not None:
        lines.append(f"Pause: {channel.filler} in the place of every thought.")
    absent: dict[str, list[str]] = {}
    for one in channel.edits:
        if one.absent is not None:
            absent.setdefault(one.absent, []).append(f"{one.edit} on {one.target}")
    return [*lines, *(f"Not tried: {', '.join(edits)}: {reason}." for reason, edits in absent.items())]
