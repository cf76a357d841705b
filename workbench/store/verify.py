"""Recompute everything a sealed store promises."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from workbench.errors import HashMismatch
from workbench.store.locking import LOCK_NAME
from workbench.store.manifest import JOURNAL_NAME, MANIFEST_NAME
from workbench.store.reader import RunStore
from workbench.store.tables import count_nonfinite


@dataclass(frozen=True, slots=True)
class StoreReport:
    """A store that holds what it promises.

    Attributes:
        root: its root hash, recomputed.
        n_shards, n_problems, n_rows, n_nonfinite: counts over all sites.
        n_bytes: size of the shards.
        orphans: files in the folder that the manifest does not list; never read as data.
    """

    root: str
    n_shards: int
    n_problems: int
    n_rows: int
    n_nonfinite: int
    n_bytes: int
    orphans: tuple[str, ...]


def verify_store(path: Path) -> StoreReport:
    """Hash and parse every file, recount every row.

    Raises:
        CorruptArtifact, HashMismatch, SchemaError, UntrustedFormat: naming the file that differs.
    """
    store = RunStore(path, cache_bytes=0)
    for shard in store.manifest.shards:
        tables = store.read_shard(shard)
        found = [count_nonfinite(rows.vectors) for rows in tables]
        if found != shard.n_nonfinite:
            raise HashMismatch(
                "rows that are not finite were miscounted",
                path=store.path / shard.file,
                field="n_nonfinite",
                expected=shard.n_nonfinite,
                found=found,
            )
    return StoreReport(
        root=store.root,
        n_shards=len(store.manifest.shards),
        n_problems=len(store.problems),
        n_rows=sum(info.rows for info in store.sites.values()),
        n_nonfinite=store.n_nonfinite,
        n_bytes=sum(shard.bytes for shard in store.manifest.shards),
        orphans=_orphans(store),
    )


def _orphans(store: RunStore) -> tuple[str, ...]:
    known = {LOCK_NAME, MANIFEST_NAME, JOURNAL_NAME, *(shard.file for shard in store.manifest.shards)}
    files = (entry for entry in store.path.rglob("*") if entry.is_symlink() or not entry.is_dir())
    names = (entry.relative_to(store.path).as_posix() for entry in files)
    return tuple(sorted(name for name in names if name not in known))
