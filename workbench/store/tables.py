"""The rows of a shard: what may be stored, and its bytes.

A shard is a safetensors file with two tensors per site: ``<n>.vectors``
[rows, dim] and ``<n>.address`` [rows, 4] int32, where n is the place of the
site in the sorted list of names. Names are data: none becomes a file name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from workbench.errors import ConfigError, CorruptArtifact, LimitExceeded, SchemaError
from workbench.jsonio import parse_json

ADDRESS = ("example", "step", "visit", "pos")
DTYPES = {"float32": "F32", "float16": "F16"}
MAX_DIM = 1 << 24
_HEADER_BASE, _HEADER_PER_TENSOR = 4096, 256


@dataclass(frozen=True, slots=True)
class SiteRows:
    """The rows of one site in one shard.

    Attributes:
        vectors: [rows, dim] float32 or float16, as the config says; never cast here.
        address: [rows, 4] int32, columns example, step, visit, pos. `example` is the row number of
            the problem in the whole run; -1 in another column says that it does not apply.
    """

    vectors: NDArray[Any]
    address: NDArray[Any]


@dataclass(frozen=True, slots=True)
class SiteSpec:
    """What the config says about a site."""

    name: str
    dim: int
    dtype: str
    axes: tuple[str, ...]


def site_specs(config: Mapping[str, Any]) -> tuple[SiteSpec, ...]:
    """The sites of a config, sorted by name.

    Raises:
        ConfigError: ``config["sites"]`` is not ``{name: {"dim": int, "dtype": ..., "axes": [...]}}``.
    """
    sites = config.get("sites")
    if not isinstance(sites, dict) or not sites:
        raise ConfigError("a store needs at least one site", field="sites", expected="{name: {dim, dtype, axes}}")
    return tuple(_site_spec(name, sites[name]) for name in sorted(sites))


def _site_spec(name: str, entry: Any) -> SiteSpec:
    field = f"sites.{name}"
    if not isinstance(entry, dict):
        raise ConfigError("a site needs dim and dtype", field=field, found=repr(entry)[:80])
    dim, dtype, axes = entry.get("dim"), entry.get("dtype"), entry.get("axes", [])
    if type(dim) is not int or not 0 < dim <= MAX_DIM:
        raise ConfigError("not a width", field=f"{field}.dim", expected=f"1 to {MAX_DIM}", found=repr(dim)[:80])
    if dtype not in DTYPES:
        raise ConfigError(
            "not a stored type", field=f"{field}.dtype", expected=" or ".join(DTYPES), found=repr(dtype)[:80]
        )
    if not isinstance(axes, list | tuple) or not all(isinstance(axis, str) for axis in axes):
        raise ConfigError("axes are a list of names", field=f"{field}.axes", found=repr(axes)[:80])
    return SiteSpec(name, dim, dtype, tuple(axes))


def check_tables(specs: Sequence[SiteSpec], tables: Mapping[str, SiteRows], n_problems: int) -> list[SiteRows]:
    """The tables in the order of the sites, rows sorted by address; refuses what the config does not say."""
    known = {spec.name for spec in specs}
    if set(tables) != known:
        raise SchemaError(
            "a shard needs a table for every site and no other",
            field="sites",
            expected=", ".join(sorted(known)),
            found=", ".join(sorted(map(str, tables))) or "none",
        )
    ordered = [_check_site(spec, tables[spec.name]) for spec in specs]
    examples = [rows.address[:, 0] for rows in ordered if len(rows.address)]
    if examples and max(e.max() for e in examples) - min(e.min() for e in examples) >= n_problems:
        raise SchemaError(
            "rows belong to more problems than the shard has",
            field="address.example",
            expected=f"{n_problems} problems",
        )
    return ordered


def _check_site(spec: SiteSpec, rows: SiteRows) -> SiteRows:
    vectors, address = np.asarray(rows.vectors), np.asarray(rows.address)
    for name, array, dtype, width in (
        ("vectors", vectors, spec.dtype, spec.dim),
        ("address", address, "int32", 4),
    ):
        if array.dtype != np.dtype(dtype):
            raise SchemaError(
                "wrong type of numbers; nothing is cast silently",
                field=f"{spec.name}.{name}",
                expected=dtype,
                found=array.dtype.str,
            )
        if array.ndim != 2 or array.shape[1] != width or len(array) != len(vectors):
            raise SchemaError(
                "wrong shape",
                field=f"{spec.name}.{name}",
                expected=f"[{len(vectors)}, {width}]",
                found=list(array.shape),
            )
    if (_first_change(address) < 0).any():
        order = np.lexsort(address.T[::-1])
        vectors, address = vectors[order], address[order]
    check_address(address, field=f"{spec.name}.address")
    return SiteRows(vectors, address)


def _first_change(address: NDArray[Any]) -> NDArray[np.int64]:
    """[rows - 1] by how much each address exceeds the one before in the first column that differs, else 0."""
    wide: NDArray[np.int64] = address.astype(np.int64)
    change = wide[1:] - wide[:-1]
    return np.take_along_axis(change, (change != 0).argmax(axis=1)[:, None], axis=1)[:, 0]


def check_address(address: NDArray[Any], *, field: str, path: Path | None = None) -> None:
    """Refuse negative examples, values below -1, and rows that are unsorted or stored twice."""
    if not len(address):
        return
    if address[:, 0].min() < 0 or address.min() < -1:
        raise SchemaError("negative address", path=path, field=field, expected="example from 0, others from -1")
    first = _first_change(address)
    if (first <= 0).any():
        row = int((first <= 0).argmax()) + 1
        found = dict(zip(ADDRESS, address[row].tolist(), strict=True))
        raise SchemaError("an address is stored twice or out of order", path=path, field=field, found=found)


def count_nonfinite(vectors: NDArray[Any]) -> int:
    """Rows of [rows, dim] that hold a NaN or an infinity."""
    # All exponent bits set. Asked of the bits: NumPy's isfinite is many times slower for float16.
    if vectors.dtype == np.float16:
        odd = (vectors.view(np.uint16) & np.uint16(0x7C00)) == 0x7C00
    else:
        odd = (vectors.view(np.uint32) & np.uint32(0x7F800000)) == 0x7F800000
    return int(odd.any(axis=1).sum())


def encode_shard(tables: Sequence[SiteRows]) -> bytes:
    """Bytes of a shard file; equal rows give equal bytes."""
    tensors = {}
    for n, rows in enumerate(tables):
        tensors[f"{n}.vectors"] = np.ascontiguousarray(rows.vectors)
        tensors[f"{n}.address"] = np.ascontiguousarray(rows.address)
    data: bytes = save_safetensors(tensors)
    return data


def decode_shard(data: bytes, specs: Sequence[SiteSpec], rows: Sequence[int], path: Path) -> list[SiteRows]:
    """Rows of every site from the verified bytes of a shard; the header is checked before it is used."""
    shapes: dict[str, tuple[str, list[int]]] = {}
    for n, (spec, count) in enumerate(zip(specs, rows, strict=True)):
        shapes[f"{n}.vectors"] = (DTYPES[spec.dtype], [count, spec.dim])
        shapes[f"{n}.address"] = ("I32", [count, 4])
    _check_header(data, shapes, path)
    try:
        tensors = load_safetensors(data)
    except SafetensorError as error:
        raise CorruptArtifact("not a safetensors file", path=path, field="header") from error
    tables = [SiteRows(tensors[f"{n}.vectors"], tensors[f"{n}.address"]) for n in range(len(specs))]
    for spec, table in zip(specs, tables, strict=True):
        check_address(table.address, field=f"{spec.name}.address", path=path)
    return tables


def _check_header(data: bytes, shapes: Mapping[str, tuple[str, list[int]]], path: Path) -> None:
    length = int.from_bytes(data[:8], "little")
    limit = _HEADER_BASE + _HEADER_PER_TENSOR * len(shapes)
    if len(data) < 8 or length > len(data) - 8:
        raise CorruptArtifact("not a safetensors file", path=path, field="header", found=f"{len(data)} bytes")
    if length > limit:
        raise LimitExceeded(
            "header is larger than its tensors need",
            path=path,
            field="n_tensors",
            expected=f"at most {limit} bytes",
        )
    try:
        header = parse_json(data[8 : 8 + length].decode("utf-8"), path=path, field="header")
    except (UnicodeDecodeError, SchemaError) as error:
        raise CorruptArtifact(f"header is not strict JSON: {error}", path=path, field="header") from error
    if not isinstance(header, dict) or set(header) != set(shapes):
        raise SchemaError(
            "not the tensors of this store", path=path, field="header", expected=", ".join(sorted(shapes))
        )
    for name, (dtype, shape) in shapes.items():
        entry = header[name]
        found = (entry.get("dtype"), entry.get("shape")) if isinstance(entry, dict) else (None, None)
        if json.dumps(found) != json.dumps((dtype, shape)):
            raise SchemaError(
                "not the tensor of this store", path=path, field=name, expected=(dtype, shape), found=found
            )
