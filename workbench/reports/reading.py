"""How every record file is read back: its schema by name, then its fields, all breaks at once."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from workbench.errors import SchemaError
from workbench.reports.fields import Record

R = TypeVar("R", bound=Record)
MAX_BREAKS = 20


@contextmanager
def collector_paused() -> Iterator[None]:
    """While a large record is built: it holds no cycles, and looking for some takes longer than building it."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def parse_record(
    kind: type[R], plain: Any, *, path: Path, what: str, schema: str | None = None, hint: str | None = None
) -> R:
    """The record of these plain values.

    Args:
        kind: class of the record.
        plain: parsed JSON.
        path: file it came from.
        what: name of the record in messages, such as `audit`.
        schema: what its field `schema` must say, where it has one.
        hint: what to do about another schema.

    Raises:
        SchemaError: another schema, or values that break this one (all breaks are listed).
    """
    found = plain.get("schema") if isinstance(plain, Mapping) else None
    if schema is not None and found != schema:
        raise SchemaError(f"unknown {what} schema", path=path, field="schema", expected=schema, found=found, hint=hint)
    try:
        return kind.model_validate(plain)
    except ValidationError as error:
        first = error.errors()[:MAX_BREAKS]
        fields = [".".join(str(part) for part in item["loc"]) for item in first]
        breaks = [
            f"{field}: {item['msg']}" if field else item["msg"] for field, item in zip(fields, first, strict=True)
        ]
        message = f"{what} record breaks its schema: " + "; ".join(breaks)
        raise SchemaError(message, path=path, field=next(filter(None, fields), None)) from error
