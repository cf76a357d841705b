"""Plans, labels and the grid: what is asked for is there, what cannot be is refused with file and key."""

import json

import numpy as np
import pytest
from fit_runs import planted_problems, planted_run

from workbench.errors import ConfigError, InsufficientData, LeakageError, SchemaError, UnknownSiteError
from workbench.fitting.grid import lay_out
from workbench.fitting.labels import LabelTable, last_words, read_labels_file
from workbench.fitting.plan import FitPlan, read_fit_plan
from workbench.fitting.rows import Budget, Place, gather, sampled
from workbench.store import RunStore


def values(column, problems):
    return [None if code < 0 else column.classes[code] for code in column.codes[: len(problems)]]


@pytest.mark.parametrize(
    ("text", "field", "match"),
    [
        ("sitess = ['*']", "sitess", "known keys are sites, layers"),
        ("lambdas = [0.0]", "lambdas.0", "greater than 0"),
        ("labels = ['thoughts']", "labels", "'thoughts' is no label; there are thought, "),
        ("labels = ['answer', 'answer']", "labels", "stands twice"),
        ("probes = ['svm']", "probes.0", "'logistic'"),
        ("held_out = 1.0", "held_out", "less than 1"),
        ("[controls]\nshuffles = 5", "controls.shuffles", "greater than or equal to 19"),
        ("steps = [-1]", "steps", "greater than or equal to 0"),
        ("sites = [", None, "not valid TOML"),
        ("memory = 1", "memory", "greater than or equal to 16"),
    ],
)
def test_a_bad_plan_names_file_and_key(tmp_path, text, field, match):
    path = tmp_path / "plan.toml"
    path.write_text(text)
    with pytest.raises(SchemaError, match=match) as caught:
        read_fit_plan(path)
    assert str(path) in str(caught.value)
    assert field is None or field in caught.value.field


def test_labels_are_what_they_say():
    problems = planted_problems(5, 3)
    problems[1]["thoughts"] = ["ash", None, ["elm", "oak"]]
    table = LabelTable(problems)
    assert values(table.column("thought", 1), problems) == [p["thoughts"][1] for p in problems]
    assert values(table.column("thought[2]", 0), problems)[1] is None, "a set of values is no single label"
    assert table.column("thought+1", 1).name == table.column("thought", 2).name == "thought[2]"
    assert table.column("thought-1", 0) is None
    assert table.column("thought+1", 2) is None
    assert values(table.column("answer", 0), problems) == [p["answer"] for p in problems]
    assert values(table.column("word[-1]", 2), problems) == [p["prompt"].split()[-1] for p in problems]
    words = last_words(problems)
    assert [words[a] == words[b] for a in range(5) for b in range(5)] == [
        problems[a]["prompt"].split()[-1] == problems[b]["prompt"].split()[-1] for a in range(5) for b in range(5)
    ]


def test_a_labels_file_gives_labels_by_problem_and_by_step(tmp_path):
    path = tmp_path / "labels.jsonl"
    lines = [{"id": "p00000", "labels": {"topic": "sea", "mood": ["up", None]}}, {"id": "p00001", "labels": {}}]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    problems = planted_problems(2, 2)
    table = LabelTable(problems, read_labels_file(path))
    assert values(table.column("file:topic", 1), problems) == ["sea", None]
    assert values(table.column("file:mood", 0), problems) == ["up", None]
    assert table.column("file:mood", 1) is None
    assert table.column("file:mood", 0).name == "file:mood[0]"
    with pytest.raises(SchemaError, match="no such label"):
        table.column("file:weather", 0)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "holds no line"),
        ("{", "line 1"),
        ('{"id": "a"}', "exactly the keys"),
        ('{"id": "a", "labels": {}}\n{"id": "a", "labels": {}}', "line 2: id must be a text that stands once"),
        ('{"id": "a", "labels": {"x": 3}}', "must be a text or a list"),
        ('{"id": "a", "labels": {"x": [3]}}\n{"id": 1, "labels": {}}', "line 1: .*line 2: "),
    ],
)
def test_every_bad_line_of_a_labels_file_is_named(tmp_path, text, match):
    path = tmp_path / "labels.jsonl"
    path.write_text(text)
    with pytest.raises(SchemaError, match=match):
        read_labels_file(path)


def test_the_grid_has_a_cell_for_each_site_step_and_label_and_asks_for_controls(tmp_path):
    store = RunStore(planted_run(tmp_path / "run"))
    grid = lay_out(store, FitPlan(labels=["thought", "answer"]), base=tmp_path, twin=True)
    assert len(grid.cells) == 2 * 3 * 2
    units = {(unit.source, unit.place.site, unit.place.step): unit for unit in grid.units}
    assert set(units["run", "thought", 0].controls) == {"thought[1]", "thought[2]"}
    assert units["run", "thought", 1].controls == ("thought[2]",)
    assert units["run", "thought", 2].controls == ()
    assert set(units["twin", "thought", 1].controls) == {"thought[1]", "answer"}
    assert set(units["words", "", 0].controls) == {"thought[0]", "thought[1]", "thought[2]", "answer"}


def test_steps_that_are_only_needed_as_controls_are_read_and_have_no_cells(tmp_path):
    store = RunStore(planted_run(tmp_path / "run"))
    grid = lay_out(store, FitPlan(sites=["thought"], steps=[2]), base=tmp_path, twin=False)
    assert [(unit.place.step, len(unit.cells)) for unit in grid.units if unit.source == "run"] == [
        (0, 0), (1, 0), (2, 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("plan", "error", "match"),
    [
        ({"sites": ["blocks.7.*"]}, UnknownSiteError, "no site"),
        ({"steps": [9]}, ConfigError, "no step 9"),
        ({"sites": ["blocks.*"], "layers": [3]}, ConfigError, "no layer 3"),
    ],
)
def test_a_plan_that_asks_for_nothing_is_refused(tmp_path, plan, error, match):
    store = RunStore(planted_run(tmp_path / "run"))
    with pytest.raises(error, match=match):
        lay_out(store, FitPlan(**plan), base=tmp_path, twin=False)


def test_equal_prompts_on_both_sides_are_refused_and_can_be_merged(tmp_path):
    problems = planted_problems(160, 3)
    for k in range(0, 40, 2):
        problems[k]["prompt"] = problems[k + 1]["prompt"]
    store = RunStore(planted_run(tmp_path / "run", problems=problems))
    with pytest.raises(LeakageError, match="equal prompts of different groups") as caught:
        lay_out(store, FitPlan(), base=tmp_path, twin=False)
    assert "merge" in caught.value.hint
    grid = lay_out(store, FitPlan(duplicates="merge"), base=tmp_path, twin=False)
    assert all(grid.held_out[k] == grid.held_out[k + 1] for k in range(0, 40, 2))


def test_near_duplicates_across_the_split_are_counted(tmp_path):
    problems = planted_problems(160, 3)
    for problem in problems[:40]:
        problem["prompt"] = " ".join(f"word{k}" for k in range(80)) + problem["id"]
    store = RunStore(planted_run(tmp_path / "run", problems=problems))
    grid = lay_out(store, FitPlan(), base=tmp_path, twin=False)
    held = int(grid.held_out[:40].sum())
    assert grid.near.n_rows == held
    assert grid.near.n_pairs == held * (40 - held)


def test_too_few_known_values_are_refused(tmp_path):
    problems = planted_problems(40, 2)
    for problem in problems[10:]:
        problem["thoughts"] = [None, None]
    store = RunStore(planted_run(tmp_path / "run", problems=problems, n_steps=2))
    with pytest.raises(InsufficientData, match="too few problems"):
        lay_out(store, FitPlan(), base=tmp_path, twin=False)


def test_gathering_gives_what_the_store_holds_and_leaves_out_what_is_not_finite(tmp_path):
    store = RunStore(planted_run(tmp_path / "run", n=70))
    wanted = np.arange(70) % 3 != 0
    places = [Place("thought", 1), Place("blocks.0.hook_resid_post", 2)]
    seen = []
    found = gather(store, places, wanted, see=lambda place, rows: seen.append((place, len(rows))))
    for place in places:
        expected = store.select(place.site, step=place.step, examples=np.flatnonzero(wanted))
        np.testing.assert_array_equal(found[place].vectors, expected.vectors)
        np.testing.assert_array_equal(found[place].problems, expected.example)
        assert sum(n for where, n in seen if where == place) == 70


def test_a_sample_keeps_whole_groups_and_fits_the_budget():
    groups = [f"g{k // 3}" for k in range(300)]
    kept = sampled(groups, 100, seed=0)
    assert 97 <= kept.sum() <= 100
    assert all(len({bool(kept[k]) for k in range(g, g + 3)}) == 1 for g in range(0, 300, 3))
    assert sampled(groups, 300, seed=0).all()
    small, large = Budget.of(64, 256, 10**6, 128), Budget.of(2048, 256, 10**6, 128)
    assert large.n_rows > 20 * small.n_rows
    assert Budget.of(2048, 256, 1000, 128).n_places > 500


def test_a_sample_is_taken_of_problems_with_values_and_no_group_takes_all_of_it():
    groups = [f"g{k}" for k in range(400)] + ["large"] * 300
    known = np.arange(700) % 4 == 0
    kept = sampled(groups, 60, seed=0, among=known)
    assert kept.sum() == 60
    assert not (kept & ~known).any()
    assert not kept[400:].any(), "75 known problems of one group, of which none can lie on the other side"
