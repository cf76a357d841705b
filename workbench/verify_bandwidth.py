"""Verify a bandwidth measurement: run, report and finished sweeps against the record, decodable bits computed again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from workbench.bandwidth import PARTS_NAME, REPORT_NAME, RUN_NAME
from workbench.bits.decode import decode
from workbench.bits.known import read_thoughts, split_problems
from workbench.errors import CorruptArtifact, HashMismatch, SchemaError
from workbench.jsonio import read_json
from workbench.reasoners.recipe import Speaking
from workbench.reports.bandwidth_html import render_bandwidth
from workbench.reports.bandwidth_records import BANDWIDTH_NAME, BandwidthRecord, read_bandwidth
from workbench.store import RunStore, verify_store

Tell = Callable[[str], None]
Compare = Callable[[Any, Any, Path], None]


def is_bandwidth(folder: Path) -> bool:
    """Whether a measurement was begun here."""
    return (folder / BANDWIDTH_NAME).is_file() or (folder / PARTS_NAME / "all.json").is_file()


def verify_bandwidth(folder: Path, passed: Tell, compare: Compare) -> str:
    """Hold the files of a measurement against each other; used bits need the model and are taken as recorded.

    Args:
        folder: what `workbench bandwidth` wrote.
        passed: called with each group of checks that held.
        compare: raises where computing again gives another value.

    Returns:
        The root of the run.

    Raises:
        CorruptArtifact: a file is missing or damaged, or the measurement is not finished.
        HashMismatch: a file or a number is not what was recorded.
    """
    path = folder / BANDWIDTH_NAME
    if not path.is_file():
        raise CorruptArtifact("the measurement did not finish", path=path, hint="Run its command again.")
    try:
        record = read_bandwidth(folder)
    except SchemaError as error:
        raise CorruptArtifact(error.message, path=path, field=error.field) from error
    found = verify_store(folder / RUN_NAME).root
    if found != record.run_root:
        raise HashMismatch(
            "the run is not the one measured", path=folder / RUN_NAME, expected=record.run_root, found=found
        )
    passed("the run is as written")
    _hold_sweeps(folder, record)
    passed("every sweep is the one that was finished")
    compare(_read_again(folder, record), _read(record), path)
    passed("reading the known values again gives the recorded bits")
    report = folder / REPORT_NAME
    if not report.is_file():
        raise CorruptArtifact("missing file", path=report)
    if report.read_bytes() != render_bandwidth(record).encode():
        raise HashMismatch("the report does not follow from the record", path=report)
    passed("the report follows from bandwidth.json")
    return found


def _hold_sweeps(folder: Path, record: BandwidthRecord) -> None:
    swept = {str(row.step): row.sweep for row in record.steps if row.sweep is not None} | {"all": record.whole}
    for name, sweep in swept.items():
        path = folder / PARTS_NAME / f"{name}.json"
        if read_json(path).get("sweep") != sweep.model_dump(mode="json"):
            raise HashMismatch("the record tells of another sweep than was finished", path=path)


def _read(record: BandwidthRecord) -> dict[str, Any]:
    """What was read, as the record has it."""
    plain = record.to_plain()
    return {
        "labels": plain["labels"],
        "chain": plain["chain"],
        "steps": [[row["step"], row["decodable"], row["told_before"]] for row in plain["steps"]],
    }


def _read_again(folder: Path, record: BandwidthRecord) -> dict[str, Any]:
    store = RunStore(folder / RUN_NAME)
    try:
        speaking = Speaking.model_validate(record.model.speaking)
    except ValidationError as error:
        raise CorruptArtifact("no recipe", path=folder / BANDWIDTH_NAME, field="model.speaking") from error
    thoughts = read_thoughts(store)
    sides = split_problems([found["problem"] for found in store.problems], seed=record.settings.seed)
    decoded = decode(store, speaking, thoughts, sides, seed=record.settings.seed)
    rows = [(step, decoded.record(step), decoded.told_before(step)) for step in thoughts.steps]
    return {
        "labels": decoded.labels,
        "chain": None if decoded.chain is None else decoded.chain.model_dump(mode="json"),
        "steps": [[step, None if row is None else row.model_dump(mode="json"), told] for step, row, told in rows],
    }
