"""A small run whose every value is known, and a program that a test can kill while it writes one.

As a program: ``python store_factory.py DIR``. It forks one child per kill point, in order, until a child
completes; child N captures into ``DIR/N`` and is killed by SIGKILL at its N-th write to the disk.
"""

import os
import signal
import sqlite3
import sys
from pathlib import Path

import numpy as np

from workbench.store import SiteRows, StoreWriter

HOSTILE = "../../etc/x\n<b>'\"; DROP TABLE shards"
CONFIG = {
    "model": {"source": "organism:liar", "fingerprint": "sha256:00"},
    "sites": {
        "thought": {"dim": 3, "dtype": "float32", "axes": ["example", "step", "d_model"]},
        HOSTILE: {"dim": 2, "dtype": "float16", "axes": ["example", "step", "d_model"]},
    },
}
N_SHARDS, PER_SHARD, STEPS = 3, 2, 2


def addresses(index: int):
    example = np.repeat(np.arange(index * PER_SHARD, (index + 1) * PER_SHARD), STEPS)
    step = np.tile(np.arange(STEPS), PER_SHARD)
    return np.stack([example, step, np.zeros_like(step), 7 + step], axis=1).astype(np.int32)


def vectors(index: int, dim: int, dtype: str):
    """Value of row (example, step), component k: 100 example + 10 step + k."""
    address = addresses(index)
    return (address[:, :1] * 100 + address[:, 1:2] * 10 + np.arange(dim)).astype(dtype)


def chunk(index: int):
    tables = {
        name: SiteRows(vectors(index, site["dim"], site["dtype"]), addresses(index))
        for name, site in CONFIG["sites"].items()
    }
    problems = [{"id": f"p-{index * PER_SHARD + k}", "said": "<say> é"} for k in range(PER_SHARD)]
    return tables, problems


def capture(path: Path, *, upto: int = N_SHARDS, seal: bool = True, acknowledged=None) -> None:
    with StoreWriter.open(path, config=CONFIG, n_shards=N_SHARDS) as writer:
        for index in range(upto):
            if index not in writer.done:
                writer.append(index, *chunk(index))
                if acknowledged is not None:
                    acknowledged(index)
        if seal and upto == N_SHARDS:
            writer.seal()


def contents(path: Path) -> dict:
    """Every file below a folder with its bytes and mode."""
    files = sorted(file for file in path.rglob("*") if not file.is_dir())
    return {file.relative_to(path).as_posix(): (file.read_bytes(), file.stat().st_mode) for file in files}


class KillSwitch:
    """Counts the writes of this process and ends it at the n-th, before the call or halfway through it."""

    CALLS = ("open", "write", "chmod", "fsync", "replace", "close", "unlink", "mkdir")

    def __init__(self, n: int) -> None:
        self.left = n

    def tick(self) -> bool:
        self.left -= 1
        return self.left == 0

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        os.fsync = lambda _handle: None  # SIGKILL loses no page of the system's cache
        for name in self.CALLS:
            setattr(os, name, self._wrap(name, getattr(os, name)))
        connect = sqlite3.connect

        def watched(*args, **kwargs):
            database = connect(*args, **kwargs)
            if args[0] != ":memory:":
                database.set_trace_callback(lambda _statement: self.die() if self.tick() else None)
            return database

        sqlite3.connect = watched

    def _wrap(self, name, call):
        def counted(*args, **kwargs):
            if self.tick():
                if name == "write":
                    call(args[0], bytes(args[1])[: len(args[1]) // 2])
                self.die()
            result = call(*args, **kwargs)
            if name in ("replace", "fsync") and self.tick():
                self.die()
            return result

        return counted


def captured_until(n: int, folder: Path) -> None:
    """Capture into ``folder/n``, die at the n-th write; ``folder/n.acknowledged`` lists what had returned."""
    note, write = os.open(folder / f"{n}.acknowledged", os.O_WRONLY | os.O_CREAT), os.write
    KillSwitch(n).install()
    capture(folder / str(n), acknowledged=lambda index: write(note, f"{index}\n".encode()))


def kill_everywhere(folder: Path) -> None:
    """Prints how many children ran; the last one completed."""
    status, n = 9, 0
    while os.WIFSIGNALED(status):
        n += 1
        child = os.fork()
        if child == 0:
            captured_until(n, folder)
            os._exit(0)
        _, status = os.waitpid(child, 0)
    print(n if status == 0 else "failed")


if __name__ == "__main__":
    kill_everywhere(Path(sys.argv[1]))
