"""Verify causal effects: shares, intervals, tests, reach and coverage from the outcomes of edits that were kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.causal import Causal, causal_records
from workbench.errors import CorruptArtifact, HashMismatch, SchemaError
from workbench.intervening.effects import beyond
from workbench.intervening.kept import interventions_of
from workbench.intervening.outcomes import MIN_FOLLOWED, covered
from workbench.reports.causal_records import Channel, EditName, StepCausal, Target
from workbench.reports.effects_records import EFFECTS_NAME, EffectsRecord, read_effects

Compare = Callable[[Any, Any, Path, str], None]

COUNTED = f"outcomes of edits ({EFFECTS_NAME}) give every causal effect again; the outcomes themselves need the model"
FROM_SHARES = (
    "reach and coverage follow from the recorded shares; outcomes of edits were not kept then: their shares, intervals "
    "and tests are taken as recorded"
)
TAKEN = (
    "causal effects, reach and coverage among them, are taken as recorded: neither outcomes of edits were kept then, "
    "nor the shares that these two follow from"
)


def read_kept(folder: Path) -> EffectsRecord | None:
    """Outcomes of edits; None where the folder is from before they were kept.

    Raises:
        CorruptArtifact: the file is damaged.
        HashMismatch: it is not canonical JSON, as it was written.
    """
    path = folder / EFFECTS_NAME
    if not path.is_file():
        return None
    try:
        record = read_effects(folder)
    except SchemaError as error:
        raise CorruptArtifact(error.message, path=path, field=error.field) from error
    if record.to_json() != path.read_bytes():
        raise HashMismatch("the record is not as it is written: canonical JSON", path=path)
    return record


def check_effects(
    kept: EffectsRecord | None, channel: Channel, steps: Sequence[tuple[int, StepCausal]], compare: Compare, path: Path,
    *, prefix: str = "",
) -> str:  # fmt: skip
    """Count the recorded causal effects again; returns what was checked, and what could not be.

    Args:
        kept: outcomes of edits; without them only reach and coverage can be counted.
        channel: as recorded.
        steps: the steps' effects as recorded, in the order of the record.
        compare: raises where counting again gives another value.
        path: file of the record.
        prefix: what the channel's field is called after.

    Raises:
        HashMismatch: a number is not what follows from the outcomes.
    """
    if kept is None:
        return _from_shares(channel, compare, path, f"{prefix}channel")
    again = causal_records(interventions_of(kept))
    compare(again.channel.model_dump(mode="json"), channel.model_dump(mode="json"), path, f"{prefix}channel")
    for place, (step, recorded) in enumerate(steps):
        if step not in again.steps:
            raise HashMismatch(
                "no outcomes were kept of a step", path=path, field=f"steps[{place}].step",
                expected=sorted(again.steps), found=step,
            )  # fmt: skip
        compare(_plain(again, step), causal_fields(recorded), path, f"steps[{place}]")
    return COUNTED


def causal_fields(row: StepCausal) -> dict[str, object]:
    """Only what the causal tests found, as plain values."""
    return row.model_dump(mode="json", include=set(StepCausal.model_fields))


def _plain(again: Causal, step: int) -> dict[str, object]:
    return causal_fields(StepCausal(**again.steps[step]))  # type: ignore[arg-type]


def _from_shares(channel: Channel, compare: Compare, path: Path, field: str) -> str:
    if channel.channel_effect is None:  # a channel with a gap
        compare({"reach": None, "coverage": None}, {"reach": channel.reach, "coverage": channel.coverage}, path, field)
        return FROM_SHARES
    followed = _followed(channel)
    if followed is None:
        return TAKEN
    reach = max(0.0, beyond(followed["exchange", "both"], followed["placebo", "both"]))
    part = beyond(followed["exchange", "thoughts"], followed["placebo", "thoughts"])
    again = {"reach": reach, "coverage": covered(part, reach) if reach >= MIN_FOLLOWED else None}
    compare(again, {"reach": channel.reach, "coverage": channel.coverage}, path, field)
    return FROM_SHARES


def _followed(channel: Channel) -> Mapping[tuple[EditName, Target], float] | None:
    """Shares that become the donor's; None where the record is from before reach was counted beyond placebos."""
    if channel.channel_placebo_effect is None:
        return None
    shares = {(one.edit, one.target): one.follows.share for one in channel.edits if one.follows is not None}
    needed: list[tuple[EditName, Target]] = [(e, t) for e in ("exchange", "placebo") for t in ("thoughts", "both")]
    return shares if all(one in shares for one in needed) else None
