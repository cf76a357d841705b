"""Verify what `workbench intervene` wrote: the run it rests on, and effects from the outcomes that were kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from workbench.errors import CorruptArtifact, HashMismatch, SchemaError
from workbench.reports.effects_records import EFFECTS_NAME
from workbench.reports.intervene_records import INTERVENE_NAME, read_intervene
from workbench.store import RunStore, verify_store
from workbench.verify_effects import Compare, check_effects, read_kept


def verify_intervene(folder: Path, passed: Callable[[str], None], compare: Compare) -> str:
    """Hold `intervene.json` against its schema, its run and the outcomes of edits; returns the root of the run.

    Args:
        folder: what `workbench intervene` wrote.
        passed: called with each group of checks that held.
        compare: raises where counting again gives another value.

    Raises:
        CorruptArtifact: a file is missing or damaged.
        HashMismatch: the run is not the one on which thoughts were edited, the record was edited by hand, or an effect
            does not follow from the outcomes.
    """
    path = folder / INTERVENE_NAME
    try:
        record = read_intervene(folder)
    except SchemaError as error:
        raise CorruptArtifact(error.message, path=path, field=error.field) from error
    if record.to_json() != path.read_bytes():
        raise HashMismatch("the record is not as it is written: canonical JSON", path=path)
    passed("intervene.json keeps to its schema")
    found = verify_store(folder / "run").root
    if found != record.run_root:
        raise HashMismatch("the run is another", path=folder / "run", expected=record.run_root, found=found)
    passed("the run is as written")
    kept = read_kept(folder)
    ids = {found["problem"]["id"] for found in RunStore(folder / "run").problems}
    if kept is not None and not ids.issuperset(kept.problems):
        raise HashMismatch(
            "outcomes are of other problems than the run's", path=folder / EFFECTS_NAME, field="problems"
        )
    passed(check_effects(kept, record.channel, [(row.step, row) for row in record.steps], compare, path))
    return found
