"""Packs: two files that vouch for each other, tensors (safetensors) and a specification (canonical JSON).

The specification names every tensor, carries the digest of the tensors and its own, and is refused unless it is byte
for byte what `write_pack` would write: nothing is guessed, nothing is executed.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from probes.errors import ProbeDataError, ProbeFileError

MAX_SPEC_BYTES = 256 * 1024 * 1024
MAX_TENSOR_BYTES = 4 * 1024**3
MAX_RECORDS = 100_000

Tensors = dict[str, NDArray[np.float64]]


def write_pack(schema: str, records: Sequence[Mapping[str, Any]], tensors: Tensors) -> tuple[bytes, bytes]:
    """Tensors and specification; equal contents have equal bytes.

    Raises:
        ProbeDataError: more records than can be read back, or text that is not valid Unicode.
    """
    if len(records) > MAX_RECORDS:
        raise ProbeDataError(f"at most {MAX_RECORDS} probes fit in one file; found {len(records)}")
    data = save(tensors)
    body = {"schema": schema, "probes": list(records), "tensors_sha256": hashlib.sha256(data).hexdigest()}
    try:
        return data, _spec_bytes(body)
    except UnicodeEncodeError as error:
        raise ProbeDataError(f"names and classes must be valid Unicode: {error}") from error


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _spec_bytes(body: dict[str, Any]) -> bytes:
    return _canonical({**body, "spec_sha256": hashlib.sha256(_canonical(body)).hexdigest()})


def read_spec(spec: bytes, schema: str) -> dict[str, Any]:
    """The checked specification; `probes` is a list of anything.

    Raises:
        ProbeFileError: it is not what was written, or of another schema.
    """
    if len(spec) > MAX_SPEC_BYTES:
        raise ProbeFileError(f"is larger than {MAX_SPEC_BYTES} bytes", field="size")
    try:
        body = json.loads(spec.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ProbeFileError(f"is not strict JSON: {error}", field="spec") from error
    keys = {"schema", "probes", "tensors_sha256", "spec_sha256"}
    if not isinstance(body, dict) or set(body) != keys:
        raise ProbeFileError(f"must have exactly the keys {', '.join(sorted(keys))}", field="spec")
    if body["schema"] != schema:
        raise ProbeFileError(f"must be {schema!r}; found {body['schema']!r}", field="schema")
    del body["spec_sha256"]
    try:
        expected = _spec_bytes(body)
    except (ValueError, RecursionError) as error:
        raise ProbeFileError(f"cannot be written back: {error}", field="spec") from error
    if expected != spec:
        raise ProbeFileError("is not what was written (digest or canonical form differs)", field="spec_sha256")
    if not isinstance(body["probes"], list) or len(body["probes"]) > MAX_RECORDS:
        raise ProbeFileError(f"must be a list of at most {MAX_RECORDS} probes", field="probes")
    return body


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return record


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def read_tensors(data: bytes, shapes: Mapping[str, list[int]], sha256: Any) -> Tensors:
    """The tensors that a specification names.

    Raises:
        ProbeFileError: they are not those that it was written with.
    """
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


def checked_shape(shape: Any, n_axes: int, field: str) -> list[int]:
    """A list of positive integers.

    Raises:
        ProbeFileError: anything else.
    """
    if not isinstance(shape, list) or len(shape) != n_axes or not all(type(s) is int and s > 0 for s in shape):
        raise ProbeFileError(f"must be {n_axes} positive integers; found {shape!r}", field=field)
    return shape
