"""Kill a capture at every write: nothing acknowledged is lost, and the resumed store is the same bytes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from store_factory import capture, contents

from workbench.errors import WorkbenchError
from workbench.store import RunStore, StoreWriter, verify_store

FACTORY = Path(__file__).with_name("store_factory.py")
ROOT = FACTORY.parent.parent
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}


@pytest.fixture
def whole(tmp_path):
    """The files of a capture that nobody interrupted."""
    capture(tmp_path / "whole")
    return contents(tmp_path / "whole")


def resume_and_compare(killed: Path, acknowledged: set[int], whole: dict) -> None:
    from store_factory import CONFIG, N_SHARDS, chunk

    with StoreWriter.open(killed, config=CONFIG, n_shards=N_SHARDS) as writer:
        assert acknowledged <= writer.done
        kept = writer.done
        for index in set(range(N_SHARDS)) - kept:
            writer.append(index, *chunk(index))
        writer.seal()
    assert contents(killed) == whole


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fault_033_sigkill_at_every_write(tmp_path, whole, monkeypatch):
    # SIGKILL loses no page of the system's cache: here only the order of the calls counts.
    monkeypatch.setattr(os, "fsync", lambda _handle: None)
    monkeypatch.setattr("workbench.store.journal._DURABLE", "PRAGMA synchronous = OFF")
    run = subprocess.run(
        [sys.executable, FACTORY, tmp_path],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    n_children = int(run.stdout)
    assert n_children > 100
    states = set()
    for n in range(1, n_children + 1):
        killed = tmp_path / str(n)
        acknowledged = {int(line) for line in (tmp_path / f"{n}.acknowledged").read_text().split()}
        if n < n_children:
            if not (killed / "manifest.json").exists():
                with pytest.raises(WorkbenchError, match=r"not finished|no such store|not a capture store"):
                    RunStore(killed)
            states.add(frozenset(contents(killed)) if killed.exists() else None)
        resume_and_compare(killed, acknowledged, whole)
    # The kill points met many different states, not the same one again and again.
    assert len(states) > 15


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_fault_034_kill_between_shards_or_before_the_seal(tmp_path, whole, kept):
    capture(tmp_path / "run", upto=kept, seal=False)
    resume_and_compare(tmp_path / "run", set(range(kept)), whole)


def test_fault_034_kill_between_the_two_files_of_a_seal(tmp_path, whole):
    capture(tmp_path / "run")
    (tmp_path / "run" / "manifest.json").unlink()
    resume_and_compare(tmp_path / "run", {0, 1, 2}, whole)
    assert verify_store(tmp_path / "run").n_problems == 6


def killed_by_strace(call: str, n: int, folder: Path) -> bool:
    """Capture until the n-th system call of a kind, SQLite's own included; False when it completed before."""
    program = f"import store_factory, pathlib; store_factory.capture(pathlib.Path({str(folder)!r}))"
    command = [
        "strace",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        f"--trace={call}",
        f"--inject={call}:signal=SIGKILL:when={n}",
    ]
    environment = {**ENVIRONMENT, "PYTHONPATH": f"{ROOT}{os.pathsep}{FACTORY.parent}"}
    run = subprocess.run(
        [*command, sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert run.returncode in (0, -9, 137), run.stderr
    return run.returncode != 0


# One of each kind, and SQLite's page writes, syncs and journal removals in the middle of a commit.
CALLS = [("mkdir", 2), ("write", 5), ("fsync", 6), ("rename", 3), ("fchmod", 4), ("unlink", 2), ("unlink", 5)]
CALLS += [("pwrite64", n) for n in (3, 12, 19, 33, 51)] + [("fdatasync", n) for n in (2, 9, 15)]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_fault_033_sigkill_in_a_system_call_of_a_commit(tmp_path, whole):
    killed = 0
    for call, n in CALLS:
        folder = tmp_path / f"{call}-{n}"
        killed += killed_by_strace(call, n, folder)
        resume_and_compare(folder, set(), whole)
    assert killed >= len(CALLS) - 3
