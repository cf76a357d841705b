"""Tasks are right by an independent computation from the prompt, and files of problems are read whole or refused."""

import json
import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workbench.errors import ConfigError, InsufficientData, LimitExceeded, SchemaError
from workbench.jsonio import canonical_json
from workbench.tasks import Arithmetic, Problem, Rooms, problem_lines, read_problems
from workbench.tasks.rooms import follow

RING = [
    "atrium",
    "bakery",
    "cellar",
    "dairy",
    "foyer",
    "gallery",
    "kitchen",
    "library",
    "pantry",
    "study",
    "tower",
    "vault",
    "workshop",
]


def walk(prompt):
    """The rooms of a prompt, walked one door at a time and mirrored by reflecting a walk."""
    first, *moves = prompt.split(" ; ")
    room = first.removeprefix("start ")
    visited = []
    for move in moves:
        word, number = move.split()
        if word == "mirror":
            steps, there = 0, RING[0]
            while there != room:
                there = RING[(RING.index(there) + 1) % 13]
                steps += 1
            room = RING[int(number) % 13]
            for _ in range(steps):
                room = RING[RING.index(room) - 1]
        for _ in range(0 if word == "mirror" else int(number)):
            place = RING.index(room)
            room = RING[(place + 1) % 13] if word == "east" else RING[place - 1]
        visited.append(room)
    return tuple(visited)


@pytest.mark.parametrize("n_moves", [1, 2, 4, 9])
def test_rooms_hold_what_the_prompt_says(n_moves):
    problems = Rooms(n_moves).make(200, seed=3)
    for problem in problems:
        assert problem.thoughts == walk(problem.prompt)
        assert len(problem.thoughts) == n_moves
        assert problem.answer == problem.thoughts[-1]
        assert problem.group == problem.id
    assert {value for problem in problems for value in problem.thoughts} == set(Rooms.values) == set(RING)
    assert {move.split()[0] for p in problems for move in p.prompt.split(" ; ")[1:]} == {"east", "west", "mirror"}


def test_mirrors_do_not_commute_with_walks():
    assert follow(follow(3, "mirror", 1), "east", 2) != follow(follow(3, "east", 2), "mirror", 1)
    with pytest.raises(ValueError, match="no move 'up'; there are east, west, mirror"):
        follow(0, "up", 1)


@pytest.mark.parametrize(("n_operations", "modulus"), [(1, 2), (4, 11), (8, 97)])
def test_arithmetic_holds_what_the_prompt_says(n_operations, modulus):
    problems = Arithmetic(n_operations, modulus).make(200, seed=5)
    for problem in problems:
        first, *operations = problem.prompt.split(" ; ")
        result, chain = int(first.removeprefix("start ")), []
        for operation in operations:
            result = eval(f"({result} {operation}) % {modulus}", {})
            chain.append(str(result))
        assert problem.thoughts == tuple(chain)
        assert len(chain) == n_operations
        assert problem.answer == chain[-1]
    assert {value for problem in problems for value in problem.thoughts} <= set(Arithmetic(modulus=modulus).values)
    assert {o.split()[0] for p in problems for o in p.prompt.split(" ; ")[1:]} == {"+", "-", "*"}


@pytest.mark.parametrize("task", [Rooms(), Arithmetic()])
def test_seeds_reproduce_and_ids_are_unique(task):
    problems = task.make(50, seed=1, prefix="x")
    assert problems == task.make(50, seed=1, prefix="x")
    assert problems[:20] == task.make(20, seed=1, prefix="x")
    assert [p.prompt for p in problems] != [p.prompt for p in task.make(50, seed=2)]
    assert len({problem.id for problem in problems}) == 50
    assert all(problem.id.startswith("x-") for problem in problems)


@pytest.mark.parametrize("modulus", [-7, 0, 1, 4, 9, 91])
def test_a_modulus_that_is_no_prime_is_refused(modulus):
    with pytest.raises(ConfigError, match="must be a prime"):
        Arithmetic(modulus=modulus)


@pytest.mark.parametrize("make", [lambda: Rooms(0), lambda: Rooms(-1), lambda: Arithmetic(0), lambda: Arithmetic(-2)])
def test_a_task_without_a_step_is_refused(make):
    with pytest.raises(ConfigError, match="at least one"):
        make()


def test_a_problem_needs_an_id():
    with pytest.raises(SchemaError, match="needs an id"):
        Problem(id="", prompt="x")


# JSON lines


def write(tmp_path, *lines):
    path = tmp_path / "problems.jsonl"
    path.write_bytes(b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines))
    return path


def test_a_round_trip_keeps_every_field(tmp_path):
    problems = [
        Problem(id="plain", prompt="start"),
        Problem(
            id="full", prompt="a\nb", group="g", thoughts=("x", None, ("y", "z")), answer="", condition="c", steps=3,
            writes=("one", "two"), meta={"k": [1, 2.5, None, {"deep": "é"}]},
        ),
        Problem(id="separators", prompt="line\u2028paragraph\u2029next\x85unit\x1c\x0b\x0c\r end"),
        Problem(id="\ufeff\u200f<b>", prompt="", group="plain"),
        *Rooms().make(5, seed=0),
    ]  # fmt: skip
    path = tmp_path / "p.jsonl"
    path.write_bytes(problem_lines(problems))
    assert read_problems(path) == problems
    assert problem_lines(read_problems(path)) == path.read_bytes()


def test_other_line_ends_blank_lines_and_a_byte_order_mark_are_read(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"id": "a", "prompt": "x"}\r\n\r\n  \n{"id": "b", "prompt": "y"}')
    assert [(p.id, p.prompt, p.group) for p in read_problems(str(path))] == [("a", "x", "a"), ("b", "y", "b")]


GOOD = '{"id": "good", "prompt": "x"}'
BAD = {
    "not json": ("{id: 1}", "not valid JSON"),
    "half a line": ('{"id": "p", "prompt": ', "not valid JSON"),
    "two values": ('{"id": "p", "prompt": "x"} {}', "not valid JSON"),
    "a list": ("[1]", "not a JSON object but list"),
    "a number": ("7", "not a JSON object but int"),
    "nothing": ("null", "not a JSON object but NoneType"),
    "a key twice": ('{"id": "p", "id": "q", "prompt": "x"}', "duplicate key 'id'"),
    "no id": ('{"prompt": "x"}', "field id: missing"),
    "no prompt": ('{"id": "p"}', "field prompt: missing"),
    "an empty id": ('{"id": "", "prompt": "x"}', "field id:"),
    "an id that is a number": ('{"id": 7, "prompt": "x"}', "field id:"),
    "an id that is long": (f'{{"id": "{"x" * 1001}", "prompt": "x"}}', "field id:"),
    "a prompt that is null": ('{"id": "p", "prompt": null}', "field prompt:"),
    "a prompt that is huge": (f'{{"id": "p", "prompt": "{"x" * 1_000_001}"}}', "field prompt:"),
    "an empty group": ('{"id": "p", "prompt": "x", "group": ""}', "field group:"),
    "an unknown field": ('{"id": "p", "prompt": "x", "label": 1}', "field label: not a known field"),
    "thoughts that are text": ('{"id": "p", "prompt": "x", "thoughts": "a"}', "field thoughts:"),
    "no thought": ('{"id": "p", "prompt": "x", "thoughts": []}', "field thoughts:"),
    "a thought that is a number": ('{"id": "p", "prompt": "x", "thoughts": ["a", 1]}', "field thoughts.1"),
    "a set that holds a number": ('{"id": "p", "prompt": "x", "thoughts": [["a", 1]]}', "field thoughts.0"),
    "an answer that is a number": ('{"id": "p", "prompt": "x", "answer": 4}', "field answer:"),
    "a condition that is a list": ('{"id": "p", "prompt": "x", "condition": []}', "field condition:"),
    "no step": ('{"id": "p", "prompt": "x", "steps": 0}', "field steps:"),
    "steps as text": ('{"id": "p", "prompt": "x", "steps": "4"}', "field steps:"),
    "steps as a fraction": ('{"id": "p", "prompt": "x", "steps": 4.0}', "field steps:"),
    "absurd steps": ('{"id": "p", "prompt": "x", "steps": 10001}', "field steps:"),
    "writes as text": ('{"id": "p", "prompt": "x", "writes": "a"}', "field writes:"),
    "meta as a list": ('{"id": "p", "prompt": "x", "meta": []}', "field meta:"),
    "not a number": ('{"id": "p", "prompt": "x", "meta": {"a": NaN}}', "NaN is not JSON"),
    "infinity": ('{"id": "p", "prompt": "x", "meta": {"a": -Infinity}}', "Infinity is not JSON"),
    "infinity in disguise": ('{"id": "p", "prompt": "x", "meta": {"a": 1e999}}', "1e999"),
    "a number of 5000 digits": (f'{{"id": "p", "prompt": "x", "meta": {{"a": {"9" * 5000}}}}}', "not valid JSON"),
    "a number beyond doubles": ('{"id": "p", "prompt": "x", "meta": {"a": 9007199254740993}}', "field meta:"),
    "half a character": ('{"id": "p", "prompt": "\\ud800"}', "not valid JSON"),
    "half a character as key": ('{"id": "p", "prompt": "x", "meta": {"\\udfff": 1}}', "not valid JSON"),
    "absurd nesting": (f'{{"id": "p", "prompt": "x", "meta": {"[" * 100_000}', "nested too deeply"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_line_is_named_with_its_number_and_field(tmp_path, kind):
    line, message = BAD[kind]
    path = write(tmp_path, GOOD, "", line)
    with pytest.raises(SchemaError) as caught:
        read_problems(path)
    assert caught.value.path == str(path)
    assert caught.value.field == "line 3"
    assert "1 bad line, nothing was run:\n  line 3: " in caught.value.message
    assert message in caught.value.message


def test_all_bad_lines_are_told_at_once(tmp_path):
    lines = {number: line for number, (line, _) in enumerate(list(BAD.values())[:15], start=2)}
    path = write(tmp_path, GOOD, *lines.values(), '{"id": "good", "prompt": "again"}')
    with pytest.raises(SchemaError) as caught:
        read_problems(path)
    assert caught.value.field == "; ".join(f"line {number}" for number in [*lines, 17])
    assert "line 17: id: 'good' already stands on line 1" in caught.value.message
    assert "16 bad lines" in caught.value.message


def test_of_very_many_bad_lines_the_first_are_told_and_the_rest_counted(tmp_path):
    with pytest.raises(SchemaError) as caught:
        read_problems(write(tmp_path, *["{}"] * 1000))
    assert "1000 bad lines" in caught.value.message
    assert "(and 980 more)" in caught.value.message
    assert len(str(caught.value)) < 5000


def test_all_bad_fields_of_a_line_are_told(tmp_path):
    with pytest.raises(SchemaError) as caught:
        read_problems(write(tmp_path, '{"id": 1, "steps": -1, "foo": 2}'))
    for field in ("id", "prompt", "steps", "foo"):
        assert f"field {field}:" in caught.value.message


def test_files_without_a_problem(tmp_path):
    for content in (b"", b"\n\n", b"\xef\xbb\xbf", b" \r\n"):
        path = tmp_path / "p.jsonl"
        path.write_bytes(content)
        with pytest.raises(InsufficientData, match="no problem") as caught:
            read_problems(path)
        assert caught.value.path == str(path)


def test_files_that_cannot_be_read(tmp_path, monkeypatch):
    for path in (tmp_path / "absent.jsonl", tmp_path):
        with pytest.raises(SchemaError, match="no such file"):
            read_problems(path)
    with pytest.raises(SchemaError, match="not UTF-8") as caught:
        read_problems(write(tmp_path, GOOD, b'{"id": "\xff"}'))
    assert caught.value.field == f"byte {len(GOOD) + 9}"
    monkeypatch.setattr("workbench.jsonio.read_text.__kwdefaults__", {"limit": 10})
    with pytest.raises(LimitExceeded, match="too large"):
        read_problems(write(tmp_path, GOOD))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
fields = st.sampled_from(["id", "prompt", "group", "thoughts", "answer", "condition", "steps", "writes", "meta"])
objects = st.dictionaries(fields, json_values, max_size=6)
lines = (
    objects.map(lambda plain: json.dumps({"id": "i", "prompt": "p", **plain}).encode())
    | objects.map(lambda plain: json.dumps(plain, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    | json_values.map(lambda plain: json.dumps(plain).encode())
    | st.text(alphabet=string.printable, max_size=30).map(str.encode)
    | st.binary(max_size=20)
)


@settings(max_examples=600, deadline=None, derandomize=True)
@given(st.lists(lines, max_size=4))
@example([b'{"id": "a", "prompt": "x", "meta": {"a": 1e400}}'])
@example([b'{"id": "a", "prompt": "x", "meta": ' + b"[" * 5000])
def test_any_bytes_are_problems_or_one_of_three_errors(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzz.jsonl"
    path.write_bytes(b"\n".join(content))
    try:
        problems = read_problems(path)
    except (SchemaError, LimitExceeded, InsufficientData) as error:
        told = str(error)
        assert str(path) in told
        return
    written = problem_lines(problems)
    path.write_bytes(written)
    assert read_problems(path) == problems
    assert written == b"".join(canonical_json(problem.to_plain()) + b"\n" for problem in problems)
