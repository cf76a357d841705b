"""Saved probes come back bit for bit, and nothing that was tampered with comes back at all."""

from __future__ import annotations

import hashlib
import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from probes import FrozenNovelty, FrozenProbe, ProbeDataError, ProbeFileError, load_probes, save_probes
from probes.packs import _canonical


def small(seed=0, *, novelty=False, metadata=None):
    rng = np.random.default_rng(seed)
    extra = FrozenNovelty(rng.normal(size=3), np.eye(1, 3), rng.normal(size=(2, 1)), np.ones((1, 1)))
    return FrozenProbe(
        "multinomial-logistic",
        ("attic", "café 🏛"),
        rng.normal(size=(2, 3)),
        rng.normal(size=2),
        metadata or {},
        extra if novelty else None,
    )


def resealed(spec, data=None):
    """The specification after an edit by somebody who knows how to compute its digests."""
    body = {key: value for key, value in spec.items() if key != "spec_sha256"}
    if data is not None:
        body["tensors_sha256"] = hashlib.sha256(data).hexdigest()
    return _canonical({**body, "spec_sha256": hashlib.sha256(_canonical(body)).hexdigest()})


PACK = {"step 0": small(0), "../../etc/passwd": small(1, novelty=True, metadata={"site": "ln_final", "d": 3})}
DATA, SPEC = save_probes(PACK)


def test_round_trip():
    loaded = load_probes(DATA, SPEC)
    assert loaded.keys() == PACK.keys()
    X = np.random.default_rng(2).normal(size=(5, 3))
    for name, probe in PACK.items():
        np.testing.assert_array_equal(loaded[name].log_proba(X), probe.log_proba(X))
        assert loaded[name].predict(X) == probe.predict(X)
        assert loaded[name].classes == probe.classes
        assert dict(loaded[name].metadata) == dict(probe.metadata)
    np.testing.assert_array_equal(
        loaded["../../etc/passwd"].novelty.score(X), PACK["../../etc/passwd"].novelty.score(X)
    )
    assert loaded["step 0"].novelty is None
    assert load_probes(*save_probes({})) == {}


def test_equal_probes_have_equal_bytes():
    assert save_probes(dict(reversed(PACK.items()))) == (DATA, SPEC)
    assert save_probes(load_probes(DATA, SPEC)) == (DATA, SPEC)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60)
@given(
    st.dictionaries(st.text(), PLAIN, max_size=4),
    st.text(),
    st.lists(st.text(), min_size=2, max_size=4, unique=True),
)
def test_any_text_and_any_plain_metadata_survive(metadata, name, classes):
    probe = FrozenProbe("multinomial-logistic", classes, np.ones((len(classes), 2)), np.zeros(len(classes)), metadata)
    loaded = load_probes(*save_probes({name: probe}))[name]
    assert dict(loaded.metadata) == metadata
    assert loaded.classes == tuple(classes)


def test_truncation_at_every_byte_of_either_file():
    for size in range(len(DATA)):
        with pytest.raises(ProbeFileError):
            load_probes(DATA[:size], SPEC)
    for size in range(len(SPEC)):
        with pytest.raises(ProbeFileError):
            load_probes(DATA, SPEC[:size])


def test_every_flipped_bit_of_either_file_is_refused():
    for size, flip in ((len(DATA), lambda bad: (bad, SPEC)), (len(SPEC), lambda bad: (DATA, bad))):
        original = DATA if size == len(DATA) else SPEC
        for place in range(size):
            for bit in range(8):
                bad = bytearray(original)
                bad[place] ^= 1 << bit
                with pytest.raises(ProbeFileError):
                    load_probes(*flip(bytes(bad)))


def test_appended_bytes_are_refused():
    for data, spec in ((DATA + b"\x00", SPEC), (DATA, SPEC + b"\n"), (DATA, b"\xef\xbb\xbf" + SPEC)):
        with pytest.raises(ProbeFileError):
            load_probes(data, spec)


BOMB = b"cbuiltins\nexec\n(Vraise SystemExit('a pickle was executed')\ntR."


def test_pickles_are_bytes_like_any_other():
    spec = json.loads(SPEC)
    for data, text in ((BOMB, SPEC), (DATA, BOMB), (BOMB, resealed(spec, BOMB)), (BOMB, BOMB), (b"", b"")):
        with pytest.raises(ProbeFileError):
            load_probes(data, text)


def _edit(change):
    spec = json.loads(SPEC)
    change(spec)
    return spec


EDITS = {
    "schema": lambda spec: spec.update(schema="neuralese-probes/2"),
    "a key more": lambda spec: spec.update(extra=1),
    "probes are no list": lambda spec: spec.update(probes={}),
    "a probe is no object": lambda spec: spec["probes"].__setitem__(0, 7),
    "a probe less": lambda spec: spec["probes"].pop(),
    "unsorted": lambda spec: spec["probes"].reverse(),
    "twice": lambda spec: spec["probes"].append(spec["probes"][1]),
    "name": lambda spec: spec["probes"][0].update(name=3),
    "kind": lambda spec: spec["probes"][0].update(kind="pickle"),
    "kind is a list": lambda spec: spec["probes"][0].update(kind=[]),
    "classes are no list": lambda spec: spec["probes"][0].update(classes="ab"),
    "classes are no texts": lambda spec: spec["probes"][0].update(classes=["a", 1]),
    "classes repeat": lambda spec: spec["probes"][0].update(classes=["a", "a"]),
    "a class more": lambda spec: spec["probes"][0]["classes"].append("more"),
    "metadata": lambda spec: spec["probes"][0].update(metadata=[]),
    "no shapes": lambda spec: spec["probes"][0].update(shapes=None),
    "novelty in part": lambda spec: spec["probes"][0]["shapes"].pop("novelty.mean"),
    "another shape": lambda spec: spec["probes"][0]["shapes"].update(coef=[3, 2]),
    "rank": lambda spec: spec["probes"][0]["shapes"].update(coef=[6]),
    "empty": lambda spec: spec["probes"][0]["shapes"].update(coef=[0, 3]),
    "negative": lambda spec: spec["probes"][0]["shapes"].update(coef=[-2, -3]),
    "float": lambda spec: spec["probes"][0]["shapes"].update(coef=[2.0, 3]),
    "true": lambda spec: spec["probes"][0]["shapes"].update(intercept=[True]),
    "overflow": lambda spec: spec["probes"][0]["shapes"].update(coef=[2**62, 2**62]),
    "digest": lambda spec: spec.update(tensors_sha256=None),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_specification_edited_with_right_digests_is_refused(name):
    with pytest.raises(ProbeFileError) as caught:
        load_probes(DATA, resealed(_edit(EDITS[name])))
    assert caught.value.field
    assert caught.value.field in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "null",
        '{"schema":NaN}',
        '{"a":1,"a":2}',
        "[" * 200_000,
        '{"probes":[],"schema":"neuralese-probes/1","spec_sha256":"","tensors_sha256":"\\ud800"}',
        '{"probes":' + "9" * 5000 + "}",
        '{"probes":[],"schema":"neuralese-probes/1","spec_sha256":"","tensors_sha256":1e999}',
    ],
)
def test_hostile_json(text):
    with pytest.raises(ProbeFileError, match="spec"):
        load_probes(DATA, text.encode())


def _tensors(**changes):
    spec = json.loads(SPEC)
    arrays = {
        f"{index}.{key}": np.ones(shape)
        for index, record in enumerate(spec["probes"])
        for key, shape in record["shapes"].items()
    }
    arrays |= changes
    return {key: array for key, array in arrays.items() if array is not None}


@pytest.mark.parametrize(
    "changes",
    [
        {"0.coef": None},
        {"9.coef": np.ones(3)},
        {"0.coef": np.ones((2, 3), dtype=np.float32)},
        {"0.coef": np.ones((2, 3), dtype=np.int64)},
        {"0.coef": np.ones((3, 2))},
        {"0.coef": np.full((2, 3), np.nan)},
        {"0.novelty.whitener": np.full((1, 1), np.inf)},
    ],
)
def test_tensors_replaced_with_right_digests_are_refused(changes):
    data = save(_tensors(**changes))
    with pytest.raises(ProbeFileError):
        load_probes(data, resealed(json.loads(SPEC), data))
    good = save(_tensors())
    assert load_probes(good, resealed(json.loads(SPEC), good))


def test_two_probes_of_one_name_are_refused():
    data, text = save_probes({"a": small(0), "b": small(1)})
    spec = json.loads(text)
    spec["probes"][1]["name"] = "a"
    with pytest.raises(ProbeFileError, match="different"):
        load_probes(data, resealed(spec))


def _with_header(header):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = struct.unpack("<Q", DATA[:8])[0]
    return struct.pack("<Q", len(text)) + text + DATA[8 + size :]


def _header():
    return json.loads(DATA[8 : 8 + struct.unpack("<Q", DATA[:8])[0]])


@pytest.mark.parametrize(
    "data",
    [
        b"\x00" * 8,
        b"\xff" * 16,
        DATA + b"PK\x03\x04",
        _with_header(b"{" * 100_000),
        _with_header(b'{"a":NaN}'),
        _with_header(b"[]"),
        _with_header(json.dumps(_header()).replace('{"0.', '{"0.coef":1,"0.', 1).encode()),
        _with_header(_header() | {"__metadata__": {"a": "b"}}),
        _with_header(_header() | {"0.coef": [1]}),
        _with_header({key: entry | {"data_offsets": [0, 8]} for key, entry in _header().items()}),
    ],
)
def test_hostile_headers_with_right_digests(data):
    with pytest.raises(ProbeFileError, match="tensors"):
        load_probes(data, resealed(json.loads(SPEC), data))


def test_limits(monkeypatch):
    for name in ("MAX_SPEC_BYTES", "MAX_TENSOR_BYTES"):
        with monkeypatch.context() as patch:
            patch.setattr(f"probes.packs.{name}", 100)
            with pytest.raises(ProbeFileError, match="size: is larger than 100 bytes"):
                load_probes(DATA, SPEC)
    monkeypatch.setattr("probes.packs.MAX_RECORDS", 1)
    with pytest.raises(ProbeDataError, match="at most 1 probes"):
        save_probes(PACK)
    with pytest.raises(ProbeFileError, match="at most 1 probes"):
        load_probes(DATA, SPEC)


def test_the_error_names_path_and_field():
    error = ProbeFileError("is damaged", field="coef", path="probes.safetensors")
    assert str(error) == "probes.safetensors, field coef: is damaged"
    assert str(ProbeFileError("is damaged")) == "is damaged"


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "tree"},
        {"classes": ("a",)},
        {"classes": ("a", "a")},
        {"classes": ("a", 1)},
        {"coef": np.ones((3, 3))},
        {"coef": np.full((2, 3), np.nan)},
        {"coef": np.ones(3)},
        {"intercept": np.ones(3)},
        {"metadata": {"a": object()}},
        {"metadata": {"a": float("nan")}},
        {"metadata": {1: "a"}},
        {"metadata": {"a": "\ud800"}},
        {"metadata": None},
        {"novelty": FrozenNovelty(np.zeros(4), np.eye(1, 4), np.ones((2, 1)), np.ones((1, 1)))},
    ],
)
def test_impossible_probes_cannot_be_made(change):
    fields = {
        "kind": "multinomial-logistic",
        "classes": ("a", "b"),
        "coef": np.ones((2, 3)),
        "intercept": np.ones(2),
    }
    with pytest.raises(ProbeDataError):
        FrozenProbe(**fields | change)


def test_impossible_novelty_cannot_be_made():
    with pytest.raises(ProbeDataError, match="do not fit"):
        FrozenNovelty(np.zeros(3), np.eye(2, 3), np.ones((2, 1)), np.ones((2, 2)))


def test_a_name_that_no_file_can_hold():
    with pytest.raises(ProbeDataError, match="valid Unicode"):
        save_probes({"\ud800": small()})


def test_frozen_means_frozen():
    source = {"site": "ln_final"}
    coef = np.ones((2, 3))
    probe = FrozenProbe("multinomial-logistic", ("a", "b"), coef, np.zeros(2), source)
    source["site"], coef[:] = "elsewhere", 7
    assert probe.metadata["site"] == "ln_final"
    assert (probe.coef == 1).all()
    with pytest.raises(ValueError, match="read-only"):
        probe.coef[0, 0] = 2
    with pytest.raises(TypeError):
        probe.metadata["site"] = "elsewhere"


@pytest.mark.parametrize(("X", "match"), [(np.ones((2, 4)), "rows of 3 numbers"), ([[1, 2, np.nan]], "row 0")])
def test_rows_that_cannot_be_read(X, match):
    for read in (small().log_proba, small().predict, small(novelty=True).novelty.score):
        with pytest.raises(ProbeDataError, match=match):
            read(X)
