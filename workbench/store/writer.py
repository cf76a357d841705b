"""Write a store so that a kill at any moment loses no acknowledged shard.

Order of an append: shard file durable, then one transaction with the shard and
its problems, then return. A shard file without its transaction is an orphan
that the next open removes. Order of a seal: the rebuilt `manifest.sqlite`,
then `manifest.json`; a store is sealed when the latter exists.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

from workbench.errors import ConfigError, CorruptArtifact, InsufficientData, SchemaError
from workbench.jsonio import canonical_json, digest, parse_json
from workbench.store.files import disk_errors, sweep_temps, write_file
from workbench.store.journal import Journal, ProblemRow, ShardRow, image
from workbench.store.locking import LOCK_NAME, FolderLock
from workbench.store.manifest import (
    JOURNAL_NAME,
    MANIFEST_NAME,
    SHARD_FOLDER,
    FileRecord,
    ShardRecord,
    build_manifest,
    is_sealed,
    load_manifest,
    shard_name,
)
from workbench.store.tables import SiteRows, check_tables, count_nonfinite, encode_shard, site_specs

MAX_SHARDS = 100_000


@final
class StoreWriter:
    """The one writer of a store folder; use it as a context manager, or call `close`.

    Attributes:
        path: the folder.
        done: indices of the committed shards.
        sealed: whether the store is complete.
    """

    def __init__(self, path: Path, config: dict[str, Any], n_shards: int, lock: FolderLock) -> None:
        self.path = path
        self._config = config
        self._n_shards = n_shards
        self._specs = site_specs(config)
        self._lock = lock
        self._journal: Journal | None = None
        self._shards: dict[int, ShardRow] = {}
        self._root: str | None = None
        self._failed = False

    @classmethod
    def open(cls, path: Path, *, config: Mapping[str, Any], n_shards: int) -> StoreWriter:
        """Create a store, resume a half-written one, or open a sealed one with nothing left to do.

        Args:
            path: the folder; created where it is missing.
            config: plain JSON values that fix what is captured; ``config["sites"]`` maps each site to
                ``{"dim": int, "dtype": "float32" | "float16", "axes": [...]}``.
            n_shards: how many chunks of problems the run has.

        Raises:
            ConfigError: the folder holds a store of another config, or is not a store, or cannot be written.
            StoreBusy: another process is writing there.
            CorruptArtifact, HashMismatch, SchemaError: what is there is damaged or of a newer version.
        """
        canonical = canonical_json(dict(config))
        plain = parse_json(canonical.decode("utf-8"), path=path, field="config")
        site_specs(plain)
        if type(n_shards) is not int or not 0 < n_shards <= MAX_SHARDS:
            raise ConfigError(
                "not a number of shards", field="n_shards", expected=f"1 to {MAX_SHARDS}", found=n_shards
            )
        with disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
            folder = path.resolve()
            _refuse_foreign(folder)
        lock = FolderLock(folder)
        lock.acquire()
        writer = cls(folder, plain, n_shards, lock)
        try:
            writer._start(canonical)
        except BaseException:
            writer.close()
            raise
        return writer

    def _start(self, canonical: bytes) -> None:
        with disk_errors(self.path):
            (self.path / SHARD_FOLDER).mkdir(exist_ok=True)
        sweep_temps(self.path)
        sweep_temps(self.path / SHARD_FOLDER)
        if is_sealed(self.path):
            manifest = load_manifest(self.path)
            _same_run(manifest.config, len(manifest.shards), self._config, self._n_shards, self.path)
            self._root = manifest.root
            self._shards = {shard.index: _journal_row(shard) for shard in manifest.shards}
            return
        file = self.path / JOURNAL_NAME
        if not file.exists():
            Journal.create(self.path, canonical, self._n_shards)
        _make_writable(file)
        self._journal = Journal(self.path)
        before = parse_json(self._journal.config.decode("utf-8"), path=file, field="config")
        _same_run(before, self._journal.n_shards, self._config, self._n_shards, self.path)
        self._reload()
        self._check_files()

    def _reload(self) -> None:
        if self._journal is not None:
            self._shards = {shard.index: shard for shard in self._journal.shards()}

    def _check_files(self) -> None:
        """Every committed shard is there in full; uncommitted ones go."""
        for index, shard in self._shards.items():
            file = self.path / shard_name(index)
            found = file.lstat().st_size if file.is_file() and not file.is_symlink() else None
            if found != shard.bytes:
                raise CorruptArtifact(
                    "a committed shard is missing or has another size",
                    path=file,
                    field="size",
                    expected=f"{shard.bytes} bytes",
                    found="no file" if found is None else f"{found} bytes",
                    hint="Put the file back, or delete the store and capture again.",
                )
        with disk_errors(self.path):
            for index in range(self._n_shards):
                if index not in self._shards:
                    (self.path / shard_name(index)).unlink(missing_ok=True)

    @property
    def done(self) -> frozenset[int]:
        """Indices of the committed shards."""
        return frozenset(self._shards)

    @property
    def sealed(self) -> bool:
        """Whether the store is complete and read-only."""
        return self._root is not None

    def append(
        self, index: int, tables: Mapping[str, SiteRows], problems: Sequence[Mapping[str, Any]]
    ) -> None:
        """Store the rows of one chunk of problems; durable on return.

        Args:
            index: which chunk, from 0; in any order, each once.
            tables: for every site its rows; sorted by address on the way in.
            problems: the record of each problem of the chunk, plain JSON values, in the order of the run.

        Raises:
            ConfigError: not an open place in this store.
            SchemaError: another type, shape or site than the config says, or an address twice.
            StorageFull: the disk is full; what was committed stays, the chunk fits after reopening.
        """
        journal = self._writable()
        if type(index) is not int or not 0 <= index < self._n_shards:
            raise ConfigError(
                "no such shard", field="index", expected=f"0 to {self._n_shards - 1}", found=index
            )
        if index in self._shards:
            raise ConfigError("shard is already stored", path=self.path, field="index", found=index)
        ordered = check_tables(self._specs, tables, len(problems))
        records = [canonical_json(dict(problem)).decode("utf-8") for problem in problems]
        rows = [ProblemRow(index, position, record) for position, record in enumerate(records)]
        data = encode_shard(ordered)
        shard = _describe(index, ordered, data, len(problems))
        _place({**self._shards, index: shard})
        self._failed = True
        try:
            write_file(self.path / shard_name(index), data, read_only=True)
            journal.commit(shard, rows)
            self._failed = False
        finally:
            self._reload()

    def _writable(self) -> Journal:
        if self._journal is None:
            state = "sealed" if self.sealed else "closed"
            raise ConfigError(f"this store is {state}", path=self.path, hint="Write to another folder.")
        if self._failed:
            # After a failed sync nobody knows what the disk holds: only a fresh look at it can tell.
            raise ConfigError(
                "an earlier write failed", path=self.path, hint="Close the store and open it again."
            )
        return self._journal

    def seal(self) -> str:
        """Complete the store and return its root hash; calling it again returns the same.

        Raises:
            InsufficientData: shards are missing.
        """
        if self._root is not None:
            return self._root
        journal = self._writable()
        missing = sorted(set(range(self._n_shards)) - self.done)
        if missing:
            raise InsufficientData(
                f"{len(missing)} of {self._n_shards} shards are missing",
                path=self.path,
                found=f"missing {', '.join(map(str, missing[:10]))}",
                hint="Run the same capture command again.",
            )
        records = _place(self._shards)
        problems = journal.problems()
        ordered = [self._shards[index] for index in sorted(self._shards)]
        database = image(canonical_json(self._config), self._n_shards, ordered, problems)
        journal.close()
        self._journal = None
        index = FileRecord(sha256=digest(database), bytes=len(database))
        manifest = build_manifest(self._config, records, [problem.sha256 for problem in problems], index)
        write_file(self.path / JOURNAL_NAME, database, read_only=True)
        write_file(self.path / MANIFEST_NAME, manifest, read_only=True)
        self._root = load_manifest(self.path).root
        return self._root

    def close(self) -> None:
        """Give the folder back; safe to call twice."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _describe(index: int, tables: Sequence[SiteRows], data: bytes, n_problems: int) -> ShardRow:
    examples = [rows.address[:, 0] for rows in tables if len(rows.address)]
    return ShardRow(
        index=index,
        sha256=digest(data),
        bytes=len(data),
        n_problems=n_problems,
        seen=(int(min(e.min() for e in examples)), int(max(e.max() for e in examples))) if examples else None,
        rows=tuple(len(rows.vectors) for rows in tables),
        n_nonfinite=tuple(count_nonfinite(rows.vectors) for rows in tables),
    )


def _place(shards: Mapping[int, ShardRow]) -> list[ShardRecord]:
    """Where each shard lies in the run, as far as all before it are known; refuses rows of other problems."""
    records: list[ShardRecord] = []
    first = 0
    for index in range(len(shards)):
        if index not in shards:
            break
        shard = shards[index]
        end = first + shard.n_problems
        seen = shard.seen
        if seen is not None and not first <= seen[0] <= seen[1] < end:
            raise SchemaError(
                f"rows of shard {index} belong to problems of other shards",
                field="address.example",
                expected=f"{first} to {end - 1}",
                found=f"{seen[0]} to {seen[1]}",
            )
        records.append(shard.record(first))
        first = end
    return records


def _journal_row(shard: ShardRecord) -> ShardRow:
    rows, nonfinite = tuple(shard.rows), tuple(shard.n_nonfinite)
    return ShardRow(shard.index, shard.sha256, shard.bytes, shard.n_problems, None, rows, nonfinite)


def _refuse_foreign(folder: Path) -> None:
    """A folder that holds other things and no store is somebody's, not ours."""
    ours = {LOCK_NAME, SHARD_FOLDER, JOURNAL_NAME, MANIFEST_NAME, f"{JOURNAL_NAME}-journal"}
    names = {entry.name for entry in os.scandir(folder)}
    if not names & {JOURNAL_NAME, MANIFEST_NAME}:
        foreign = sorted(name for name in names - ours if not name.startswith(".wb-"))
        if foreign:
            raise ConfigError(
                "folder is not empty and not a capture store",
                path=folder,
                found=", ".join(foreign[:5]),
                hint="Choose another --out.",
            )


def _make_writable(file: Path) -> None:
    """A kill between the two files of a seal leaves the first one read-only."""
    mode = stat.S_IMODE(file.lstat().st_mode)
    if not file.is_symlink() and not mode & stat.S_IWUSR:
        with disk_errors(file):
            file.chmod(mode | stat.S_IWUSR)


def _same_run(before: dict[str, Any], n_before: int, now: dict[str, Any], n_now: int, path: Path) -> None:
    keys = _differing(before, now, "")
    if n_before != n_now:
        keys.append("n_shards")
    if keys:
        raise ConfigError(
            "the store in this folder was captured with other settings",
            path=path,
            field=", ".join(keys[:8]),
            hint="Choose another --out, or delete this folder first.",
        )


def _differing(before: Any, now: Any, prefix: str) -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted(set(before) | set(now))
        return [
            name
            for key in keys
            for name in (
                _differing(before[key], now[key], f"{prefix}{key}.")
                if key in before and key in now
                else [prefix + key]
            )
        ]
    return [] if canonical_json(before) == canonical_json(now) else [prefix.rstrip(".")]
