"""Disks that fill up, fail or refuse; two writers; interruptions: documented errors, nothing lost."""

import errno
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from store_factory import CONFIG, N_SHARDS, capture, chunk, contents

from workbench.errors import (
    ConfigError,
    CorruptArtifact,
    HashMismatch,
    InsufficientData,
    LimitExceeded,
    StorageFull,
    StoreBusy,
    UntrustedFormat,
    WorkbenchError,
)
from workbench.store import RunStore, StoreWriter, sweep_temps, verify_store, write_file
from workbench.store.files import make_folder, read_bytes_checked
from workbench.store.journal import Journal

CALLS = ("open", "write", "fsync", "replace", "mkdir", "chmod", "close")


class Fault:
    """Makes the n-th call of os that writes raise; counts them all."""

    def __init__(self, monkeypatch, n: int, error: BaseException, calls=CALLS) -> None:
        self.count, self.n, self.error = 0, n, error
        for name in calls:
            monkeypatch.setattr(os, name, self._wrap(name, getattr(os, name)))

    def _wrap(self, name, call):
        def faulty(*args, **kwargs):
            self.count += 1
            if self.count == self.n:
                if name == "write":
                    call(args[0], bytes(args[1])[: len(args[1]) // 2])
                if name == "close":
                    call(*args)
                raise self.error
            return call(*args, **kwargs)

        return faulty


@pytest.fixture
def whole(tmp_path):
    capture(tmp_path / "whole")
    return contents(tmp_path / "whole")


@pytest.fixture
def no_syncs(monkeypatch):
    """The calls still fail one by one; a process that lives on sees the same files without them."""
    monkeypatch.setattr(os, "fsync", lambda _handle: None)
    monkeypatch.setattr("workbench.store.journal._DURABLE", "PRAGMA synchronous = OFF")


def every_fault(tmp_path, error: BaseException):
    """Capture with the n-th call failing, for every n until none fails; yields what was raised and where."""
    n = 0
    while True:
        n += 1
        run = tmp_path / f"run-{n}"
        with pytest.MonkeyPatch.context() as patch:
            fault = Fault(patch, n, error)
            try:
                capture(run)
                raised = None
            except (WorkbenchError, OSError, KeyboardInterrupt) as caught:
                raised = caught
        if fault.count < n:
            assert raised is None
            return
        yield raised, run


FULL = [errno.ENOSPC, errno.EDQUOT, errno.EFBIG]
KINDS = [
    (FULL, StorageFull),
    ([errno.EIO], CorruptArtifact),
    ([errno.EROFS], ConfigError),
    ([errno.EMFILE], LimitExceeded),
]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_fault_036_038_disk_fails_at_every_call(tmp_path, whole, number, no_syncs):
    kinds = {number: kind for numbers, kind in KINDS for number in numbers}
    faults = 0
    for raised, run in every_fault(tmp_path, OSError(number, os.strerror(number))):
        faults += 1
        # A lock file whose note could not be written, or closed, is still a lock.
        assert raised is None or isinstance(raised, kinds[number] | CorruptArtifact), raised
        if raised is not None:
            assert raised.path is not None
            assert not run.exists() or not [name for name in contents(run) if name.endswith(".tmp")]
        capture(run)
        assert contents(run) == whole
    assert faults > 60


def test_fault_046_interrupted_at_every_call(tmp_path, whole, no_syncs):
    interrupted = 0
    for raised, run in every_fault(tmp_path, KeyboardInterrupt()):
        assert isinstance(raised, KeyboardInterrupt)
        interrupted += 1
        capture(run)
        assert contents(run) == whole
    assert interrupted > 60


@pytest.mark.parametrize(("numbers", "kind"), KINDS)
def test_fault_038_040_errors_of_one_write(tmp_path, monkeypatch, numbers, kind):
    write_file(tmp_path / "a", b"old")
    for number in numbers:
        for call in ("open", "write", "fsync", "replace"):
            with monkeypatch.context() as patch:
                Fault(patch, 1, OSError(number, os.strerror(number)), calls=(call,))
                with pytest.raises(kind) as caught:
                    write_file(tmp_path / "a", b"new")
            assert caught.value.path == str(tmp_path / "a")
            assert caught.value.hint
            assert contents(tmp_path) == {"a": (b"old", contents(tmp_path)["a"][1])}


def test_fault_035_order_of_a_durable_write(tmp_path, monkeypatch):
    """What a power cut may undo is only what was not forced to disk before the next step."""
    log = []
    names = {}
    real_open, real_fsync, real_replace = os.open, os.fsync, os.replace

    def opened(path, *args, **kwargs):
        handle = real_open(path, *args, **kwargs)
        names[handle] = "folder" if Path(path).is_dir() else "temp"
        return handle

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "fsync", lambda handle: (log.append(f"sync {names[handle]}"), real_fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda a, b: (log.append("replace"), real_replace(a, b)))
    write_file(tmp_path / "a", b"x" * 10)
    assert log == ["sync temp", "replace", "sync folder"]


def test_fault_035_commits_are_synced_with_their_folder(tmp_path):
    with StoreWriter.open(tmp_path / "run", config=CONFIG, n_shards=1) as writer:
        database = writer._journal._database
        assert database.execute("PRAGMA synchronous").fetchone() == (3,)
        assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_fault_037_disk_full_in_the_journal_only(tmp_path, whole):
    run = tmp_path / "run"
    tables, problems = chunk(0)
    large = [{**problem, "said": "x" * 50_000} for problem in problems]
    with StoreWriter.open(run, config=CONFIG, n_shards=N_SHARDS) as writer:
        writer._journal._database.execute("PRAGMA max_page_count = 8")
        with pytest.raises(StorageFull, match=r"manifest\.sqlite"):
            writer.append(0, tables, large)
        assert writer.done == frozenset()
        with pytest.raises(ConfigError, match="open it again"):
            writer.append(0, tables, problems)
    assert (run / "shards" / "shard-00000.safetensors").exists()
    with StoreWriter.open(run, config=CONFIG, n_shards=N_SHARDS) as writer:
        assert not (run / "shards" / "shard-00000.safetensors").exists()  # the orphan was swept
        assert writer.done == frozenset()
    capture(run)
    assert contents(run) == whole


HOLDER = """
import sys, time
from pathlib import Path
from store_factory import CONFIG, N_SHARDS, chunk
from workbench.store import StoreWriter
writer = StoreWriter.open(Path(sys.argv[1]), config=CONFIG, n_shards=N_SHARDS)
writer.append(0, *chunk(0))
print("held", flush=True)
time.sleep(60)
"""


def test_fault_042_043_two_writers_and_a_lock_that_dies_with_its_process(tmp_path, whole):
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (here.parent, here)))}
    run = tmp_path / "run"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, run], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreBusy, match=f"process {holder.pid}") as caught:
            StoreWriter.open(run, config=CONFIG, n_shards=N_SHARDS)
        assert "Wait until it ends" in caught.value.hint
        with pytest.raises(CorruptArtifact, match="1 of 3 shards"):
            RunStore(run)  # a reader beside the writer never sees a half store
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        holder.stdout.close()
    capture(run)
    assert contents(run) == whole


def test_fault_042_two_writers_in_one_process(tmp_path):
    with StoreWriter.open(tmp_path, config=CONFIG, n_shards=1), pytest.raises(StoreBusy):
        StoreWriter.open(tmp_path, config=CONFIG, n_shards=1)
    StoreWriter.open(tmp_path, config=CONFIG, n_shards=1).close()


def test_fault_056_database_held_by_another_program(tmp_path, monkeypatch):
    monkeypatch.setattr("workbench.store.journal._BUSY_SECONDS", 0.05)
    with StoreWriter.open(tmp_path / "run", config=CONFIG, n_shards=N_SHARDS) as writer:
        other = sqlite3.connect(tmp_path / "run" / "manifest.sqlite", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreBusy, match="another program"):
            writer.append(0, *chunk(0))
        other.close()
    capture(tmp_path / "run")
    assert verify_store(tmp_path / "run").n_shards == N_SHARDS


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"model": {"source": "organism:liar", "fingerprint": "sha256:01"}}, "model.fingerprint"),
        ({"model": "organism:liar"}, "model"),
        ({"batch_size": 4}, "batch_size"),
        ({"sites": {"thought": CONFIG["sites"]["thought"]}}, "sites.."),
    ],
)
@pytest.mark.parametrize("sealed", [False, True])
def test_fault_050_resume_with_another_config(tmp_path, change, field, sealed):
    capture(tmp_path / "run", seal=sealed)
    before = contents(tmp_path / "run")
    with pytest.raises(ConfigError, match="other settings") as caught:
        StoreWriter.open(tmp_path / "run", config={**CONFIG, **change}, n_shards=N_SHARDS)
    assert caught.value.field.startswith(field)
    assert "--out" in caught.value.hint
    with pytest.raises(ConfigError) as caught:
        StoreWriter.open(tmp_path / "run", config=CONFIG, n_shards=N_SHARDS + 1)
    assert caught.value.field == "n_shards"
    assert contents(tmp_path / "run") == before


def test_fault_051_resume_of_a_finished_store_has_nothing_to_do(tmp_path):
    capture(tmp_path / "run")
    before = contents(tmp_path / "run")
    with StoreWriter.open(tmp_path / "run", config=CONFIG, n_shards=N_SHARDS) as writer:
        assert writer.sealed
        assert writer.done == {0, 1, 2}
        assert writer.seal() == RunStore(tmp_path / "run").root
        with pytest.raises(ConfigError, match="sealed"):
            writer.append(0, *chunk(0))
    assert contents(tmp_path / "run") == before


def test_fault_051_the_order_of_appends_does_not_matter(tmp_path, whole):
    with StoreWriter.open(tmp_path / "run", config=CONFIG, n_shards=N_SHARDS) as writer:
        for index in (2, 0, 1):
            writer.append(index, *chunk(index))
        root = writer.seal()
        assert writer.seal() == root
    assert contents(tmp_path / "run") == whole


def test_seal_needs_every_shard(tmp_path):
    with StoreWriter.open(tmp_path / "run", config=CONFIG, n_shards=N_SHARDS) as writer:
        writer.append(1, *chunk(1))
        with pytest.raises(InsufficientData, match="2 of 3 shards are missing"):
            writer.seal()
        writer.append(0, *chunk(0))
    with pytest.raises(ConfigError, match="closed"):
        writer.seal()


def test_fault_054_own_temporary_files_are_swept_and_no_others(tmp_path):
    run = tmp_path / "run"
    capture(run, upto=1, seal=False)
    for name in (".wb-1.tmp", "shards/.wb-2.tmp", "notes.txt", "shards/other.tmp"):
        (run / name).write_bytes(b"half")
    capture(run)
    assert verify_store(run).orphans == ("notes.txt", "shards/other.tmp")
    assert sweep_temps(run) == []


def test_a_folder_with_other_things_is_not_taken_over(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ConfigError, match=r"not a capture store.*thesis\.tex"):
        StoreWriter.open(tmp_path, config=CONFIG, n_shards=1)
    assert set(contents(tmp_path)) == {"thesis.tex"}
    with pytest.raises(ConfigError):
        StoreWriter.open(tmp_path / "thesis.tex", config=CONFIG, n_shards=1)


def test_fault_001_resume_captures_a_lost_shard_again(tmp_path, whole):
    capture(tmp_path / "run", seal=False)
    (tmp_path / "run/shards/shard-00001.safetensors").unlink()
    with StoreWriter.open(tmp_path / "run", config=CONFIG, n_shards=N_SHARDS) as writer:
        assert writer.done == {0, 2}
    capture(tmp_path / "run")
    assert contents(tmp_path / "run") == whole


@pytest.mark.parametrize("change", [lambda d: d[:-1], lambda d: d[:-1] + b"?", lambda d: b""])
def test_fault_002_resume_refuses_a_damaged_shard(tmp_path, whole, change):
    capture(tmp_path / "run", upto=2, seal=False)
    file = tmp_path / "run/shards/shard-00001.safetensors"
    data = change(file.read_bytes())
    file.unlink()
    file.write_bytes(data)
    with pytest.raises((CorruptArtifact, HashMismatch), match="shard-00001") as caught:
        capture(tmp_path / "run")
    assert "Delete this file" in caught.value.hint
    file.unlink()  # the hint is true
    capture(tmp_path / "run")
    assert contents(tmp_path / "run") == whole


def test_fault_029_031_modes(tmp_path):
    old = os.umask(0o027)
    try:
        capture(tmp_path / "run")
        write_file(tmp_path / "plain", b"x")
    finally:
        os.umask(old)
    modes = {name: stat.S_IMODE(mode) for name, (_, mode) in contents(tmp_path / "run").items() if name != ".lock"}
    assert set(modes.values()) == {0o440}
    assert stat.S_IMODE((tmp_path / "plain").stat().st_mode) == 0o640


def test_a_link_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "precious").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "precious")
    write_file(tmp_path / "link", b"new")
    assert (tmp_path / "precious").read_bytes() == b"old"
    assert not (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("target", ["missing/file", "folder", "file/below", "x" * 300])
def test_places_that_take_no_file(tmp_path, target):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError):
        write_file(tmp_path / target, b"x")
    assert set(contents(tmp_path)) == {"file"}


def test_make_folder_refuses_a_file_in_its_place(tmp_path):
    make_folder(tmp_path / "a/b/c")
    assert (tmp_path / "a/b/c").is_dir()
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(ConfigError):
            make_folder(path)


def test_checked_bytes_stay_below_their_root(tmp_path):
    (tmp_path / "inside").mkdir()
    write_file(tmp_path / "secret", b"s")
    with pytest.raises(UntrustedFormat, match="outside"):
        read_bytes_checked(tmp_path / "inside/../secret", tmp_path / "inside", "sha256:0", 1)
    with pytest.raises(UntrustedFormat, match="regular"):
        read_bytes_checked(tmp_path / "inside", tmp_path, "sha256:0", 1)


def test_fault_031_unreadable_file_is_said_so(tmp_path, monkeypatch):
    capture(tmp_path / "run")
    for number, kind in (
        (errno.EACCES, ConfigError),
        (errno.EMFILE, LimitExceeded),
        (errno.EIO, CorruptArtifact),
    ):
        with monkeypatch.context() as patch:
            Fault(patch, 1, OSError(number, os.strerror(number)), calls=("open",))
            with pytest.raises(kind, match="manifest"):
                RunStore(tmp_path / "run")


def test_fault_015_journal_that_is_no_database(tmp_path):
    capture(tmp_path / "run", seal=False)
    path = tmp_path / "run/manifest.sqlite"
    for data in (b"not a database at all" * 500, b"", path.read_bytes()[:5000]):
        path.write_bytes(data)
        with pytest.raises(CorruptArtifact, match=r"manifest\.sqlite"):
            capture(tmp_path / "run")
        with pytest.raises(CorruptArtifact):
            RunStore(tmp_path / "run")


def test_fault_015_journal_rows_of_impossible_types(tmp_path):
    for statement in (
        "UPDATE shards SET bytes = 'many'",
        "UPDATE shards SET n_problems = 1 << 60",
        "UPDATE shards SET rows = x'5b345d'",
        "UPDATE problems SET record = x'7b7d'",
        "UPDATE problems SET position = 'first' WHERE rowid = 1",
        "UPDATE problems SET position = 7 WHERE rowid = 1",
        "UPDATE meta SET value = 4 WHERE key = 'n_shards'",
        "DELETE FROM meta",
    ):
        run = tmp_path / str(hash(statement))
        capture(run, seal=False)
        database = sqlite3.connect(run / "manifest.sqlite")
        database.executescript(statement)
        database.close()
        with pytest.raises((HashMismatch, CorruptArtifact), match=r"manifest\.sqlite"):
            capture(run)


def test_fault_015_journal_of_an_impossible_number_of_shards(tmp_path):
    Journal.create(tmp_path, b"{}", -1)
    with pytest.raises(CorruptArtifact) as caught:
        StoreWriter.open(tmp_path, config=CONFIG, n_shards=1)
    assert caught.value.field == "n_shards"


def test_fault_040_journal_that_may_not_be_written(tmp_path, whole):
    with StoreWriter.open(tmp_path / "run", config=CONFIG, n_shards=N_SHARDS) as writer:
        writer._journal._database.execute("PRAGMA query_only = ON")
        with pytest.raises(ConfigError, match="cannot write here"):
            writer.append(0, *chunk(0))
    writer.close()  # a second goodbye does no harm
    capture(tmp_path / "run")
    assert contents(tmp_path / "run") == whole


def test_fault_038_disk_fails_inside_a_transaction(tmp_path, whole, monkeypatch):
    def fail(*_rows):
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        raise error

    with StoreWriter.open(tmp_path / "run", config=CONFIG, n_shards=N_SHARDS) as writer:
        monkeypatch.setattr("workbench.store.journal.insert_rows", fail)
        with pytest.raises(CorruptArtifact, match="disk failed") as caught:
            writer.append(0, *chunk(0))
        assert "Delete" not in caught.value.hint  # nothing is lost: the same command goes on
    monkeypatch.undo()
    capture(tmp_path / "run")
    assert contents(tmp_path / "run") == whole


def test_fault_046_interrupted_inside_a_transaction(tmp_path, whole, monkeypatch):
    def interrupt(*_rows):
        raise KeyboardInterrupt

    with StoreWriter.open(tmp_path / "run", config=CONFIG, n_shards=N_SHARDS) as writer:
        writer.append(0, *chunk(0))
        monkeypatch.setattr("workbench.store.journal.insert_rows", interrupt)
        with pytest.raises(KeyboardInterrupt):
            writer.append(1, *chunk(1))
        assert writer.done == {0}
        assert not writer._journal._database.in_transaction
    monkeypatch.undo()
    capture(tmp_path / "run")
    assert contents(tmp_path / "run") == whole


def test_fault_016_journal_of_a_newer_version(tmp_path, monkeypatch):
    monkeypatch.setattr("workbench.store.journal.SCHEMA", "neuralese-store/9")
    Journal.create(tmp_path, b"{}", 1)
    monkeypatch.undo()
    with pytest.raises(WorkbenchError, match="Update neuralese-workbench"):
        StoreWriter.open(tmp_path, config=CONFIG, n_shards=1)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_fault_039_nothing_is_left_open(tmp_path):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for n in range(20):
        run = tmp_path / str(n)
        capture(run, upto=1, seal=False)
        with pytest.raises(ConfigError):
            StoreWriter.open(run, config=CONFIG, n_shards=7)
        capture(run)
        verify_store(run)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
