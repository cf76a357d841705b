"""Text probes on disk: what is read back reads alike, and whatever changed is refused."""

import json

import numpy as np
import pytest

from probes.errors import ProbeFileError
from probes.text import END, TextRows, fit_text_probe
from probes.text_files import SavedText, load_texts, save_texts
from probes.translator import Translator


@pytest.fixture(scope="module")
def planted():
    rng = np.random.default_rng(0)
    U = rng.normal(size=(30, 8))
    tokens = rng.integers(12, size=(200, 2))
    tokens[::3, 1] = END
    held = np.where(tokens[:, 1:] == END, 0.0, 1.0) * U[tokens[:, 1]]
    thoughts = np.hstack([U[tokens[:, 0]], held]) + 0.05 * rng.normal(size=(200, 16))
    probe = fit_text_probe(TextRows(thoughts, tokens, np.arange(200).astype(str)), U)
    lens = Translator(0.1 * rng.normal(size=(16, 16)), rng.normal(size=16), rng.normal(size=16))
    return {"a": SavedText(probe, lens, {"step": 1}), "b": SavedText(probe, None, {})}, thoughts, U


def test_what_is_read_back_reads_alike(planted):
    texts, thoughts, U = planted
    back = load_texts(*save_texts(texts))
    assert set(back) == {"a", "b"}
    for name, saved in back.items():
        expected, found = texts[name].probe.read(thoughts, U), saved.probe.read(thoughts, U)
        np.testing.assert_array_equal(found.tokens, expected.tokens)
        np.testing.assert_array_equal(found.log_p, expected.log_p)
        np.testing.assert_array_equal(found.texts, expected.texts)
        np.testing.assert_array_equal(saved.probe.write(found.texts, U), texts[name].probe.write(found.texts, U))
    np.testing.assert_array_equal(back["a"].lens.translate(thoughts), texts["a"].lens.translate(thoughts))
    assert back["b"].lens is None
    assert back["a"].metadata == {"step": 1}
    assert save_texts(back) == save_texts(texts)


def test_every_changed_byte_of_the_specification_is_refused(planted):
    tensors, spec = save_texts({"a": planted[0]["a"]})
    for place in range(0, len(spec), 7):
        damaged = bytearray(spec)
        damaged[place] ^= 1
        with pytest.raises(ProbeFileError):
            load_texts(tensors, bytes(damaged))


def test_changed_or_cut_off_tensors_are_refused(planted):
    tensors, spec = save_texts({"a": planted[0]["a"]})
    for damaged in (tensors[:-1], tensors + b"\0", tensors[:100], b"", bytes([tensors[0] ^ 1]) + tensors[1:]):
        with pytest.raises(ProbeFileError):
            load_texts(damaged, spec)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"n_offsets": 0}, "n_offsets"),
        ({"n_offsets": 10**9}, "n_offsets"),
        ({"n_fit": "many"}, "n_fit"),
        ({"lens": False}, "shapes"),
        ({"settings": [{}]}, "probes"),
        ({"extra": 1}, "probes"),
    ],
)
def test_specifications_that_were_written_to_deceive_are_refused(planted, change, field):
    from probes.packs import _spec_bytes

    tensors, spec = save_texts({"a": planted[0]["a"]})
    body = json.loads(spec)
    del body["spec_sha256"]
    body["probes"][0] |= change
    with pytest.raises(ProbeFileError) as caught:
        load_texts(tensors, _spec_bytes(body))
    assert field in caught.value.field
