"""`manifest.sqlite`: which shards are committed, and the problems that came with them.

While a store is written the file is a journal: one transaction per shard. When
it is sealed the file is built anew in one fixed order, so that its bytes do
not tell how often the capture was interrupted. A rollback journal instead of a
write-ahead log: nothing lies beside the file between transactions.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.errors import ConfigError, CorruptArtifact, HashMismatch, SchemaError, StorageFull, StoreBusy
from workbench.jsonio import canonical_json, digest, parse_json
from workbench.store.files import write_file
from workbench.store.manifest import JOURNAL_NAME, SCHEMA, ShardRecord, check_schema, shard_name

_SHARDS = """CREATE TABLE shards (
    shard INTEGER PRIMARY KEY,
    file TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    n_problems INTEGER NOT NULL,
    first_seen INTEGER,
    last_seen INTEGER,
    rows TEXT NOT NULL,
    n_nonfinite TEXT NOT NULL,
    checksum TEXT NOT NULL
)"""
_PROBLEMS = """CREATE TABLE problems (
    shard INTEGER NOT NULL,
    position INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (shard, position)
)"""
_TABLES = ("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)", _SHARDS, _PROBLEMS)
_BUSY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ShardRow:
    """One shard as the journal keeps it; where it lies in the run is known only when all are there."""

    index: int
    sha256: str
    bytes: int
    n_problems: int
    seen: tuple[int, int] | None
    """Smallest and largest `example` of its rows; None without rows."""
    rows: tuple[int, ...]
    n_nonfinite: tuple[int, ...]

    def values(self) -> tuple[Any, ...]:
        """The columns of table ``shards``; the last is a checksum of the others."""
        columns = [
            self.index,
            shard_name(self.index),
            self.sha256,
            self.bytes,
            self.n_problems,
            *(self.seen or (None, None)),
            canonical_json(list(self.rows)).decode(),
            canonical_json(list(self.n_nonfinite)).decode(),
        ]
        return (*columns, digest(canonical_json(columns)))

    def record(self, first_example: int) -> ShardRecord:
        """The shard as `manifest.json` lists it."""
        return ShardRecord(
            index=self.index,
            file=shard_name(self.index),
            sha256=self.sha256,
            bytes=self.bytes,
            first_example=first_example,
            n_problems=self.n_problems,
            rows=list(self.rows),
            n_nonfinite=list(self.n_nonfinite),
        )


@dataclass(frozen=True, slots=True)
class ProblemRow:
    """Canonical JSON of one problem's record."""

    shard: int
    position: int
    record: str

    @property
    def sha256(self) -> str:
        """Hash of the record."""
        return digest(self.record.encode("utf-8"))

    def values(self) -> tuple[int, int, str, str]:
        """The columns of table ``problems``."""
        return self.shard, self.position, self.sha256, self.record


def image(
    config: bytes, n_shards: int, shards: Sequence[ShardRow] = (), problems: Sequence[ProblemRow] = ()
) -> bytes:
    """Bytes of a database with exactly these rows, a pure function of them (for one version of SQLite)."""
    meta = {"schema": SCHEMA, "config": config.decode(), "n_shards": str(n_shards)}
    meta["checksum"] = digest(canonical_json(meta))
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        database.execute("PRAGMA page_size = 4096")
        database.execute("BEGIN")
        for statement in _TABLES:
            database.execute(statement)
        database.executemany("INSERT INTO meta VALUES (?, ?)", sorted(meta.items()))
        _insert(database, shards, problems)
        database.execute("COMMIT")
        return database.serialize()


def _insert(database: sqlite3.Connection, shards: Sequence[ShardRow], problems: Sequence[ProblemRow]) -> None:
    database.executemany(
        "INSERT INTO shards VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", [shard.values() for shard in shards]
    )
    database.executemany(
        "INSERT INTO problems VALUES (?, ?, ?, ?)", [problem.values() for problem in problems]
    )


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours: full, busy, read-only, or damaged."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            raise StorageFull(
                "the disk took no more", path=path, hint="Free some space and run again."
            ) from error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StoreBusy(
                "another program holds this file", path=path, hint="Close it and run again."
            ) from error
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            raise ConfigError(
                f"cannot write here: {error}", path=path, hint="Choose another folder."
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
                _guard(self._database)
                # FULL plus a sync of the folder when the rollback journal goes: commits outlive power cuts.
                self._database.execute("PRAGMA synchronous = EXTRA")
                self.config, self.n_shards = _check(self._database, self.path)
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
            return _shard_rows(self._database, self.path)

    def problems(self) -> list[ProblemRow]:
        """The committed problems in order."""
        with sqlite_errors(self.path):
            return _problem_rows(self._database, self.path)

    def commit(self, shard: ShardRow, problems: Sequence[ProblemRow]) -> None:
        """Add a shard and its problems: both or, after any error, neither."""
        with sqlite_errors(self.path), self._transaction():
            _insert(self._database, [shard], problems)

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
        _guard(database)
        config, n_shards = _check(database, path)
        return config, n_shards, _shard_rows(database, path), _problem_rows(database, path)


def committed_of(folder: Path) -> tuple[int, int] | None:
    """(committed, planned) shards of an unsealed store, only read; None when that cannot be told."""
    path = folder / JOURNAL_NAME
    if not path.is_file():
        return None
    with suppress(sqlite3.Error, CorruptArtifact, SchemaError):
        uri = f"{path.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=1.0, isolation_level=None)) as database:
            _guard(database)
            return len(_shard_rows(database, path)), _check(database, path)[1]
    return None


def _guard(database: sqlite3.Connection) -> None:
    """No code from the file's schema, no reliance on its structure."""
    database.execute("PRAGMA trusted_schema = OFF")
    database.execute("PRAGMA cell_size_check = ON")
    database.execute("PRAGMA temp_store = MEMORY")


def _check(database: sqlite3.Connection, path: Path) -> tuple[bytes, int]:
    """Canonical config and number of shards, after the structure and the version were checked."""
    verdict = database.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != ("ok",):
        raise CorruptArtifact(f"database is damaged: {verdict and verdict[0]}", path=path)
    query = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"
    found = [row[0] for row in database.execute(query)]
    meta = dict(database.execute("SELECT key, value FROM meta")) if _TABLES[0] in found else {}
    check_schema(meta.get("schema"), path)
    if tuple(found) != _TABLES:
        raise CorruptArtifact("tables are not those of a capture store", path=path, field="schema")
    texts = {key: str(value) for key, value in meta.items()}
    checksum = texts.pop("checksum", None)
    if set(texts) != {"schema", "config", "n_shards"} or digest(canonical_json(texts)) != checksum:
        raise HashMismatch("config was edited", path=path, field="meta")
    n_shards = texts["n_shards"]
    if not (n_shards.isascii() and n_shards.isdigit()) or len(n_shards) > 9:
        raise CorruptArtifact("not a number of shards", path=path, field="n_shards", found=n_shards[:80])
    return texts["config"].encode("utf-8"), int(n_shards)


def _shard_rows(database: sqlite3.Connection, path: Path) -> list[ShardRow]:
    rows = []
    for columns in database.execute("SELECT * FROM shards ORDER BY shard"):
        index, file, sha256, size, n_problems, first, last, counts, nonfinite, checksum = columns
        field = f"shards.{index}"
        if any(isinstance(column, bytes) for column in columns):
            raise CorruptArtifact("shard row holds raw bytes", path=path, field=field)
        if max(size, n_problems) >= 2**53 or digest(canonical_json(columns[:-1])) != checksum:
            raise HashMismatch("shard row was edited", path=path, field=field)
        if file != shard_name(index):
            raise CorruptArtifact(
                "shard has another file name", path=path, field=field, found=repr(file)[:80]
            )
        seen = None if first is None else (first, last)
        lists = [tuple(parse_json(text, path=path, field=field)) for text in (counts, nonfinite)]
        rows.append(ShardRow(index, sha256, size, n_problems, seen, lists[0], lists[1]))
    return rows


def _problem_rows(database: sqlite3.Connection, path: Path) -> list[ProblemRow]:
    """The problems, which must be those that their shards came with: no more, no less."""
    rows = []
    for shard, position, sha256, record in database.execute(
        "SELECT * FROM problems ORDER BY shard, position"
    ):
        if not isinstance(record, str) or digest(record.encode("utf-8")) != sha256:
            raise HashMismatch("problem was edited", path=path, field=f"problems.{shard}.{position}")
        rows.append(ProblemRow(shard, position, record))
    count = Counter(row.shard for row in rows)
    promised = {shard: n for shard, n in database.execute("SELECT shard, n_problems FROM shards") if n}
    # The key is unique, so that n positions below n are all of them.
    if count != promised or any(not 0 <= row.position < count[row.shard] for row in rows):
        raise CorruptArtifact("problems are missing or of unknown shards", path=path, field="problems")
    return rows
