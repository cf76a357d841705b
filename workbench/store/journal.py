"""`manifest.sqlite`: which shards are committed, and the problems that came with them.

While a store is written the file is a journal: one transaction per shard. When
it is sealed the file is built anew in one fixed order, so that its bytes do
not tell how often the capture was interrupted. A rollback journal instead of a
write-ahead log: nothing lies beside the file between transactions.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from workbench.errors import ConfigError, CorruptArtifact, SchemaError, StorageFull, StoreBusy
from workbench.jsonio import canonical_json, digest
from workbench.store.files import write_file
from workbench.store.manifest import JOURNAL_NAME, SCHEMA
from workbench.store.rows import (
    TABLES,
    ProblemRow,
    ShardRow,
    check_database,
    guard_database,
    insert_rows,
    problem_rows,
    shard_rows,
)

_BUSY_SECONDS = 5.0
# FULL plus a sync of the folder when the rollback journal goes: commits outlive power cuts.
_DURABLE = "PRAGMA synchronous = EXTRA"


def image(config: bytes, n_shards: int, shards: Sequence[ShardRow] = (), problems: Sequence[ProblemRow] = ()) -> bytes:
    """Bytes of a database with exactly these rows, a pure function of them (for one version of SQLite)."""
    meta = {"schema": SCHEMA, "config": config.decode(), "n_shards": str(n_shards)}
    meta["checksum"] = digest(canonical_json(meta))
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        database.execute("PRAGMA page_size = 4096")
        database.execute("BEGIN")
        for statement in TABLES:
            database.execute(statement)
        database.executemany("INSERT INTO meta VALUES (?, ?)", sorted(meta.items()))
        insert_rows(database, shards, problems)
        database.execute("COMMIT")
        return database.serialize()


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours: full, busy, read-only, or damaged."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            raise StorageFull("the disk took no more", path=path, hint="Free some space and run again.") from error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StoreBusy("another program holds this file", path=path, hint="Close it and run again.") from error
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            raise ConfigError(f"cannot write here: {error}", path=path, hint="Choose another folder.") from error
        if code == sqlite3.SQLITE_IOERR:
            raise CorruptArtifact(
                f"the disk failed: {error}",
                path=path,
                hint="Check the disk, then run the same command again.",
            ) from error
        raise CorruptArtifact(
            f"database is damaged: {error}",
            path=path,
            hint="Delete the store and run the same capture again.",
        ) from error


class Journal:
    """The open `manifest.sqlite` of a store that is being written."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / JOURNAL_NAME
        with sqlite_errors(self.path):
            self._database = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)
            try:
                guard_database(self._database)
                self._database.execute(_DURABLE)
                self.config, self.n_shards = check_database(self._database, self.path)
            except BaseException:
                self._database.close()
                raise

    @staticmethod
    def create(folder: Path, config: bytes, n_shards: int) -> None:
        """Put an empty journal in place, whole or not at all."""
        write_file(folder / JOURNAL_NAME, image(config, n_shards))

    def shards(self) -> list[ShardRow]:
        """The committed shards in order."""
        with sqlite_errors(self.path):
            return shard_rows(self._database, self.path)

    def problems(self) -> list[ProblemRow]:
        """The committed problems in order."""
        with sqlite_errors(self.path):
            return problem_rows(self._database, self.path)

    def commit(self, shard: ShardRow, problems: Sequence[ProblemRow]) -> None:
        """Add a shard and its problems: both or, after any error, neither."""
        with sqlite_errors(self.path), self._transaction():
            insert_rows(self._database, [shard], problems)

    def forget(self, index: int) -> None:
        """Take back a shard whose file is gone, and its problems."""
        with sqlite_errors(self.path), self._transaction():
            self._database.execute("DELETE FROM shards WHERE shard = ?", (index,))
            self._database.execute("DELETE FROM problems WHERE shard = ?", (index,))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                with suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()


def read_image(data: bytes, path: Path) -> tuple[bytes, int, list[ShardRow], list[ProblemRow]]:
    """Config, number of shards, shards and problems from the verified bytes of a sealed `manifest.sqlite`."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database, sqlite_errors(path):
        database.deserialize(data)
        guard_database(database)
        config, n_shards = check_database(database, path)
        return config, n_shards, shard_rows(database, path), problem_rows(database, path)


def committed_of(folder: Path) -> tuple[int, int] | None:
    """(committed, planned) shards of an unsealed store, only read; None when that cannot be told."""
    path = folder / JOURNAL_NAME
    if not path.is_file():
        return None
    with suppress(sqlite3.Error, CorruptArtifact, SchemaError):
        uri = f"{path.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=1.0, isolation_level=None)) as database:
            guard_database(database)
            return len(shard_rows(database, path)), check_database(database, path)[1]
    return None
