"""Before a writer touches a folder: is it ours, is it the same run, is what was committed still there?"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from workbench.errors import ConfigError, IntegrityError, UntrustedFormat
from workbench.jsonio import canonical_json
from workbench.store.files import disk_errors, read_bytes_checked
from workbench.store.journal import Journal
from workbench.store.locking import LOCK_NAME
from workbench.store.manifest import JOURNAL_NAME, MANIFEST_NAME, SHARD_FOLDER, shard_name


def refuse_foreign(folder: Path) -> None:
    """A folder that holds other things and no store is somebody's, not ours."""
    ours = {LOCK_NAME, SHARD_FOLDER, JOURNAL_NAME, MANIFEST_NAME, f"{JOURNAL_NAME}-journal"}
    with disk_errors(folder):
        names = {entry.name for entry in folder.iterdir()}
    if not names & {JOURNAL_NAME, MANIFEST_NAME}:
        foreign = sorted(name for name in names - ours if not name.startswith(".wb-"))
        if foreign:
            raise ConfigError(
                "folder is not empty and not a capture store",
                path=folder,
                found=", ".join(foreign[:5]),
                hint="Choose another --out.",
            )


def refuse_links(folder: Path) -> None:
    """Nothing of ours may stand elsewhere."""
    for name in (SHARD_FOLDER, JOURNAL_NAME, MANIFEST_NAME):
        if (folder / name).is_symlink():
            raise UntrustedFormat("a symbolic link stands in place of a store's file", path=folder / name)


def make_writable(file: Path) -> None:
    """A kill between the two files of a seal leaves the first one read-only."""
    mode = stat.S_IMODE(file.lstat().st_mode)
    if not mode & stat.S_IWUSR:
        with disk_errors(file):
            file.chmod(mode | stat.S_IWUSR)


def check_same_run(before: tuple[dict[str, Any], int], now: tuple[dict[str, Any], int], path: Path) -> None:
    """Refuse to mix two runs: (config, number of shards) must be those that the folder was begun with."""
    keys = _differing(before[0], now[0], "")
    if before[1] != now[1]:
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
                _differing(before[key], now[key], f"{prefix}{key}.") if key in before and key in now else [prefix + key]
            )
        ]
    return [] if canonical_json(before) == canonical_json(now) else [prefix.rstrip(".")]


def settle_shards(folder: Path, journal: Journal) -> None:
    """Make the shard files and the journal agree.

    A file without its transaction is removed. A committed shard whose file is gone is taken back, so
    that it is captured again. A committed shard that changed is never overwritten behind one's back.

    Raises:
        CorruptArtifact, HashMismatch, UntrustedFormat: a committed shard is damaged.
    """
    committed = {shard.index: shard for shard in journal.shards()}
    for index in range(journal.n_shards):
        file = folder / shard_name(index)
        shard = committed.get(index)
        if shard is None:
            with disk_errors(file):
                file.unlink(missing_ok=True)
        elif not os.path.lexists(file):
            journal.forget(index)
        else:
            try:
                read_bytes_checked(file, folder, shard.sha256, shard.bytes)
            except (IntegrityError, UntrustedFormat) as error:
                error.hint = "Delete this file and run again: only its problems are captured anew."
                raise
