"""Apply: read the vectors of a run with probes that were fitted before, and score them where the truth is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from probes import FrozenProbe, Interval, merge_duplicate_groups, share_by_group
from probes.splits import held_out_by_hash
from workbench.errors import ConfigError, CorruptArtifact, HashMismatch, SchemaError
from workbench.fit import load_fits
from workbench.fitting.labels import LabelTable
from workbench.fitting.learned_from import are_among
from workbench.jsonio import canonical_json
from workbench.reports.fit_records import FitRecord, read_fit
from workbench.store import RunStore, joined_visits, write_file
from workbench.store.files import make_folder, written_whole
from workbench.store.selection import selection_of
from workbench.tasks.base import plain_prompt

READINGS_NAME, SUMMARY_NAME = "readings.parquet", "apply.json"
COLUMNS = pa.schema([
    ("id", pa.string()), ("probe", pa.string()), ("site", pa.string()), ("step", pa.int32()), ("label", pa.string()),
    ("kind", pa.string()), ("read", pa.string()), ("score", pa.float64()), ("known", pa.string()),
])  # fmt: skip

Progress = Callable[[int, int], None]
"""Called with (shards done, shards of the run)."""


@dataclass(frozen=True, slots=True)
class Applied:
    """How one probe read a run."""

    name: str
    n_read: int
    """Rows that were read."""
    n: int
    """Rows whose value is known and that the probe did not learn from."""
    n_groups: int
    accuracy: float | None
    """None where no such row has a known value."""
    interval: Interval | None
    majority: float | None
    """Share of the commonest known value among the same rows: what needs no vector."""
    shuffled: float | None
    """What the same probe is worth on shuffled labels, from its fit."""

    def to_plain(self) -> dict[str, Any]:
        """As `apply.json` has it."""
        interval = None if self.interval is None else [self.interval.low, self.interval.high]
        fields = ("name", "n_read", "n", "n_groups", "accuracy", "majority", "shuffled")
        return {**{key: getattr(self, key) for key in fields}, "interval": interval}


@dataclass(slots=True)
class _Tally:
    """What one probe read so far."""

    n_read: int
    right: list[bool]
    known: list[str]
    groups: list[str]


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


def apply_probes(fit: Path, run: Path, out: Path, *, progress: Progress | None = None) -> list[Applied]:
    """Read every vector of a run that a probe of a fit is for; memory is bounded by one shard.

    Args:
        fit: a folder that `workbench fit` wrote.
        run: a sealed store of the same model.
        out: folder to write: `readings.parquet` (a row for each vector and probe) and `apply.json` (a row per probe).
        progress: called after every shard.

    Raises:
        HashMismatch: another model was captured, or the probes changed.
        ConfigError: the run holds none of the sites, or vectors of another width.
    """
    record = read_fit(fit)
    probes = load_fits(fit, expected_root=record.probes_root)
    store = RunStore(run, cache_bytes=0)
    if record.model != store.config.get("model"):
        raise HashMismatch(
            "the run is of another model than the probes", path=run, field="model", expected=record.model,
            found=store.config.get("model"), hint="Fit probes on a run of this model.",
        )  # fmt: skip
    usable = {name: probe for name, probe in probes.items() if _place(probe, fit)[0] in store.sites}
    if not usable:
        sites = ", ".join(sorted({_place(probe, fit)[0] for probe in probes.values()}))
        raise ConfigError("the run holds none of the probes' sites", path=run, field="sites", expected=sites,
                          found=", ".join(store.sites))  # fmt: skip
    truth = _Truth(store, record)
    known = {name: truth.values(probe.metadata["label"], probe.metadata["step"]) for name, probe in usable.items()}
    tallies = {name: _Tally(0, [], [], []) for name in usable}
    make_folder(out)
    foreign = sorted({item.name for item in out.iterdir()} - {READINGS_NAME, SUMMARY_NAME})
    if foreign:
        raise ConfigError(
            "the folder holds other things than readings", path=out, field="out", found=", ".join(foreign[:5]),
            hint="Choose another --out.",
        )  # fmt: skip
    with written_whole(out / READINGS_NAME) as stream, pq.ParquetWriter(stream, COLUMNS) as writer:
        for batch in _read_all(store, usable, known, tallies, truth, fit, progress):
            writer.write_batch(batch)
    applied = [_applied(name, tallies[name], probe) for name, probe in sorted(usable.items())]
    summary = {
        "schema": "neuralese-apply/1",
        "family": store.config.get("family"),
        "run_root": store.root,
        "probes_root": record.probes_root,
        "left_out": sorted(set(probes) - set(usable)),
        "probes": [one.to_plain() for one in applied],
    }
    write_file(out / SUMMARY_NAME, canonical_json(summary))
    return applied


def _place(probe: FrozenProbe, fit: Path) -> tuple[str, int]:
    try:
        return probe.metadata["site"], probe.metadata["step"]
    except KeyError as error:
        raise CorruptArtifact("a probe does not say where it reads", path=fit, field=str(error)) from error


def _read_all(
    store: RunStore, probes: Mapping[str, FrozenProbe], known: Mapping[str, Sequence[str | None]],
    tallies: Mapping[str, _Tally], truth: _Truth, fit: Path, progress: Progress | None,
) -> Iterator[pa.RecordBatch]:  # fmt: skip
    number_of = {site: number for number, site in enumerate(store.sites)}
    for done, shard in enumerate(store.manifest.shards, start=1):
        tables = store.read_shard(shard)
        for name, probe in probes.items():
            site, step = _place(probe, fit)
            rows = tables[number_of[site]]
            mine = rows.address[:, 1] == step
            if not mine.any():
                continue
            block = joined_visits(selection_of(rows.vectors[mine], rows.address[mine]))
            finite = np.isfinite(block.vectors).all(axis=1)
            if finite.any():
                yield _read(
                    name, probe, block.vectors[finite], block.example[finite], known[name], tallies[name], truth
                )
        if progress is not None:
            progress(done, len(store.manifest.shards))


def _read(
    name: str, probe: FrozenProbe, vectors: NDArray[Any], examples: NDArray[np.int32],
    known: Sequence[str | None], tally: _Tally, truth: _Truth,
) -> pa.RecordBatch:  # fmt: skip
    if vectors.shape[1] != probe.coef.shape[1]:
        raise ConfigError(
            "the run's vectors are of another width than the probe's", field=name, expected=probe.coef.shape[1],
            found=vectors.shape[1],
        )  # fmt: skip
    scores = probe.log_proba(vectors)
    best = scores.argmax(axis=1)
    read = [probe.classes[k] for k in best]
    values = [known[example] for example in examples]
    tally.n_read += len(read)
    for example, one, value in zip(examples.tolist(), read, values, strict=True):
        if value is not None and truth.fresh[example]:
            tally.right.append(one == value)
            tally.known.append(value)
            tally.groups.append(truth.groups[example])
    metadata, n = probe.metadata, len(read)
    ids = [truth.problems[example]["id"] for example in examples]
    columns = [
        ids, [name] * n, [metadata["site"]] * n, [metadata["step"]] * n, [metadata["label"]] * n, [probe.kind] * n,
        read, np.exp(scores[np.arange(n), best]), values,
    ]  # fmt: skip
    return pa.record_batch([pa.array(column, field.type) for column, field in zip(columns, COLUMNS, strict=True)],
                           schema=COLUMNS)  # fmt: skip


def _applied(name: str, tally: _Tally, probe: FrozenProbe) -> Applied:
    n = len(tally.right)
    if not n:
        return Applied(name, tally.n_read, 0, 0, None, None, None, probe.metadata.get("shuffled"))
    right = np.array(tally.right)
    commonest = np.unique(tally.known, return_counts=True)[1].max()
    return Applied(
        name, tally.n_read, n, len(set(tally.groups)), float(right.mean()), share_by_group(right, tally.groups),
        float(commonest / n), probe.metadata.get("shuffled"),
    )  # fmt: skip
