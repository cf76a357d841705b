"""One writer at a time: the lock of a store folder."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from workbench.errors import StoreBusy
from workbench.store.files import disk_errors

LOCK_NAME = ".lock"


class FolderLock:
    """The system's lock on a file of the folder, ``.lock`` if no other is named; it goes when its process does,
    however that ends.

    While held, the file tells who holds it. The file itself stays: removing a
    lock file lets two processes hold "the" lock at once.
    """

    def __init__(self, folder: Path, name: str = LOCK_NAME) -> None:
        self._path = folder / name
        self._lock = FileLock(self._path, timeout=0)

    def acquire(self) -> None:
        """Take the lock at once or raise `StoreBusy`."""
        with disk_errors(self._path):
            try:
                self._lock.acquire()
            except Timeout as error:
                raise StoreBusy(
                    "another process is writing here",
                    path=self._path.parent,
                    found=self._holder(),
                    hint="Wait until it ends, or stop it, or choose another folder.",
                ) from error
            self._tell(f"process {os.getpid()} on {socket.gethostname()}")

    def release(self) -> None:
        """Give the lock back; safe to call twice."""
        if self._lock.is_locked:
            self._tell("")
            with disk_errors(self._path):
                self._lock.release()

    def _tell(self, holder: str) -> None:
        with suppress(OSError):  # the note is a courtesy: the lock is what counts
            self._path.write_text(holder, encoding="utf-8")

    def _holder(self) -> str | None:
        with suppress(OSError, UnicodeDecodeError):
            return self._path.read_text(encoding="utf-8")[:200] or None
        return None
