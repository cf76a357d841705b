"""The tables of `manifest.sqlite`, and reading them without trusting them."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.errors import CorruptArtifact, HashMismatch, SchemaError
from workbench.jsonio import canonical_json, digest, parse_json
from workbench.store.manifest import ShardRecord, check_schema, shard_name

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
TABLES = ("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)", _SHARDS, _PROBLEMS)


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
        return (*columns, _checksum(columns))

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


def insert_rows(database: sqlite3.Connection, shards: Sequence[ShardRow], problems: Sequence[ProblemRow]) -> None:
    """Add rows inside the caller's transaction."""
    database.executemany(
        "INSERT INTO shards VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", [shard.values() for shard in shards]
    )
    database.executemany("INSERT INTO problems VALUES (?, ?, ?, ?)", [problem.values() for problem in problems])


def guard_database(database: sqlite3.Connection) -> None:
    """No code from the file's schema, no reliance on its structure."""
    database.execute("PRAGMA trusted_schema = OFF")
    database.execute("PRAGMA cell_size_check = ON")
    database.execute("PRAGMA temp_store = MEMORY")


def check_database(database: sqlite3.Connection, path: Path) -> tuple[bytes, int]:
    """Canonical config and number of shards, after the structure and the version were checked."""
    verdict = database.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != ("ok",):
        raise CorruptArtifact(f"database is damaged: {verdict and verdict[0]}", path=path)
    query = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"
    found = [row[0] for row in database.execute(query)]
    meta = dict(database.execute("SELECT key, value FROM meta")) if TABLES[0] in found else {}
    check_schema(meta.get("schema"), path)
    if tuple(found) != TABLES:
        raise CorruptArtifact("tables are not those of a capture store", path=path, field="schema")
    texts = {key: str(value) for key, value in meta.items()}
    checksum = texts.pop("checksum", None)
    if set(texts) != {"schema", "config", "n_shards"} or digest(canonical_json(texts)) != checksum:
        raise HashMismatch("config was edited", path=path, field="meta")
    n_shards = texts["n_shards"]
    if not (n_shards.isascii() and n_shards.isdigit()) or len(n_shards) > 9:
        raise CorruptArtifact("not a number of shards", path=path, field="n_shards", found=n_shards[:80])
    return texts["config"].encode("utf-8"), int(n_shards)


def shard_rows(database: sqlite3.Connection, path: Path) -> list[ShardRow]:
    """The shards in order, each compared with its checksum."""
    rows = []
    for columns in database.execute("SELECT * FROM shards ORDER BY shard"):
        index, _, sha256, size, n_problems, first, last, counts, nonfinite, checksum = columns
        field = f"shards.{index}"
        if _checksum(columns[:-1]) != checksum:
            raise HashMismatch("shard row was edited", path=path, field=field)
        seen = None if first is None else (first, last)
        lists = [tuple(parse_json(text, path=path, field=field)) for text in (counts, nonfinite)]
        rows.append(ShardRow(index, sha256, size, n_problems, seen, lists[0], lists[1]))
    return rows


def _checksum(columns: Sequence[Any]) -> str | None:
    """Hash of a row; None for values that no row of ours can have."""
    if not all(isinstance(column, int | str | None) for column in columns):
        return None
    try:
        return digest(canonical_json(columns))
    except SchemaError:
        return None


def problem_rows(database: sqlite3.Connection, path: Path) -> list[ProblemRow]:
    """The problems, which must be those that their shards came with: no more, no less."""
    rows = []
    for shard, position, sha256, record in database.execute("SELECT * FROM problems ORDER BY shard, position"):
        kinds = (type(shard), type(position), type(record))
        if kinds != (int, int, str) or digest(record.encode("utf-8")) != sha256:
            raise HashMismatch("problem was edited", path=path, field=f"problems.{shard}.{position}")
        rows.append(ProblemRow(shard, position, record))
    count = Counter(row.shard for row in rows)
    promised = {shard: n for shard, n in database.execute("SELECT shard, n_problems FROM shards") if n}
    # The key is unique, so that n positions below n are all of them.
    if count != promised or any(not 0 <= row.position < count[row.shard] for row in rows):
        raise CorruptArtifact("problems are missing or of unknown shards", path=path, field="problems")
    return rows
