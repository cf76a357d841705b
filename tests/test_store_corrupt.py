"""Damage a sealed store in every way we know: each is refused, by the right error, before a row is read."""

import json
import os
import shutil
import sqlite3
import struct
import tracemalloc
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save
from store_factory import CONFIG, HOSTILE, N_SHARDS, capture, chunk, contents

from workbench.errors import (
    ConfigError,
    CorruptArtifact,
    HashMismatch,
    IntegrityError,
    LimitExceeded,
    SchemaError,
    UnknownSiteError,
    UntrustedFormat,
    WorkbenchError,
)
from workbench.jsonio import canonical_json, digest
from workbench.store import RunStore, StoreWriter, verify_store
from workbench.store.journal import Journal
from workbench.store.manifest import ShardRecord
from workbench.store.tables import decode_shard, site_specs

SHARD = "shards/shard-00001.safetensors"


@pytest.fixture
def store(tmp_path):
    capture(tmp_path / "run")
    return tmp_path / "run"


def put(path: Path, data: bytes) -> None:
    if os.path.lexists(path):
        path.unlink()
    path.write_bytes(data)


@contextmanager
def memory_below(limit: int):
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


def test_the_undamaged_store_passes(store):
    report = verify_store(store)
    assert (report.n_shards, report.n_problems, report.n_rows, report.orphans) == (3, 6, 24, ())


def test_fault_001_shard_truncated_anywhere(store):
    whole = (store / SHARD).read_bytes()
    for length in range(1, len(whole)):
        put(store / SHARD, whole[:length])
        with pytest.raises(CorruptArtifact) as caught:
            RunStore(store)
        assert caught.value.field == "size"
        assert caught.value.path.endswith(SHARD)
        assert caught.value.found == f"{length} bytes"


def test_fault_002_every_bit_of_a_shard_flipped(store):
    opened = RunStore(store, cache_bytes=0)
    whole = bytearray((store / SHARD).read_bytes())
    for position in range(len(whole)):
        for bit in range(8):
            whole[position] ^= 1 << bit
            put(store / SHARD, whole)
            whole[position] ^= 1 << bit
            with pytest.raises(HashMismatch, match="shard-00001"):
                opened.select("thought", examples=np.array([2]))
    put(store / SHARD, whole)
    assert len(opened.select("thought", examples=np.array([2]))) == 2


@pytest.mark.parametrize("tail", [b"\0", b"PK\x03\x04" + bytes(30), b"\x80\x04."])
def test_fault_003_bytes_appended(store, tail):
    put(store / SHARD, (store / SHARD).read_bytes() + tail)
    with pytest.raises(CorruptArtifact, match="more"):
        RunStore(store)


@pytest.mark.parametrize("data", [b"", bytes(8), struct.pack("<Q", 1 << 63), b"\xff" * 8])
def test_fault_004_empty_file_and_absurd_header_length(store, data):
    put(store / SHARD, data)
    with pytest.raises(CorruptArtifact):
        RunStore(store)
    with memory_below(1_000_000), pytest.raises(CorruptArtifact) as caught:
        parse(data)
    assert caught.value.field == "header"


SPECS = site_specs({"sites": {"thought": {"dim": 2, "dtype": "float16"}}})
VECTORS, ADDRESS = np.ones((1, 2), np.float16), np.zeros((1, 4), np.int32)


def parse(data: bytes):
    """Parse shard bytes whose hash, for once, is taken as right: a store forged as a whole."""
    return decode_shard(data, SPECS, [1], Path("forged"))


def forge(header: bytes, body: bytes = VECTORS.tobytes() + ADDRESS.tobytes()) -> bytes:
    return struct.pack("<Q", len(header)) + header + body


HEADER = {
    "0.vectors": {"dtype": "F16", "shape": [1, 2], "data_offsets": [0, 4]},
    "0.address": {"dtype": "I32", "shape": [1, 4], "data_offsets": [4, 20]},
}


def edited(**entry) -> bytes:
    return forge(json.dumps({**HEADER, "0.vectors": {**HEADER["0.vectors"], **entry}}).encode())


def test_a_forged_shard_with_the_right_header_parses():
    (rows,) = parse(forge(json.dumps(HEADER).encode()))
    np.testing.assert_array_equal(rows.vectors, VECTORS)


def test_fault_005_duplicate_tensor_names():
    header = json.dumps(HEADER).replace("0.address", "0.vectors").encode()
    with pytest.raises(CorruptArtifact, match="duplicate key"):
        parse(forge(header))


def test_fault_006_header_bomb_refused_before_it_is_parsed():
    header = json.dumps({f"t{n}": HEADER["0.vectors"] for n in range(200_000)}).encode()
    data = forge(header)
    with memory_below(1_000_000), pytest.raises(LimitExceeded) as caught:
        parse(data)
    assert caught.value.field == "n_tensors"


@pytest.mark.parametrize("shape", [[-1, 2], [1.0, 2], [1 << 62, 1 << 62], [2], [1, 2, 1], "12", None, [True, 2]])
def test_fault_007_shapes_that_cannot_be(shape):
    with pytest.raises(SchemaError) as caught:
        parse(edited(shape=shape))
    assert caught.value.field == "0.vectors"


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F8_E4M3", "F4", "I16", 16, None])
def test_fault_008_009_other_types_of_numbers(dtype):
    with pytest.raises(SchemaError) as caught:
        parse(edited(dtype=dtype))
    assert caught.value.field == "0.vectors"


@pytest.mark.parametrize("offsets", [[0, 3], [0, 40], [4, 8], [2, 6], [-4, 0], "x", None])
def test_fault_007_offsets_that_overlap_or_leave_the_file(offsets):
    with pytest.raises(CorruptArtifact) as caught:
        parse(edited(data_offsets=offsets))
    assert caught.value.field == "header"


@pytest.mark.parametrize(
    "header", [b"{", b"[]", b"null", b"\xff\xfe", b'{"a": NaN}', b"[" * 4000, b'{"0.vectors": []}']
)
def test_fault_018_header_that_is_not_json(header):
    with pytest.raises((SchemaError, CorruptArtifact)):
        parse(forge(header))


def test_forged_addresses_are_refused():
    address = np.array([[0, 1, 0, 0], [0, 0, 0, 0]], np.int32)
    data = save({"0.vectors": np.ones((2, 2), np.float16), "0.address": address})
    with pytest.raises(SchemaError, match="out of order"):
        decode_shard(data, SPECS, [2], Path("forged"))


def test_fault_011_shard_missing(store):
    (store / SHARD).unlink()
    with pytest.raises(CorruptArtifact, match="shard 1 is missing"):
        RunStore(store)


def test_fault_011_shard_lost_while_the_store_is_open(store):
    opened = RunStore(store)
    (store / SHARD).unlink()
    with pytest.raises(CorruptArtifact, match="missing"):
        list(opened.blocks("thought"))
    assert len(opened.select("thought", examples=np.array([0, 5]))) == 4  # other shards stay usable


def test_fault_012_orphans_are_listed_and_never_read(store):
    shutil.copy(store / SHARD, store / "shards" / "shard-00003.safetensors")
    (store / ".wb-0.tmp").write_bytes(b"half")
    report = verify_store(store)
    assert report.orphans == (".wb-0.tmp", "shards/shard-00003.safetensors")
    assert report.n_rows == 24


def test_fault_013_shards_swapped(store):
    first, second = (store / f"shards/shard-0000{n}.safetensors" for n in (0, 1))
    before, after = first.read_bytes(), second.read_bytes()
    assert len(before) == len(after)
    put(first, after)
    put(second, before)
    with pytest.raises(HashMismatch, match="shard-00000"):
        list(RunStore(store).blocks("thought"))
    with pytest.raises(HashMismatch, match="shard-00000"):
        verify_store(store)


EDITS = [
    "UPDATE problems SET record = replace(record, 'p-3', 'p-9')",
    "UPDATE shards SET n_problems = 1 WHERE shard = 1",
    "DELETE FROM shards WHERE shard = 2",
    "DELETE FROM problems WHERE shard = 2",
    "UPDATE meta SET value = '{}' WHERE key = 'config'",
    "CREATE VIEW v AS SELECT 1",
    "CREATE TRIGGER t AFTER INSERT ON shards BEGIN DELETE FROM problems; END",
]


def edit_index(store: Path, statement: str) -> None:
    path = store / "manifest.sqlite"
    path.chmod(0o644)
    database = sqlite3.connect(path)
    database.executescript(statement)
    database.close()


@pytest.mark.parametrize("statement", EDITS)
def test_fault_014_index_edited(store, statement):
    edit_index(store, statement)
    with pytest.raises(IntegrityError, match=r"manifest\.sqlite"):
        RunStore(store)


@pytest.mark.parametrize("statement", EDITS)
def test_fault_014_index_edited_and_its_hash_forged(store, statement):
    """The root covers shards and problems by itself, so that a matching file hash does not help."""
    edit_index(store, statement)
    data = (store / "manifest.sqlite").read_bytes()
    plain = json.loads((store / "manifest.json").read_bytes())
    plain["index"] = {"bytes": len(data), "sha256": digest(data)}
    put(store / "manifest.json", canonical_json(plain))
    with pytest.raises(IntegrityError, match=r"manifest\.sqlite"):
        RunStore(store)


def test_fault_014_manifest_edited_anywhere(store):
    whole = bytearray((store / "manifest.json").read_bytes())
    for position in range(len(whole)):
        for mask in (0x01, 0x10):
            whole[position] ^= mask
            put(store / "manifest.json", whole)
            whole[position] ^= mask
            with pytest.raises(WorkbenchError):
                RunStore(store)


@pytest.mark.parametrize("change", [b" ", b"\n", b"\xef\xbb\xbf", b"{}"])
def test_fault_014_manifest_not_canonical(store, change):
    whole = (store / "manifest.json").read_bytes()
    for data in (whole + change, change + whole):
        put(store / "manifest.json", data)
        with pytest.raises(IntegrityError):
            RunStore(store)


def rerooted(store: Path, change) -> None:
    """Forge a manifest whose root is right again."""
    plain = json.loads((store / "manifest.json").read_bytes())
    change(plain)
    plain["root"] = digest(canonical_json({k: v for k, v in plain.items() if k not in ("index", "root")}))
    put(store / "manifest.json", canonical_json(plain))


@pytest.mark.parametrize(
    "change",
    [
        lambda plain: plain["shards"].reverse(),
        lambda plain: plain["shards"].pop(),
        lambda plain: plain["shards"][1].update(file="../../etc/passwd"),
        lambda plain: plain["shards"][1].update(file=plain["shards"][0]["file"]),
        lambda plain: plain["shards"][1].update(rows=[4]),
        lambda plain: plain["shards"][1].update(rows=[4, 4.5]),
        lambda plain: plain["shards"][1].update(rows=[4, 5]),
        lambda plain: plain["shards"][1].update(n_problems=-2),
        lambda plain: plain["shards"][1].update(sha256="md5:0"),
        lambda plain: plain["problems"].reverse(),
        lambda plain: plain["problems"].pop(),
        lambda plain: plain.update(extra=1),
        lambda plain: plain.pop("config"),
        lambda plain: plain["config"].pop("sites"),
        lambda plain: plain["config"]["sites"]["thought"].update(dim=0),
        lambda plain: plain["config"].update(model="another"),
        lambda plain: plain.update(n_nonfinite=1),
    ],
)
def test_fault_014_forged_manifest_disagrees_with_the_rest(store, change):
    rerooted(store, change)
    with pytest.raises(IntegrityError):
        RunStore(store)


def test_a_whole_forged_nonfinite_count_is_found_by_verify(store, monkeypatch):
    """Only a recount can tell: every hash is right."""
    monkeypatch.setattr("workbench.store.writer.count_nonfinite", lambda _vectors: 1)
    capture(store.parent / "forged")
    monkeypatch.undo()
    with pytest.raises(HashMismatch, match="miscounted"):
        verify_store(store.parent / "forged")


def test_forged_rows_of_other_problems_are_refused(tmp_path, monkeypatch):
    """A store whose every hash is right, but whose shard 0 talks about the problems of shard 1."""
    monkeypatch.setattr("workbench.store.writer._place", lambda shards: [shards[n].record(0) for n in sorted(shards)])
    with StoreWriter.open(tmp_path / "forged", config=CONFIG, n_shards=1) as writer:
        writer.append(0, *chunk(1))
        writer.seal()
    with pytest.raises(SchemaError, match="other shards"):
        RunStore(tmp_path / "forged").select("thought")


def test_fault_015_unsealed_journal_flipped_anywhere(tmp_path):
    capture(tmp_path / "run", seal=False)
    path = tmp_path / "run" / "manifest.sqlite"
    whole = bytearray(path.read_bytes())

    def read():
        journal = Journal(tmp_path / "run")
        try:
            return journal.config, journal.n_shards, journal.shards(), journal.problems()
        finally:
            journal.close()

    truth, refused, harmless = read(), 0, 0
    for position in [*range(120), *range(120, len(whole), 11)]:
        whole[position] ^= 0x41
        put(path, whole)
        whole[position] ^= 0x41
        try:
            assert read() == truth
            harmless += 1  # unused space of a page
        except WorkbenchError:
            refused += 1
    assert refused > 100
    assert harmless > 100


@pytest.mark.parametrize("version", ["2", "9", "10"])
def test_fault_016_newer_version(store, version):
    rerooted(store, lambda plain: plain.update(schema=f"neuralese-store/{version}"))
    before = contents(store)
    with pytest.raises(SchemaError, match="Update neuralese-workbench"):
        RunStore(store)
    with pytest.raises(SchemaError, match="another version"):
        StoreWriter.open(store, config=CONFIG, n_shards=N_SHARDS)
    assert contents(store) == before


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a": ' * 500 + "1" + "}" * 500, '{"schema": 1e999}', "", "NaN", '"\\ud800"']
)
def test_fault_018_hostile_manifest(store, text):
    put(store / "manifest.json", text.encode())
    with pytest.raises(WorkbenchError):
        RunStore(store)


# What a hostile pickle looks like; nothing here ever loads it.
GADGET = b"\x80\x04\x95\x1e\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x02id\x94\x85\x94R\x94."


@pytest.mark.parametrize("value", [b"[" * 900 + b"]" * 900, b'{"a":' * 400 + b"1" + b"}" * 400, b"123456789012345678"])
def test_fault_018_hostile_config_inside_a_manifest(store, value):
    whole = (store / "manifest.json").read_bytes()
    put(store / "manifest.json", whole.replace(b'"organism:liar"', value))
    with pytest.raises(IntegrityError):
        RunStore(store)


def test_manifest_that_is_not_text_or_too_large(store, monkeypatch):
    whole = (store / "manifest.json").read_bytes()
    put(store / "manifest.json", whole.replace(b"organism", b"organi\xff\xff"))
    with pytest.raises(CorruptArtifact, match="UTF-8"):
        RunStore(store)
    put(store / "manifest.json", whole)
    monkeypatch.setattr("workbench.store.manifest.MAX_JSON_BYTES", 100)
    with pytest.raises(LimitExceeded) as caught:
        RunStore(store)
    assert caught.value.field == "size"


def test_fault_020_pickle_in_place_of_a_shard(store):
    size = (store / SHARD).stat().st_size
    for data in (GADGET, GADGET.ljust(size, b"\0"), b"\x80\x02}q\x00.".ljust(size, b" ")):
        put(store / SHARD, data)
        with pytest.raises(UntrustedFormat, match="pickle"):
            verify_store(store)


def test_fault_020_archive_or_numpy_file_in_place_of_a_shard(store):
    with zipfile.ZipFile(store / "x.zip", "w") as archive:
        archive.writestr("data.pkl", GADGET)
    put(store / SHARD, (store / "x.zip").read_bytes())
    with pytest.raises(UntrustedFormat, match="zip archive"):
        RunStore(store)
    put(store / SHARD, b"\x93NUMPY\x01\x00" + bytes(100))
    with pytest.raises(UntrustedFormat, match="NumPy"):
        RunStore(store)


def test_fault_027_names_are_data(store):
    assert HOSTILE in RunStore(store).sites
    files = {
        "manifest.json",
        "manifest.sqlite",
        ".lock",
        *(f"shards/shard-0000{n}.safetensors" for n in range(3)),
    }
    assert set(contents(store)) == files
    assert {path.name for path in store.parent.iterdir()} == {"run"}


def test_fault_028_shard_replaced_by_a_link(store, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes((store / SHARD).read_bytes())
    opened = RunStore(store, cache_bytes=0)
    (store / SHARD).unlink()
    (store / SHARD).symlink_to(elsewhere)
    for read in (lambda: RunStore(store), lambda: list(opened.blocks("thought"))):
        with pytest.raises(UntrustedFormat, match="symbolic link"):
            read()


def test_fault_028_folder_of_shards_replaced_by_a_link(store, tmp_path):
    (store / "shards").rename(tmp_path / "elsewhere")
    (store / "shards").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UntrustedFormat, match="outside its folder"):
        verify_store(store)
    with pytest.raises(UntrustedFormat, match="symbolic link"):
        StoreWriter.open(store, config=CONFIG, n_shards=N_SHARDS)


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sqlite"])
def test_fault_028_manifest_replaced_by_a_link(store, tmp_path, name):
    shutil.move(store / name, tmp_path / name)
    (store / name).symlink_to(tmp_path / name)
    with pytest.raises(UntrustedFormat, match="symbolic link"):
        RunStore(store)


def test_fault_028_store_reached_through_a_link_is_fine(store, tmp_path):
    (tmp_path / "alias").symlink_to(store)
    assert verify_store(tmp_path / "alias").n_rows == 24


@pytest.mark.timeout(20)
def test_a_pipe_in_place_of_a_shard_does_not_hang(store):
    opened = RunStore(store)
    (store / SHARD).unlink()
    os.mkfifo(store / SHARD)
    with pytest.raises(UntrustedFormat, match="regular file"):
        list(opened.blocks("thought"))


@pytest.mark.parametrize("folder", [".", "nowhere", "file"])
def test_what_is_no_store_is_said_so(tmp_path, folder):
    (tmp_path / "file").write_text("x")
    with pytest.raises(CorruptArtifact, match=r"no such store|not a capture store"):
        RunStore(tmp_path / folder)


def test_an_unfinished_store_says_how_far_it_came(tmp_path):
    capture(tmp_path / "run", upto=2, seal=False)
    with pytest.raises(CorruptArtifact, match="2 of 3 shards are stored") as caught:
        RunStore(tmp_path / "run")
    assert "same capture command again" in str(caught.value)


def test_unknown_site_lists_the_known(store):
    with pytest.raises(UnknownSiteError, match="thought"):
        RunStore(store).select("thougth")


@pytest.mark.parametrize("examples", [[6], [-1], [True, False, True, False, False, True], [0.0], [[0]]])
def test_examples_must_be_row_numbers(store, examples):
    with pytest.raises(ConfigError, match=r"problem|row numbers"):
        RunStore(store).select("thought", examples=np.array(examples))


def test_the_record_of_a_shard_is_frozen(store):
    record = RunStore(store).manifest.shards[0]
    assert isinstance(record, ShardRecord)
    with pytest.raises(ValueError, match="frozen"):
        record.bytes = 0


def test_values_read_are_the_values_planted(store):
    table = chunk(1)[0]["thought"]
    got = RunStore(store).select("thought", examples=np.array([2, 3]))
    np.testing.assert_array_equal(got.vectors, table.vectors)
