"""Published problems are read with their frontiers, or refused with the record and the field that is wrong."""

import json

import pytest

from workbench.errors import InsufficientData, SchemaError
from workbench.tasks import read_prosqa, read_prosqa_graphs

RECORD = {
    "question": "Every zumpus is a wumpus. Tom is a dumpus. Every wumpus is a lempus. Tom is a zumpus. "
    "Alex is a timpus. Every zumpus is a gerpus. Is Tom a timpus or lempus?",
    "answer": "Tom is a lempus.",
    "steps": ["Tom is a zumpus.", "Every zumpus is a wumpus.", "Every wumpus is a lempus."],
    "idx_to_symbol": ["Alex", "Tom", "zumpus", "wumpus", "lempus", "timpus", "dumpus", "gerpus"],
    "edges": [[1, 2], [2, 3], [3, 4], [0, 5], [1, 6], [2, 7]],
    "root": 1,
    "target": 4,
    "neg_target": 5,
}


def write(tmp_path, *records):
    path = tmp_path / "prosqa.json"
    path.write_text(json.dumps(list(records)))
    return path


def test_frontiers_are_searched_anew_in_the_edges(tmp_path):
    (problem,) = read_prosqa(write(tmp_path, RECORD))
    assert problem.thoughts == (("dumpus", "zumpus"), ("gerpus", "wumpus"), ("lempus",))
    assert problem.answer == "lempus"
    assert problem.steps == 3
    assert problem.prompt == (
        "zumpus wumpus | Tom dumpus | wumpus lempus | Tom zumpus | Alex timpus | zumpus gerpus | "
        "[Q] timpus lempus [R] Tom"
    )


def test_the_published_question_can_be_the_prompt(tmp_path):
    path = write(tmp_path, RECORD, RECORD)
    told, drawn = read_prosqa(path, form="question"), read_prosqa(path)
    assert [p.prompt for p in told] == [RECORD["question"]] * 2
    assert [(p.id, p.thoughts, p.answer, p.steps) for p in told] == [
        (p.id, p.thoughts, p.answer, p.steps) for p in drawn
    ]
    assert len({p.id for p in told}) == 2
    (graph, _) = read_prosqa_graphs(path)
    assert (graph.names[graph.root], graph.names[graph.target]) == ("Tom", "lempus")


def without(name):
    return {key: value for key, value in RECORD.items() if key != name}


BAD = {
    "no edges": (without("edges"), "edges", "required"),
    "no question": (without("question"), "question", "required"),
    "a root in words": ({**RECORD, "root": "Tom"}, "root", "integer"),
    "a root that is a truth value": ({**RECORD, "root": True}, "root", "integer"),
    "an edge of three": ({**RECORD, "edges": [[1, 2, 3]]}, "edges.0", "at most 2"),
    "a negative node": ({**RECORD, "edges": [[1, -2]]}, "edges.0.1", "greater than or equal"),
    "an edge to nowhere": ({**RECORD, "edges": [*RECORD["edges"], [1, 8]]}, "edges", "no such node"),
    "a target that is no node": ({**RECORD, "target": 99}, "target", "no such node"),
    "a name twice": ({**RECORD, "idx_to_symbol": [*RECORD["idx_to_symbol"][:7], "Tom"]}, "edges", "other edges"),
    "an edge that is not told": ({**RECORD, "edges": [*RECORD["edges"], [6, 7]]}, "edges", "other edges"),
    "a told edge that is missing": ({**RECORD, "edges": RECORD["edges"][:-1]}, "edges", "other edges"),
    "no step": ({**RECORD, "steps": []}, "steps", "at least 1"),
    "a step that is no edge": (
        {**RECORD, "steps": ["Tom is a gerpus.", *RECORD["steps"][1:]]}, "steps.0", "not an edge"),
    "a step in other words": ({**RECORD, "steps": ["Tom!", *RECORD["steps"][1:]]}, "steps.0", "not an edge"),
    "a step left out": ({**RECORD, "steps": [RECORD["steps"][0], RECORD["steps"][2]]}, "steps.1", "not an edge"),
    "steps that stop early": ({**RECORD, "steps": RECORD["steps"][:2]}, "steps", "do not end at the target"),
    "another answer": ({**RECORD, "answer": "Tom is a timpus."}, "answer", "not root and target"),
    "targets exchanged": (
        {**RECORD, "target": 5, "neg_target": 4, "answer": "Tom is a timpus."}, "target", "cannot be reached"),
    "another question": ({**RECORD, "question": RECORD["question"].replace("Is Tom", "Is Alex")}, "question", "else"),
    "both reachable": (
        {**RECORD, "neg_target": 7, "question": RECORD["question"].replace("timpus or", "gerpus or")},
        "choices", "one of the two choices"),
    "a list": ([1], "", "not a JSON object"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_record_is_named_with_its_field(tmp_path, kind):
    record, field, message = BAD[kind]
    path = write(tmp_path, RECORD, record)
    with pytest.raises(SchemaError) as caught:
        read_prosqa(path)
    assert caught.value.path == str(path)
    assert caught.value.field == ("record 1" + (f": {field}" if field else ""))
    assert message in caught.value.message


def test_longer_steps_than_needed_are_refused(tmp_path):
    detour = {
        **RECORD,
        "question": RECORD["question"].replace("Alex is", "Tom is a wumpus. Alex is"),
        "edges": [*RECORD["edges"], [1, 3]],
    }
    with pytest.raises(SchemaError, match="fewest hops"):
        read_prosqa(write(tmp_path, detour))


def test_files_that_hold_no_records(tmp_path):
    path = tmp_path / "other.json"
    for text, message in {"{}": "not a list of records", "[": "not valid JSON", '"x"': "not a list"}.items():
        path.write_text(text)
        with pytest.raises(SchemaError, match=message):
            read_prosqa(path)
    with pytest.raises(SchemaError, match="no such file"):
        read_prosqa(tmp_path / "absent.json")
    with pytest.raises(InsufficientData, match="no record"):
        read_prosqa(write(tmp_path))
    path.write_bytes(b"\x80\x04\x95\x10")  # the first bytes of a pickle
    with pytest.raises(SchemaError, match="UTF-8"):
        read_prosqa(path)
