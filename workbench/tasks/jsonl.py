"""Problems as JSON lines: every bad line is reported, and then nothing is run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workbench.errors import InsufficientData, SchemaError
from workbench.jsonio import canonical_json, parse_json, read_text
from workbench.tasks.base import Problem

MAX_SHOWN = 20
MAX_PROMPT_CHARACTERS = 1_000_000

_Name = Annotated[str, Field(min_length=1, max_length=1000)]


class _Line(BaseModel):
    """Fields of one line."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    id: _Name
    prompt: Annotated[str, Field(max_length=MAX_PROMPT_CHARACTERS)]
    group: _Name | None = None
    thoughts: Annotated[list[str | list[str] | None], Field(min_length=1)] | None = None
    answer: str | None = None
    condition: str | None = None
    steps: Annotated[int, Field(ge=1, le=10_000)] | None = None
    writes: list[Annotated[str, Field(max_length=MAX_PROMPT_CHARACTERS)]] = []
    meta: dict[str, Any] = {}


def read_problems(path: str | Path) -> list[Problem]:
    """Problems of a JSON lines file; blank lines are skipped.

    Raises:
        SchemaError: the file is absent or not UTF-8, or any line is bad: each bad line is named with its
            number and field.
        InsufficientData: the file holds no problem.
    """
    path = Path(path)
    problems: list[Problem] = []
    defects: list[str] = []
    first_line: dict[str, int] = {}
    for number, text in enumerate(read_text(path).split("\n"), start=1):
        if not text.strip():
            continue
        try:
            problem = _parse(text, path)
        except SchemaError as error:
            defects.append(f"line {number}: {error.field + ': ' if error.field else ''}{error.message}")
            continue
        if problem.id in first_line:
            defects.append(f"line {number}: id: {problem.id!r} already stands on line {first_line[problem.id]}")
            continue
        first_line[problem.id] = number
        problems.append(problem)
    if defects:
        more = f" (and {len(defects) - MAX_SHOWN} more)" if len(defects) > MAX_SHOWN else ""
        raise SchemaError(
            f"{len(defects)} bad line{'s' * (len(defects) > 1)}, nothing was run:\n  "
            + "\n  ".join(defects[:MAX_SHOWN])
            + more,
            path=path,
            field="; ".join(defect.partition(": ")[0] for defect in defects[:MAX_SHOWN]),
            hint=f"Each line is one JSON object with the fields {', '.join(_Line.model_fields)}.",
        )
    if not problems:
        raise InsufficientData("the file holds no problem", path=path, found="n=0")
    return problems


def _parse(text: str, path: Path) -> Problem:
    return problem_of(parse_json(text, path=path))


def problem_of(plain: Any) -> Problem:
    """The problem of plain values, as a line or a store has them.

    Raises:
        SchemaError: with the field, for whatever is not allowed there.
    """
    if not isinstance(plain, dict):
        raise SchemaError(f"not a JSON object but {type(plain).__name__}")
    try:
        line = _Line.model_validate(plain)
    except ValidationError as error:
        raise SchemaError("; ".join(_explain(item) for item in error.errors())) from error
    try:
        canonical_json(line.meta)
    except SchemaError as error:
        raise SchemaError(f"field meta: {error.message}") from error
    return Problem(
        id=line.id,
        prompt=line.prompt,
        group=line.group or line.id,
        thoughts=None
        if line.thoughts is None
        else tuple(tuple(v) if isinstance(v, list) else v for v in line.thoughts),
        answer=line.answer,
        condition=line.condition,
        steps=line.steps,
        writes=tuple(line.writes),
        meta=line.meta,
    )


def _explain(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"] if not str(part).startswith(("list[", "constrained")))
    if item["type"] == "extra_forbidden":
        return f"field {where}: not a known field (free fields belong under meta)"
    if item["type"] == "missing":
        return f"field {where}: missing"
    return f"field {where}: {item['msg']}, found {str(item['input'])[:40]!r}"


def problem_lines(problems: Iterable[Problem]) -> bytes:
    """The problems as JSON lines, one canonical object a line."""
    return b"".join(canonical_json(problem.to_plain()) + b"\n" for problem in problems)
