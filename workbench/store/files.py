"""Whole files or none: the one durable write, and the one checked read.

A write goes to a temporary file of the same folder, is forced to disk, renamed
over its target, and the folder is forced to disk too. A kill or a power cut at
any point leaves the old file or the new one, and at most a `.wb-*.tmp` that
`sweep_temps` removes. A read returns bytes only after their size and hash were
compared with what the manifest promised.
"""

from __future__ import annotations

import errno
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from workbench.errors import (
    ConfigError,
    CorruptArtifact,
    HashMismatch,
    LimitExceeded,
    StorageFull,
    UntrustedFormat,
    WorkbenchError,
)
from workbench.jsonio import digest

TEMP_PREFIX, TEMP_SUFFIX = ".wb-", ".tmp"

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EROFS, errno.EACCES, errno.EPERM}
_UNFIT = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.EINVAL,
    errno.ELOOP,
}
_TOO_MANY = {errno.EMFILE, errno.ENFILE}

# Zero where the system does not know the flag.
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_RAW = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the system's refusals into `StorageFull`, `ConfigError`, `LimitExceeded` or `CorruptArtifact`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in _FULL:
            raise StorageFull(
                f"the disk took no more: {reason}",
                path=path,
                hint="Free some space and run the same command again.",
            ) from error
        if error.errno in _REFUSED:
            raise ConfigError(f"cannot write here: {reason}", path=path, hint="Choose another folder.") from error
        if error.errno in _TOO_MANY:
            raise LimitExceeded(
                "too many open files", path=path, field="open files", hint="Raise ulimit -n."
            ) from error
        if error.errno in _UNFIT:
            raise ConfigError(f"not a place to write to: {reason}", path=path, hint="Choose another path.") from error
        raise CorruptArtifact(
            f"the disk failed: {reason}", path=path, hint="Check the disk, then run the same command again."
        ) from error


def write_file(path: Path, data: bytes, *, read_only: bool = False) -> None:
    """Write a whole file durably, replacing what was there; after return it survives a power cut.

    Args:
        path: the target; its folder must exist. A symbolic link there is replaced, not followed.
        data: the bytes.
        read_only: leave the file without write permission (mode 0444 less the umask).

    Raises:
        StorageFull: no space, quota or file size left.
        ConfigError: read-only or missing folder.
    """
    temp = path.parent / f"{TEMP_PREFIX}{uuid.uuid4().hex}{TEMP_SUFFIX}"
    with disk_errors(path):
        try:
            _write_new(temp, data, read_only=read_only)
            os.replace(temp, path)  # noqa: PTH105 - tests make the calls of os fail one by one
        except BaseException:
            with suppress(OSError):
                temp.unlink()
            raise
        sync_folder(path.parent)


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A stream whose bytes appear at `path` all at once and durably when the block ends well, else not at all.

    Raises:
        StorageFull: no space, quota or file size left.
        ConfigError: read-only or missing folder.
    """
    temp = path.parent / f"{TEMP_PREFIX}{uuid.uuid4().hex}{TEMP_SUFFIX}"
    with disk_errors(path):
        try:
            handle = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK | _RAW, 0o666)
            with os.fdopen(handle, "wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temp, path)  # noqa: PTH105 - tests make the calls of os fail one by one
        except BaseException:
            with suppress(OSError):
                temp.unlink()
            raise
        sync_folder(path.parent)


def _write_new(path: Path, data: bytes, *, read_only: bool) -> None:
    # Mode 0666 at creation: the system applies the umask itself.
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK | _RAW, 0o666)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(handle, rest) :]
        if read_only:
            target = handle if os.chmod in os.supports_fd else path
            os.chmod(target, stat.S_IMODE(os.fstat(handle).st_mode) & 0o444)  # noqa: PTH101
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(path: Path) -> None:
    """Create a folder and its missing parents durably."""
    with disk_errors(path):
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            sync_folder(folder.parent)
        if not path.is_dir():
            raise ConfigError("not a folder", path=path, hint="Choose another path.")


def sync_folder(folder: Path) -> None:
    """Force a folder's entries (creations, renames, removals) to disk."""
    if not hasattr(os, "O_DIRECTORY"):
        return  # Windows has no such call
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep_temps(folder: Path) -> list[str]:
    """Remove what interrupted writes left in a folder (own prefix only) and return the names.

    Only the holder of the folder's lock may call this: another writer's
    temporary file looks the same.
    """
    names = sorted(path.name for path in folder.glob(f"{TEMP_PREFIX}*{TEMP_SUFFIX}"))
    with disk_errors(folder):
        for name in names:
            (folder / name).unlink(missing_ok=True)
    return names


def read_bytes_checked(path: Path, root: Path, sha256: str, size: int) -> bytes:
    """The bytes of a regular file inside `root`, whose size and `sha256:<hex>` digest are as promised.

    Raises:
        UntrustedFormat: a link, a device, a path that leaves `root`, or a pickle or archive in its place.
        CorruptArtifact: missing, or another size (field ``size``).
        HashMismatch: the right size, but not the bytes that were written.
    """
    data = read_bounded(path, root, size)
    found = digest(data)
    if len(data) == size and found == sha256:
        return data
    foreign = _foreign_format(data)
    if foreign is not None:
        raise UntrustedFormat(f"a {foreign} stands in place of this file; it was not opened", path=path)
    if len(data) != size:
        length = f"{len(data)} bytes" if len(data) < size else "more"
        raise CorruptArtifact(
            "file was truncated or extended", path=path, field="size", expected=f"{size} bytes", found=length
        )
    raise HashMismatch("not the bytes that were written", path=path, field="sha256", expected=sha256, found=found)


def read_bounded(path: Path, root: Path, size: int) -> bytes:
    """At most ``size + 1`` bytes of a regular file inside `root`; links are refused, not followed."""
    try:
        handle = os.open(path, os.O_RDONLY | _NO_LINK | _NO_WAIT | _RAW)
    except FileNotFoundError as error:
        raise CorruptArtifact("file is missing", path=path, expected="the file that was written") from error
    except OSError as error:
        if error.errno == errno.ELOOP or path.is_symlink():
            raise UntrustedFormat("a symbolic link stands in place of this file", path=path) from error
        raise _unreadable(path, error) from error
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise UntrustedFormat("not a regular file", path=path)
        if not path.resolve().is_relative_to(root.resolve()):
            raise UntrustedFormat("file lies outside its folder", path=path, expected=f"inside {root}")
        with os.fdopen(handle, "rb", closefd=False) as stream:
            # The reader reserves what it is asked for: never more than the file has.
            return stream.read(min(size, found.st_size) + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    finally:
        with suppress(OSError):  # the bytes are already here
            os.close(handle)


def _unreadable(path: Path, error: OSError) -> WorkbenchError:
    reason = error.strerror or str(error)
    if error.errno in _TOO_MANY:
        return LimitExceeded("too many open files", path=path, field="open files", hint="Raise ulimit -n.")
    if error.errno in _REFUSED:
        return ConfigError(f"file cannot be read: {reason}", path=path, hint="Ask for read permission.")
    return CorruptArtifact(f"file cannot be read: {reason}", path=path)


def _foreign_format(data: bytes) -> str | None:
    """Name of a known format that is not ours, told from the first bytes only."""
    if data[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return "zip archive"
    if data[:6] == b"\x93NUMPY":
        return "NumPy file"
    # A damaged safetensors file keeps its shape: a small header length, then "{".
    safetensors_like = data[8:9] == b"{" and int.from_bytes(data[:8], "little") < 2**32
    if len(data) > 1 and data[0] == 0x80 and data[1] <= 5 and not safetensors_like:
        return "pickle"
    return None
