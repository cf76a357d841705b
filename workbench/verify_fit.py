"""Verify a fit: packs against their hashes, the record against the packs, tables and report against the record."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from probes import FrozenProbe, load_probes
from probes.errors import ProbeFileError
from probes.text_files import SavedText, load_texts
from workbench.errors import CorruptArtifact, HashMismatch, SchemaError
from workbench.fitting.finish import PACK_NAME, SPEC_NAME, TEXTS_NAME, TEXTS_SPEC_NAME, TOLD_OF_A_CELL, probe_name
from workbench.fitting.job import JOB_NAME, PARQUET_NAME, REPORT_NAME, TABLE_NAME, TWIN_FOLDER
from workbench.fitting.parts import KIND_OF, text_name
from workbench.jsonio import digest, read_json
from workbench.reports.fit_html import render_fit_report
from workbench.reports.fit_records import FIT_NAME, CellRecord, FitRecord, read_fit
from workbench.reports.fit_tables import cells_csv, cells_parquet
from workbench.store import verify_store
from workbench.store.files import read_bounded

MAX_BYTES = 4 * 1024**3
"""Of one file; no more is read."""
BEFORE = "Something in this folder was changed after the fit was written."

Tell = Callable[[str], None]


def verify_fit(folder: Path, passed: Tell) -> FitRecord:
    """Hold every file of a fit against the others; the run itself is not needed and not read.

    Args:
        folder: what `workbench fit` wrote.
        passed: called with each group of checks that held.

    Raises:
        CorruptArtifact: a file is missing, damaged, or the fit is not finished.
        HashMismatch: a file or a number is not what was recorded.
    """
    record = _record(folder)
    probes = load_probes(*_pack(folder, (PACK_NAME, SPEC_NAME), "probes_root", record.probes_root, load_probes))
    passed(f"{len(probes)} probes are as written")
    _hold_probes(folder, record, probes)
    _hold_texts(folder, record)
    passed("every score stands with the probe that it was measured of")
    _hold_table(folder, record)
    _hold_parquet(folder, record)
    _hold_report(folder, record)
    passed("tables and report follow from fit.json")
    _hold_job(folder, record)
    passed("the job was begun with the recorded plan, run and versions")
    return record


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """What breaks a schema here was damaged: nobody writes these files by hand."""
    try:
        yield
    except SchemaError as error:
        raise CorruptArtifact(error.message, path=path, field=error.field) from error


def _bytes(path: Path) -> bytes:
    return read_bounded(path, path.parent, MAX_BYTES)


def _record(folder: Path) -> FitRecord:
    path = folder / FIT_NAME
    if not path.is_file():
        raise CorruptArtifact("missing file", path=path, hint="The fit did not finish; run its command again.")
    with _damage(path):
        record = read_fit(folder)
    if record.to_json() != _bytes(path):
        raise HashMismatch("is not in the form in which it was written", path=path, field="canonical JSON")
    return record


def _pack(
    folder: Path, names: tuple[str, str], field: str, root: str, load: Callable[[bytes, bytes], object]
) -> tuple[bytes, bytes]:
    """Tensors and specification that are sound and those of the record."""
    tensors, spec = (_bytes(folder / name) for name in names)
    try:
        load(tensors, spec)
    except ProbeFileError as error:
        of_the_tensors = (error.field or "").startswith("tensors")
        name = names[0] if of_the_tensors else names[1]
        raise CorruptArtifact(f"not a pack: {error.message}", path=folder / name, field=error.field) from error
    if (found := digest(tensors + spec)) != root:
        raise HashMismatch("is not the pack that was recorded", path=folder / names[0], field=field, expected=root,
                           found=found)  # fmt: skip
    return tensors, spec


def _hold_probes(folder: Path, record: FitRecord, probes: Mapping[str, FrozenProbe]) -> None:
    """Every cell with a score has its probe, no other probe is there, and both tell the same."""
    path = folder / FIT_NAME
    scored = {
        probe_name(cell.site, cell.step, cell.label, cell.probe): (place, cell)
        for place, cell in enumerate(record.fits)
        if cell.accuracy is not None
    }
    _same_names(path, "fits", set(scored), set(probes))
    for name, (place, cell) in scored.items():
        for key, told, found in _pairs(cell, probes[name], record):
            if told != found:
                raise HashMismatch("the record tells another value than its probe", path=path,
                                   field=f"fits[{place}].{key}", expected=told, found=found)  # fmt: skip


def _pairs(cell: CellRecord, probe: FrozenProbe, record: FitRecord) -> Iterator[tuple[str, Any, Any]]:
    """(field, what the probe tells, what the record tells)."""
    plain, told = cell.to_plain(), probe.metadata
    for key in (*TOLD_OF_A_CELL, "probe"):
        yield key, told.get(key), plain[key]
    yield "probe", probe.kind, KIND_OF.get(cell.probe, cell.probe)
    yield "run_root", told.get("run_root"), record.run_root
    yield "model", told.get("model"), record.model
    yield "plan.held_out", told.get("held_out"), record.plan.get("held_out")


def _hold_texts(folder: Path, record: FitRecord) -> None:
    path = folder / FIT_NAME
    texts: dict[str, SavedText] = {}
    if record.texts_root is not None:
        names = (TEXTS_NAME, TEXTS_SPEC_NAME)
        texts = load_texts(*_pack(folder, names, "texts_root", record.texts_root, load_texts))
    elif (folder / TEXTS_NAME).exists():
        raise HashMismatch("the record knows no text probes", path=folder / TEXTS_NAME, field="texts_root")
    scored = {
        text_name(row.site, row.step): (place, row)
        for place, row in enumerate(record.text)
        if row.exact_match is not None
    }
    _same_names(path, "text", set(scored), set(texts))
    for name, (place, row) in scored.items():
        told = texts[name].metadata
        found = {"site": row.site, "step": row.step, "run_root": record.run_root, "model": record.model}
        for key, value in found.items():
            if told.get(key) != value:
                raise HashMismatch("the record tells another value than its text probe", path=path,
                                   field=f"text[{place}].{key}", expected=told.get(key), found=value)  # fmt: skip


def _same_names(path: Path, field: str, recorded: set[str], packed: set[str]) -> None:
    if recorded != packed:
        raise HashMismatch(
            "scores and probes do not belong together", path=path, field=field,
            expected=", ".join(sorted(packed - recorded)[:5]) or "no other",
            found=", ".join(sorted(recorded - packed)[:5]),
        )  # fmt: skip


def _hold_table(folder: Path, record: FitRecord) -> None:
    _same_lines(folder / TABLE_NAME, cells_csv(record).encode(), "the table does not follow from fit.json")


def _hold_report(folder: Path, record: FitRecord) -> None:
    _same_lines(folder / REPORT_NAME, render_fit_report(record).encode(), "the report does not follow from fit.json")


def _same_lines(path: Path, again: bytes, message: str) -> None:
    """Raise with the first line that differs."""
    data = _bytes(path)
    if data == again:
        return
    mine, theirs = again.split(b"\n"), data.split(b"\n")
    number = next((k for k, pair in enumerate(zip(mine, theirs, strict=False)) if pair[0] != pair[1]),
                  min(len(mine), len(theirs)))  # fmt: skip
    expected, found = (_excerpt(lines[number] if number < len(lines) else b"") for lines in (mine, theirs))
    raise HashMismatch(message, path=path, field=f"line {number + 1}", expected=expected, found=found, hint=BEFORE)


def _excerpt(line: bytes) -> str:
    text = line.decode("utf-8", errors="replace").strip()
    return text if len(text) <= 120 else f"{text[:120]}…"


def _hold_parquet(folder: Path, record: FitRecord) -> None:
    """The same bytes, or the same values where another version of pandas or Arrow wrote them."""
    path, again = folder / PARQUET_NAME, cells_parquet(record)
    data = _bytes(path)
    if data == again:
        return
    same = False
    if any(record.versions.get(package) != version(package) for package in ("pandas", "pyarrow")):
        try:
            written, wanted = (pq.read_table(io.BytesIO(one)).replace_schema_metadata() for one in (data, again))
        except (pa.ArrowException, OSError) as error:
            raise CorruptArtifact(f"not a Parquet file: {error}", path=path) from error
        same = written.equals(wanted)
    if not same:
        raise HashMismatch("the table does not follow from fit.json", path=path, field="cells", hint=BEFORE)


def _hold_job(folder: Path, record: FitRecord) -> None:
    path = folder / JOB_NAME
    _bytes(path)  # refuses what is missing, or is no file
    with _damage(path):
        job = read_json(path)
    if not isinstance(job, dict):
        raise CorruptArtifact("holds no object", path=path)
    recorded: dict[str, Any] = {"run_root": record.run_root, "plan": record.plan, "versions": record.versions}
    recorded |= {key: value for key, value in (("model", record.model), ("twin", record.twin_root)) if job.get(key)}
    for key, value in recorded.items():
        if job.get(key) != value:
            raise HashMismatch("the job was begun with another value than was recorded", path=path, field=key,
                               expected=value, found=job.get(key))  # fmt: skip
    if record.twin_root is not None and job.get("twin") is None:
        root = verify_store(folder / TWIN_FOLDER).root
        if root != record.twin_root:
            raise HashMismatch("is not the twin that was recorded", path=folder / TWIN_FOLDER, field="twin_root",
                               expected=record.twin_root, found=root)  # fmt: skip
