"""What a probe may be asked: a column of known values, one per problem, from thoughts, answers, prompts or a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probes.controls import sorted_classes
from workbench.errors import SchemaError
from workbench.fitting.plan import LABEL
from workbench.jsonio import parse_json, read_text
from workbench.tasks.base import plain_prompt

Ints = NDArray[np.intp]
Values = Sequence[str | None]


@dataclass(frozen=True, slots=True)
class Column:
    """Known values of one label over all problems of a run."""

    name: str
    """What it is whatever the step: `thought[2]`, not `thought`. Equal names are equal columns."""
    codes: Ints
    """Place among `classes` of each problem's value, [n_problems]; -1 where it is not known."""
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        self.codes.setflags(write=False)


class LabelTable:
    """Columns by label and step, each made once.

    Args:
        problems: the problems of a run, as its store has them.
        from_file: label name -> problem id -> value, or values by step.
    """

    def __init__(
        self, problems: Sequence[Mapping[str, Any]], from_file: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        self._problems = problems
        self._from_file = from_file or {}
        self._columns: dict[str, Column | None] = {}
        self.n_steps = max((len(problem.get("thoughts") or ()) for problem in problems), default=0)

    def column(self, label: str, step: int) -> Column | None:
        """The column of a label at a step; None where no problem has a value.

        Raises:
            SchemaError: the labels file does not hold this name.
        """
        name, value_of = self._source(label, step)
        if name not in self._columns:
            self._columns[name] = _column(name, [value_of(problem) for problem in self._problems])
        return self._columns[name]

    def _source(self, label: str, step: int) -> tuple[str, Callable[[Mapping[str, Any]], str | None]]:
        if label.startswith("file:"):
            return self._file_source(label, step)
        found = LABEL.fullmatch(label)
        assert found is not None
        if label == "answer":
            return label, lambda problem: problem.get("answer")
        if found[3] is not None:
            return label, lambda problem: _at(plain_prompt(problem).split(), int(found[3]))
        place = int(found[1]) if found[1] is not None else step + int(found[2] or 0)
        if found[1] is None and place < 0:
            return "nothing", lambda problem: None
        return f"thought[{place}]", lambda problem: _at(problem.get("thoughts") or (), place)

    def _file_source(self, label: str, step: int) -> tuple[str, Callable[[Mapping[str, Any]], str | None]]:
        values = self._from_file.get(label.removeprefix("file:"))
        if values is None:
            raise SchemaError(
                "the labels file has no such label", field=label, expected=", ".join(sorted(self._from_file)) or "none",
                hint="Name the file as labels_file in the plan.",
            )  # fmt: skip
        by_step = any(isinstance(value, list) for value in values.values())

        def value_of(problem: Mapping[str, Any]) -> str | None:
            value = values.get(problem["id"])
            return _at(value, step) if isinstance(value, list) else value

        return (f"{label}[{step}]" if by_step else label), value_of


def _at(values: Sequence[Any], place: int) -> str | None:
    """The value there, if it is a single one; a set of values has no single label."""
    inside = -len(values) <= place < len(values)
    return values[place] if inside and isinstance(values[place], str) else None


def _column(name: str, values: Values) -> Column | None:
    known = np.array([value is not None for value in values], dtype=np.bool_)
    if not known.any():
        return None
    classes, places = sorted_classes([value for value in values if value is not None])
    codes = np.full(len(values), -1, dtype=np.intp)
    codes[known] = places
    return Column(name, codes, tuple(map(str, classes)))


def last_words(problems: Sequence[Mapping[str, Any]]) -> Ints:
    """Code of the last word of each prompt, [n]: the input type of control tasks."""
    words = [(plain_prompt(problem).split() or [""])[-1] for problem in problems]
    return np.unique(np.asarray(words), return_inverse=True)[1]


def read_labels_file(path: Path) -> dict[str, dict[str, Any]]:
    """Label name -> problem id -> value (text, or a list of texts and nulls by step).

    Raises:
        SchemaError: every bad line at once, with its number and field; nothing is used then.
    """
    table: dict[str, dict[str, Any]] = {}
    breaks: list[str] = []
    seen: set[str] = set()
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = parse_json(line, path=path, field=f"line {number}")
            _check_line(record, seen)
        except SchemaError as error:
            breaks.append(f"line {number}: {error.message}")
            continue
        except ValueError as error:
            breaks.append(f"line {number}: {error}")
            continue
        seen.add(record["id"])
        for name, value in record["labels"].items():
            table.setdefault(name, {})[record["id"]] = value
    if breaks or not seen:
        shape = '{"id": text, "labels": {name: text, or list of texts and nulls}}'
        message = "; ".join(breaks) or "holds no line"
        raise SchemaError(message, path=path, field="labels_file", expected=f"lines of {shape}")
    return table


def _check_line(record: Any, seen: set[str]) -> None:
    if not isinstance(record, dict) or set(record) != {"id", "labels"}:
        raise ValueError("must have exactly the keys id and labels")
    if not isinstance(record["id"], str) or record["id"] in seen:
        raise ValueError(f"id must be a text that stands once; found {record['id']!r}")
    if not isinstance(record["labels"], dict):
        raise ValueError("labels must be an object")
    for name, value in record["labels"].items():
        items = value if isinstance(value, list) else [value]
        if not all(isinstance(item, str) or (item is None and isinstance(value, list)) for item in items):
            raise ValueError(f"label {name!r} must be a text or a list of texts and nulls; found {value!r:.60}")
