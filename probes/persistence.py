"""Probes as two files: tensors (safetensors) and a specification (canonical JSON).

The specification names every tensor, carries the digest of the tensors and its own, and is refused
unless it is byte for byte what `save_probes` would write: nothing is guessed, nothing is executed.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from probes.errors import ProbeDataError, ProbeFileError
from probes.frozen import FrozenNovelty, FrozenProbe

SCHEMA = "neuralese-probes/1"
MAX_SPEC_BYTES = 64 * 1024 * 1024
MAX_TENSOR_BYTES = 4 * 1024**3
MAX_PROBES = 10_000
NOVELTY_ARRAYS = ("mean", "basis", "class_means", "whitener")

Tensors = dict[str, NDArray[np.float64]]


def save_probes(probes: Mapping[str, FrozenProbe]) -> tuple[bytes, bytes]:
    """Tensors (safetensors) and specification (JSON) of named probes; equal probes have equal bytes.

    Raises:
        ProbeDataError: more probes than can be read back, or a name that is not valid Unicode.
    """
    if len(probes) > MAX_PROBES:
        raise ProbeDataError(f"at most {MAX_PROBES} probes fit in one file; found {len(probes)}")
    tensors: Tensors = {}
    records = []
    for index, name in enumerate(sorted(probes)):
        probe = probes[name]
        arrays = _arrays(probe)
        tensors.update({f"{index}.{key}": array for key, array in arrays.items()})
        shapes = {key: list(array.shape) for key, array in arrays.items()}
        record = {"name": name, "kind": probe.kind, "classes": list(probe.classes), "shapes": shapes}
        records.append({**record, "metadata": dict(probe.metadata)})
    data = save(tensors)
    body = {"schema": SCHEMA, "probes": records, "tensors_sha256": hashlib.sha256(data).hexdigest()}
    try:
        return data, _spec_bytes(body)
    except UnicodeEncodeError as error:
        raise ProbeDataError(f"names and classes must be valid Unicode: {error}") from error


def _arrays(probe: FrozenProbe) -> Tensors:
    arrays: Tensors = {"coef": probe.coef, "intercept": probe.intercept}
    if probe.novelty is not None:
        arrays |= {f"novelty.{name}": getattr(probe.novelty, name) for name in NOVELTY_ARRAYS}
    return arrays


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _spec_bytes(body: dict[str, Any]) -> bytes:
    return _canonical({**body, "spec_sha256": hashlib.sha256(_canonical(body)).hexdigest()})


def load_probes(tensors: bytes, spec: bytes) -> dict[str, FrozenProbe]:
    """The probes of two files that `save_probes` made.

    Raises:
        ProbeFileError: with the field, for whatever differs from what was written, or is not ours.
    """
    body = _read_spec(spec)
    records = [_checked_record(record, index) for index, record in enumerate(body["probes"])]
    names = [record["name"] for record in records]
    if names != sorted(set(names)):
        raise ProbeFileError("names must be sorted and different", field="probes")
    shapes = {
        f"{index}.{key}": shape for index, record in enumerate(records) for key, shape in record["shapes"].items()
    }
    arrays = _read_tensors(tensors, shapes, body["tensors_sha256"])
    return {record["name"]: _probe(record, index, arrays) for index, record in enumerate(records)}


def _read_spec(spec: bytes) -> dict[str, Any]:
    if len(spec) > MAX_SPEC_BYTES:
        raise ProbeFileError(f"is larger than {MAX_SPEC_BYTES} bytes", field="size")
    try:
        body = json.loads(spec.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ProbeFileError(f"is not strict JSON: {error}", field="spec") from error
    keys = {"schema", "probes", "tensors_sha256", "spec_sha256"}
    if not isinstance(body, dict) or set(body) != keys:
        raise ProbeFileError(f"must have exactly the keys {', '.join(sorted(keys))}", field="spec")
    if body["schema"] != SCHEMA:
        raise ProbeFileError(f"must be {SCHEMA!r}; found {body['schema']!r}", field="schema")
    del body["spec_sha256"]
    try:
        expected = _spec_bytes(body)
    except (ValueError, RecursionError) as error:
        raise ProbeFileError(f"cannot be written back: {error}", field="spec") from error
    if expected != spec:
        raise ProbeFileError("is not what was written (digest or canonical form differs)", field="spec_sha256")
    if not isinstance(body["probes"], list) or len(body["probes"]) > MAX_PROBES:
        raise ProbeFileError(f"must be a list of at most {MAX_PROBES} probes", field="probes")
    return body


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return record


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _checked_record(record: Any, index: int) -> dict[str, Any]:
    where = f"probes[{index}]"
    if not isinstance(record, dict) or set(record) != {"name", "kind", "classes", "shapes", "metadata"}:
        raise ProbeFileError("must have exactly the keys name, kind, classes, shapes, metadata", field=where)
    if not isinstance(record["name"], str):
        raise ProbeFileError("must be text", field=f"{where}.name")
    if record["kind"] not in FrozenProbe.KINDS:
        raise ProbeFileError(f"unknown kind {record['kind']!r}; known are {FrozenProbe.KINDS}", field=f"{where}.kind")
    if not isinstance(record["classes"], list) or not all(isinstance(label, str) for label in record["classes"]):
        raise ProbeFileError("must be a list of texts", field=f"{where}.classes")
    if not isinstance(record["metadata"], dict):
        raise ProbeFileError("must be an object", field=f"{where}.metadata")
    allowed = {"coef": 2, "intercept": 1}
    novel = {"novelty.mean": 1, "novelty.basis": 2, "novelty.class_means": 2, "novelty.whitener": 2}
    shapes = record["shapes"]
    if not isinstance(shapes, dict) or set(shapes) not in (set(allowed), set(allowed | novel)):
        raise ProbeFileError("must name coef, intercept and all or none of the novelty arrays", field=f"{where}.shapes")
    for key, n_axes in (allowed | novel).items():
        shape = shapes.get(key, [1] * n_axes)
        if not isinstance(shape, list) or len(shape) != n_axes or not all(type(s) is int and s > 0 for s in shape):
            raise ProbeFileError(f"must be {n_axes} positive integers; found {shape!r}", field=f"{where}.shapes.{key}")
    return record


def _read_tensors(data: bytes, shapes: Mapping[str, list[int]], sha256: Any) -> Tensors:
    if len(data) > MAX_TENSOR_BYTES:
        raise ProbeFileError(f"is larger than {MAX_TENSOR_BYTES} bytes", field="size")
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ProbeFileError("tensors are not those that the specification was written with", field="tensors_sha256")
    _check_header(data, shapes)
    try:
        arrays: Tensors = load(data)
        return arrays
    except SafetensorError as error:
        raise ProbeFileError(f"tensors cannot be read: {error}", field="tensors") from error


def _check_header(data: bytes, shapes: Mapping[str, list[int]]) -> None:
    """Exactly the tensors that the specification names, float64, and not a byte beside them."""
    if len(data) < 8 or (size := struct.unpack("<Q", data[:8])[0]) > min(len(data) - 8, MAX_SPEC_BYTES):
        raise ProbeFileError("header is longer than the file", field="tensors.header")
    try:
        header = json.loads(data[8 : 8 + size].decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ProbeFileError(f"header is not strict JSON: {error}", field="tensors.header") from error
    if not isinstance(header, dict) or set(header) != set(shapes):
        raise ProbeFileError("tensors are not those that the specification names", field="tensors.header")
    n_bytes = 0
    for name, shape in shapes.items():
        entry = header[name]
        if not isinstance(entry, dict) or entry.get("dtype") != "F64" or entry.get("shape") != shape:
            raise ProbeFileError(f"must be F64 of shape {shape}; found {entry!r}", field=f"tensors.{name}")
        n_bytes += 8 * int(np.prod(np.array(shape, dtype=object)))
    if 8 + size + n_bytes != len(data):
        raise ProbeFileError(f"tensors need {n_bytes} bytes; found {len(data) - 8 - size}", field="tensors.size")


def _probe(record: dict[str, Any], index: int, arrays: Tensors) -> FrozenProbe:
    own = {key: arrays[f"{index}.{key}"] for key in record["shapes"]}
    try:
        novelty = None
        if "novelty.mean" in own:
            novelty = FrozenNovelty(*(own[f"novelty.{name}"] for name in NOVELTY_ARRAYS))
        return FrozenProbe(
            record["kind"],
            tuple(record["classes"]),
            own["coef"],
            own["intercept"],
            record["metadata"],
            novelty,
        )
    except ProbeDataError as error:
        raise ProbeFileError(f"does not make a probe: {error}", field=f"probes[{index}]") from error
