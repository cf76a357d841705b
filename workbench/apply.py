"""Apply: read the vectors of a run with the probes of a fit and the lenses of its model, and score them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from probes import FrozenProbe, merge_duplicate_groups
from probes.splits import held_out_by_hash
from workbench.applying.lenses import Lenses, measured_lenses, translators_of
from workbench.applying.readers import Likeliest, Reader, measured_by, place_of, probe_reader
from workbench.applying.tally import Tally
from workbench.errors import ConfigError, HashMismatch, SchemaError
from workbench.fit import load_fits
from workbench.fitting.labels import LabelTable
from workbench.fitting.learned_from import are_among
from workbench.reasoners.loading import LoadedModel
from workbench.reports.apply_records import APPLY_NAME, Applied, ApplyRecord
from workbench.reports.fit_records import FitRecord, read_fit
from workbench.store import RunStore, SiteRows, joined_visits, write_file
from workbench.store.files import make_folder, written_whole
from workbench.store.selection import Selection, selection_of
from workbench.tasks.base import plain_prompt

READINGS_NAME = "readings.parquet"
COLUMNS = pa.schema([
    ("id", pa.string()), ("probe", pa.string()), ("site", pa.string()), ("step", pa.int32()), ("label", pa.string()),
    ("kind", pa.string()), ("read", pa.string()), ("score", pa.float64()), ("known", pa.string()),
])  # fmt: skip
"""What every folder of readings has."""
SCHEMA = pa.schema([
    *COLUMNS, ("visit", pa.int32()), ("top", pa.list_(pa.string())), ("top_scores", pa.list_(pa.float64())),
])  # fmt: skip
"""`visit` is null where all visits of a step are read together; `top` starts with `read`, `top_scores` with `score`."""

GROUP_ROWS = 2**16
"""Rows of a row group of the table, about."""

Progress = Callable[[int, int], None]
"""Called with (shards done, shards of the run)."""


class _Truth:
    """Known values of a run's problems, and which of them the probes learned from."""

    def __init__(self, store: RunStore, record: FitRecord) -> None:
        self.problems = [item["problem"] for item in store.problems]
        self.table = LabelTable(self.problems)
        groups = [problem["group"] for problem in self.problems]
        if record.plan["duplicates"] == "merge":
            groups = merge_duplicate_groups(groups, [plain_prompt(problem) for problem in self.problems])
        self.groups = groups
        share, seed = record.plan["held_out"], record.plan["seed"]
        if not isinstance(share, float) or not isinstance(seed, int):
            raise SchemaError("the fit does not tell how it was split", field="plan.held_out, plan.seed")
        if store.root == record.run_root:
            self.fresh = held_out_by_hash(groups, share, seed=seed)
        else:
            try:
                self.fresh = ~are_among([plain_prompt(problem) for problem in self.problems], record.fit_prompts)
            except ValueError as error:
                raise SchemaError(
                    f"the fit does not tell what it learned from: {error}", field="fit_prompts"
                ) from error

    def values(self, label: str, step: int) -> list[str | None]:
        """Known value of each problem; none for labels from a file, which is not at hand."""
        column = None if label.startswith("file:") else self.table.column(label, step)
        if column is None:
            return [None] * len(self.problems)
        return [column.classes[code] if code >= 0 else None for code in column.codes]


def apply_probes(
    fit: Path, run: Path, out: Path, *, model: LoadedModel | None = None, progress: Progress | None = None
) -> list[Applied]:
    """Read every vector of a run that a probe of a fit is for; memory is bounded by one shard.

    Args:
        fit: a folder that `workbench fit` wrote.
        run: a sealed store of the same model.
        out: folder to write: `readings.parquet` (a row for each vector and reader) and `apply.json` (a row per reader).
        model: the model of the run: its lenses read every site that its head reads.
        progress: called after every shard.

    Raises:
        HashMismatch: another model was captured, or the probes changed.
        ConfigError: the run holds none of the sites, or vectors of another width; the head of the model reads none.
    """
    record = read_fit(fit)
    probes = load_fits(fit, expected_root=record.probes_root)
    store = RunStore(run, cache_bytes=0)
    _must_be_of_one_model(store, record, model)
    usable = {name: probe for name, probe in probes.items() if place_of(probe, fit)[0] in store.sites}
    if not usable:
        sites = ", ".join(sorted({place_of(probe, fit)[0] for probe in probes.values()}))
        raise ConfigError("the run holds none of the probes' sites", path=run, field="sites", expected=sites,
                          found=", ".join(store.sites))  # fmt: skip
    truth = _Truth(store, record)
    lenses = None if model is None else _lenses(model, store, fit, record, truth)
    readers = list(_probe_readers(usable, truth, fit, record))
    tallies = {asked.name: Tally(asked, reader.kind) for reader in readers for asked in reader.asked}
    make_folder(out)
    foreign = sorted({item.name for item in out.iterdir()} - {READINGS_NAME, APPLY_NAME})
    if foreign:
        raise ConfigError(
            "the folder holds other things than readings", path=out, field="out", found=", ".join(foreign[:5]),
            hint="Choose another --out.",
        )  # fmt: skip
    with written_whole(out / READINGS_NAME) as stream, pq.ParquetWriter(stream, SCHEMA) as writer:
        for batches in _gathered(_read_all(store, readers, lenses, tallies, truth, progress)):
            writer.write_table(pa.Table.from_batches(batches))
    applied = [tallies[name].applied() for name in sorted(tallies)]
    summary = ApplyRecord(
        family=store.config.get("family"), run_root=store.root, probes_root=record.probes_root,
        left_out=sorted(set(probes) - set(usable)), probes=applied,
    )  # fmt: skip
    write_file(out / APPLY_NAME, summary.to_json())
    return applied


def _must_be_of_one_model(store: RunStore, record: FitRecord, model: LoadedModel | None) -> None:
    captured = store.config.get("model")
    if record.model != captured:
        raise HashMismatch(
            "the run is of another model than the probes", path=store.path, field="model", expected=record.model,
            found=captured, hint="Fit probes on a run of this model.",
        )  # fmt: skip
    if model is not None and model.fingerprint != captured:
        raise HashMismatch(
            "the run is of another model", path=store.path, field="model", expected=captured, found=model.fingerprint,
            hint="Give --model the model that was captured.",
        )  # fmt: skip


def _probe_readers(probes: Mapping[str, FrozenProbe], truth: _Truth, fit: Path, record: FitRecord) -> Iterator[Reader]:
    measured = measured_by(record)
    for name, probe in probes.items():
        told = probe.metadata
        site, step = place_of(probe, fit)
        fitted = measured.get((site, step, told["label"], told.get("probe", probe.kind)))
        yield probe_reader(name, probe, truth.values(told["label"], step), fitted, fit)


def _labels_with_values(record: FitRecord) -> set[str]:
    """Labels of the fit but those from a file, which is not at hand."""
    return {cell.label for cell in record.fits if not cell.label.startswith("file:")}


def _lenses(model: LoadedModel, store: RunStore, fit: Path, record: FitRecord, truth: _Truth) -> Lenses:
    lenses = Lenses(
        model.reasoner, truth.values, labels=_labels_with_values(record), translators=translators_of(fit, record),
        measured=measured_lenses(fit, record),
    )  # fmt: skip
    if not any(lenses.read_site(site, info.dim) for site, info in store.sites.items()):
        raise ConfigError(
            "the model's head reads no vectors of this run", path=store.path, field="sites",
            found=", ".join(store.sites), hint="Capture `thought` or a residual stream, or leave --model away.",
        )  # fmt: skip
    return lenses


def _read_all(
    store: RunStore, probes: Sequence[Reader], lenses: Lenses | None, tallies: dict[str, Tally], truth: _Truth,
    progress: Progress | None,
) -> Iterator[pa.RecordBatch]:  # fmt: skip
    """Every reading, shard by shard and site by site; lenses that are met are tallied too."""
    for done, shard in enumerate(store.manifest.shards, start=1):
        for (site, info), rows in zip(store.sites.items(), store.read_shard(shard), strict=True):
            readers = [reader for reader in probes if reader.site == site]
            if lenses is not None and lenses.read_site(site, info.dim):
                readers += lenses.at(site, map(tuple, np.unique(rows.address[:, 1:3], axis=0).tolist()))
            for reader in readers:
                block = _rows_for(reader, rows)
                if block is None:
                    continue
                found = reader.read(block.vectors)
                for asked in reader.asked:
                    tally = tallies.setdefault(asked.name, Tally(asked, reader.kind))
                    yield _told(reader, tally, found, block, truth)
        if progress is not None:
            progress(done, len(store.manifest.shards))


def _gathered(batches: Iterable[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """Batches of `GROUP_ROWS` rows or more: a row group for each of many thousand readers would be all footer."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        if sum(one.num_rows for one in waiting) >= GROUP_ROWS:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def _rows_for(reader: Reader, rows: SiteRows) -> Selection | None:
    """Rows of a shard that a reader is for, those that are not finite left out; None where there are none."""
    mine = rows.address[:, 1] == reader.step
    if reader.visit is not None:
        mine &= rows.address[:, 2] == reader.visit
    block = selection_of(rows.vectors[mine], rows.address[mine])
    block = joined_visits(block) if reader.visit is None else block
    finite = np.isfinite(block.vectors).all(axis=1)
    if not finite.any():
        return None
    return Selection(*(getattr(block, name)[finite] for name in ("vectors", "example", "step", "visit", "pos")))


def _told(reader: Reader, tally: Tally, found: Likeliest, rows: Selection, truth: _Truth) -> pa.RecordBatch:
    """What was read of some rows as rows of the table, tallied where the value is known and nothing was learned."""
    asked, examples, n = tally.asked, rows.example.tolist(), len(rows)
    read = [texts[0] for texts in found.texts]
    known = [asked.known[example] for example in examples]
    tally.n_read += n
    for example, one, value in zip(examples, read, known, strict=True):
        if value is not None and truth.fresh[example]:
            tally.score(one, value, truth.groups[example])
    columns = [
        [truth.problems[example]["id"] for example in examples], [asked.name] * n, [reader.site] * n,
        [reader.step] * n, [asked.label] * n, [reader.kind] * n, read, found.scores[:, 0], known, [reader.visit] * n,
        found.texts, found.scores.tolist(),
    ]  # fmt: skip
    return pa.record_batch([pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)],
                           schema=SCHEMA)  # fmt: skip
