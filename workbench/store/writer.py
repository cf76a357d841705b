"""Write a store so that a kill at any moment loses no acknowledged shard.

Order of an append: shard file durable, then one transaction with the shard and
its problems, then return. A shard file without its transaction is an orphan
that the next open removes. Order of a seal: the rebuilt `manifest.sqlite`,
then `manifest.json`; a store is sealed when the latter exists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

from workbench.errors import ConfigError, InsufficientData, SchemaError
from workbench.jsonio import canonical_json, digest, parse_json
from workbench.store.files import make_folder, sweep_temps, write_file
from workbench.store.journal import Journal, image
from workbench.store.locking import FolderLock
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
from workbench.store.resume import check_same_run, make_writable, refuse_foreign, refuse_links, settle_shards
from workbench.store.rows import ProblemRow, ShardRow
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
        self._done: frozenset[int] = frozenset()
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
            raise ConfigError("not a number of shards", field="n_shards", expected=f"1 to {MAX_SHARDS}", found=n_shards)
        make_folder(path)
        folder = path.resolve()
        refuse_foreign(folder)
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
        refuse_links(self.path)
        make_folder(self.path / SHARD_FOLDER)
        sweep_temps(self.path)
        sweep_temps(self.path / SHARD_FOLDER)
        if is_sealed(self.path):
            manifest = load_manifest(self.path)
            check_same_run((manifest.config, len(manifest.shards)), (self._config, self._n_shards), self.path)
            self._root = manifest.root
            self._done = frozenset(range(self._n_shards))
            return
        file = self.path / JOURNAL_NAME
        if not file.exists():
            Journal.create(self.path, canonical, self._n_shards)
        make_writable(file)
        self._journal = Journal(self.path)
        before = parse_json(self._journal.config.decode("utf-8"), path=file, field="config")
        check_same_run((before, self._journal.n_shards), (self._config, self._n_shards), self.path)
        settle_shards(self.path, self._journal)
        self._reload()

    def _reload(self) -> None:
        if self._journal is not None:
            self._shards = {shard.index: shard for shard in self._journal.shards()}
            self._done = frozenset(self._shards)

    @property
    def done(self) -> frozenset[int]:
        """Indices of the committed shards."""
        return self._done

    @property
    def sealed(self) -> bool:
        """Whether the store is complete and read-only."""
        return self._root is not None

    def append(self, index: int, tables: Mapping[str, SiteRows], problems: Sequence[Mapping[str, Any]]) -> None:
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
            raise ConfigError("no such shard", field="index", expected=f"0 to {self._n_shards - 1}", found=index)
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
            raise ConfigError("an earlier write failed", path=self.path, hint="Close the store and open it again.")
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
