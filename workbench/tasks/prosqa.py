"""Published problems of ProsQA (facebookresearch/coconut, `data/prosqa_*.json`), checked against their own graphs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workbench.errors import InsufficientData, SchemaError
from workbench.jsonio import read_json
from workbench.tasks.base import Problem
from workbench.tasks.graphs import Graph

Form = Literal["symbols", "question"]
"""Prompt of a problem: edges and choices as the task `graphs` writes them, or the published question."""

_Node = Annotated[int, Field(ge=0)]
_FACT = re.compile(r"(?:Every )?(\w+) is an? (\w+)\.")


class _Published(BaseModel):
    """One published record."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)

    question: Annotated[str, Field(max_length=1_000_000)]
    answer: str
    steps: Annotated[list[str], Field(min_length=1)]
    idx_to_symbol: Annotated[list[Annotated[str, Field(pattern=r"^\w+$")]], Field(min_length=2, max_length=10_000)]
    edges: list[Annotated[list[_Node], Field(min_length=2, max_length=2)]]
    root: _Node
    target: _Node
    neg_target: _Node


def read_prosqa(path: str | Path, *, form: Form = "symbols") -> list[Problem]:
    """Published problems with the frontier of each hop as the set that its thought must hold.

    Frontiers are searched anew, breadth first, in `edges`; the published `steps` must be a path of so many hops.

    Raises:
        SchemaError: the file is absent or not such JSON, or a record contradicts itself; the first bad record and
            its field are named.
        InsufficientData: the file holds no record.
    """
    path = Path(path)
    records = _records(path)
    problems = []
    for number, (record, graph) in enumerate(records):
        problem = graph.problem(f"prosqa-{number:05d}")
        if form == "question":
            problem = Problem(
                id=problem.id, prompt=record.question, thoughts=problem.thoughts, answer=problem.answer,
                steps=problem.steps,
            )  # fmt: skip
        problems.append(problem)
    return problems


def read_prosqa_graphs(path: str | Path) -> list[Graph]:
    """The graphs alone, edges and choices in the order of the question; raises as `read_prosqa` does."""
    return [graph for _, graph in _records(Path(path))]


def _records(path: Path) -> list[tuple[_Published, Graph]]:
    plain = read_json(path)
    if not isinstance(plain, list):
        raise SchemaError("not a list of records", path=path, found=type(plain).__name__)
    if not plain:
        raise InsufficientData("the file holds no record", path=path, found="n=0")
    checked = []
    for number, item in enumerate(plain):
        try:
            record = _parse(item)
            checked.append((record, _graph(record)))
        except SchemaError as error:
            where = f"record {number}" + (f": {error.field}" if error.field else "")
            raise SchemaError(
                error.message, path=path, field=where, expected=error.expected, found=error.found,
                hint="Records are those of ProsQA: question, steps, answer, idx_to_symbol, edges, root, target, "
                "neg_target.",
            ) from error  # fmt: skip
    return checked


def _parse(item: Any) -> _Published:
    if not isinstance(item, dict):
        raise SchemaError("not a JSON object", found=type(item).__name__)
    try:
        return _Published.model_validate(item)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        found = None if first["type"] == "missing" else str(first["input"])[:40]
        raise SchemaError(first["msg"], field=field, found=found) from error


def _graph(record: _Published) -> Graph:
    """The graph in the order of the question, once all parts of the record agree."""
    names = tuple(record.idx_to_symbol)
    _same_nodes(record)
    if record.answer != f"{names[record.root]} is a {names[record.target]}.":
        raise SchemaError(
            "the answer is not root and target", field="answer", found=record.answer[:80],
            expected=f"{names[record.root]} is a {names[record.target]}.",
        )  # fmt: skip
    facts, _, question = record.question.rpartition(". ")
    place = {name: k for k, name in enumerate(names)}
    told = _FACT.findall(f"{facts}.")
    published = {(a, b) for a, b in record.edges}
    if {(place.get(a), place.get(b)) for a, b in told} != published:
        raise SchemaError("the question tells other edges", field="edges", found=f"{len(published)} edges")
    edges = tuple((place[a], place[b]) for a, b in told)
    order = re.search(r"Is (\w+) an? (\w+) or (?:an? )?(\w+)\?$", question)
    pair = {record.target, record.neg_target}
    if order is None or {place.get(order[2]), place.get(order[3])} != pair or place.get(order[1]) != record.root:
        raise SchemaError("the question asks something else", field="question", found=question[:80])
    graph = Graph(names, edges, record.root, (place[order[2]], place[order[3]]))
    if graph.target != record.target:
        raise SchemaError("the target cannot be reached from the root", field="target", found=record.target)
    _same_path(record, graph, place)
    return graph


def _same_nodes(record: _Published) -> None:
    n_nodes = len(record.idx_to_symbol)
    named = {"root": [record.root], "target": [record.target], "neg_target": [record.neg_target]}
    for field, nodes in {"edges": [node for edge in record.edges for node in edge], **named}.items():
        if nodes and max(nodes) >= n_nodes:
            raise SchemaError("no such node", field=field, expected=f"0 to {n_nodes - 1}", found=max(nodes))


def _same_path(record: _Published, graph: Graph, place: dict[str, int]) -> None:
    """The published steps are edges, one after the other, from the root to the target, as few as can be."""
    told = [_FACT.fullmatch(step.strip()) for step in record.steps]
    path = [(place.get(match[1]), place.get(match[2])) if match else (None, None) for match in told]
    ends = [record.root, *(b for _, b in path)]
    for number, edge in enumerate(path):
        if edge not in graph.edges or edge[0] != ends[number]:
            raise SchemaError(
                "not an edge that goes on from the step before", field=f"steps.{number}",
                found=record.steps[number][:80],
            )  # fmt: skip
    if ends[-1] != record.target:
        raise SchemaError("the steps do not end at the target", field="steps", found=record.steps[-1][:80])
    n_hops = len(graph.frontiers())
    if len(path) != n_hops:
        raise SchemaError("the steps are not the fewest hops", field="steps", expected=n_hops, found=len(path))
