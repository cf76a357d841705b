"""Strict JSON in, canonical JSON out.

Reading refuses what other parsers let pass silently: duplicate keys, NaN and
Infinity, lone surrogates, absurd nesting. Writing is RFC 8785, so that equal
values have equal bytes and equal hashes.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

import rfc8785

from workbench.errors import LimitExceeded, SchemaError

MAX_JSON_BYTES = 512 * 1024 * 1024
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
"""Only an escape can bring half a pair into a text that is UTF-8; few files have one, and millions of strings."""


def canonical_json(value: Any) -> bytes:
    """RFC 8785 bytes of plain values (no NaN, no infinity, integers below 2**53)."""
    try:
        return rfc8785.dumps(value)
    except RecursionError as error:
        raise SchemaError("value is nested too deeply to be written") from error
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise SchemaError(f"value cannot be written as canonical JSON: {error}") from error


def digest(data: bytes) -> str:
    """``sha256:<hex>`` of the bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for key, value in pairs:
        if key in record:
            raise ValueError(f"duplicate key {key!r}")
        record[key] = value
    return record


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits[:20]} is beyond the largest number")
    return number


def parse_json(text: str, *, path: str | Path, field: str | None = None) -> Any:
    """Parse one strict JSON value; every defect is a `SchemaError` that names the file and the field."""
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
        text.encode("utf-8")
        if _SURROGATE_ESCAPE.search(text):
            _refuse_surrogates(value)
    except RecursionError as error:
        raise SchemaError("JSON is nested too deeply", path=path, field=field) from error
    except ValueError as error:
        raise SchemaError(f"not valid JSON: {error}", path=path, field=field) from error
    return value


def _refuse_surrogates(value: Any) -> None:
    if isinstance(value, str):
        value.encode("utf-8")
    elif isinstance(value, dict):
        for key, item in value.items():
            key.encode("utf-8")
            _refuse_surrogates(item)
    elif isinstance(value, list):
        for item in value:
            _refuse_surrogates(item)


def read_text(path: Path, *, limit: int = MAX_JSON_BYTES) -> str:
    """UTF-8 text of a file (a byte order mark is accepted), refused over `limit` bytes."""
    if not path.is_file():
        raise SchemaError("no such file", path=path, hint="Check the path.")
    size = path.stat().st_size
    if size > limit:
        raise LimitExceeded("file is too large", path=path, field="size", expected=f"at most {limit} bytes", found=size)
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SchemaError(
            "file is not UTF-8", path=path, field=f"byte {error.start}", hint="Save it as UTF-8 and run again."
        ) from error


def read_json(path: Path, *, limit: int = MAX_JSON_BYTES) -> Any:
    """Strict JSON value of a file."""
    return parse_json(read_text(path, limit=limit), path=path)
