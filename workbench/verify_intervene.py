"""Verify what `workbench intervene` wrote: the run it rests on; edits need the model and are taken as recorded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from workbench.errors import CorruptArtifact, HashMismatch, SchemaError
from workbench.reports.intervene_records import INTERVENE_NAME, read_intervene
from workbench.store import verify_store


def verify_intervene(folder: Path, passed: Callable[[str], None]) -> str:
    """Hold `intervene.json` against its schema and its run; returns the root of the run.

    Raises:
        CorruptArtifact: a file is missing or damaged.
        HashMismatch: the run is not the one on which thoughts were edited, or the record was edited by hand.
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
    passed("the run is as written; effects of edits need the model and are taken as recorded")
    return found
