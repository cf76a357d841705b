"""Graph problems hold what the prompt says, are as ProsQA's, and a balanced one tells nothing without its root."""

from collections import Counter

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import shortest_path

from workbench.errors import ConfigError, InsufficientData, SchemaError
from workbench.tasks import PROSQA_LIKE, Graph, Graphs, graph_of, problem_lines, read_problems
from workbench.tasks.graphs import NAMES
from workbench.tasks.root_blind import COUNTS, choice_features, root_blind_accuracy

SMALL = Graphs(hops=(2, 3), n_nodes=(10, 12))
#         a -> b -> d -> f <- g,  a -> c -> d,  h -> i -> j
DIAMOND = Graph(
    tuple("abcdfghij"), ((0, 1), (0, 2), (1, 3), (2, 3), (3, 4), (5, 4), (6, 7), (7, 8)), root=0, choices=(8, 4)
)


def hops_from_root(prompt):
    """Hops of every name, by SciPy, from the words of the prompt alone."""
    body, asked = prompt.split(" [Q] ")
    first, second, _, root = asked.split()
    pairs = [piece.split() for piece in body.split(" |") if piece]
    names = sorted({name for pair in pairs for name in pair} | {first, second, root})
    rows, columns = zip(*((names.index(a), names.index(b)) for a, b in pairs), strict=True)
    matrix = coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(names), len(names)))
    found = shortest_path(matrix, unweighted=True, indices=names.index(root))
    return dict(zip(names, found, strict=True)), (first, second)


@pytest.mark.parametrize("task", [Graphs(), PROSQA_LIKE, SMALL], ids=["balanced", "prosqa", "small"])
def test_thoughts_are_the_nodes_first_reached_and_the_answer_is_the_reachable_choice(task):
    for problem in task.make(60, seed=3):
        hops, choices = hops_from_root(problem.prompt)
        assert [np.isfinite(hops[choice]) for choice in choices].count(True) == 1
        assert problem.answer == min(choices, key=hops.get)
        assert problem.steps == len(problem.thoughts) == hops[problem.answer]
        assert task.hops[0] <= problem.steps <= task.hops[1]
        for hop, held in enumerate(problem.thoughts, start=1):
            assert set(held) == {name for name, number in hops.items() if number == hop}
        assert graph_of(problem.prompt).problem(problem.id) == problem


def test_a_node_that_two_paths_reach_is_held_once_and_early():
    problem = DIAMOND.problem("p")
    assert problem.thoughts == (("b", "c"), ("d",), ("f",))
    assert problem.answer == "f"
    assert problem.prompt == "a b | a c | b d | c d | d f | g f | h i | i j | [Q] j f [R] a"
    detour = Graph(tuple("abcdz"), ((0, 1), (1, 2), (0, 2), (2, 3)), root=0, choices=(3, 4))
    assert detour.problem("p").thoughts == (("b", "c"), ("d",))


def test_seeds_reproduce_and_sets_survive_a_file(tmp_path):
    problems = SMALL.make(40, seed=1, prefix="x")
    assert problems == SMALL.make(40, seed=1, prefix="x")
    assert problems[:10] == SMALL.make(10, seed=1, prefix="x")
    assert [p.prompt for p in problems] != [p.prompt for p in SMALL.make(40, seed=2)]
    assert len({problem.prompt for problem in problems}) == 40
    path = tmp_path / "problems.jsonl"
    path.write_bytes(problem_lines(problems))
    assert read_problems(path) == problems


def test_a_shuffled_graph_is_the_same_graph():
    generator = np.random.default_rng(0)
    draws = [DIAMOND.shuffled(generator, NAMES[:9]) for _ in range(50)]
    assert len({draw.prompt() for draw in draws}) == 50
    assert {draw.choices for draw in draws} == {(8, 4), (4, 8)}
    for draw in draws:
        renamed = dict(zip(DIAMOND.names, draw.names, strict=True))
        wanted = [{renamed[name] for name in held} for held in DIAMOND.problem("p").thoughts]
        assert [set(held) for held in draw.problem("p").thoughts] == wanted
    with pytest.raises(ConfigError, match="too few names"):
        DIAMOND.shuffled(generator, NAMES[:8])


def test_in_layered_graphs_every_way_to_a_node_is_equally_long():
    n_twice = 0
    for graph in Graphs(n_nodes=(16, 20), layered=True).draw(60, seed=8):
        above = {node: {parent for parent, child in graph.edges if child == node} for node in range(len(graph.names))}
        sources = [node for node, parents in above.items() if not parents]
        depth = {node: min(graph.depths(source).get(node, 99) for source in sources) for node in above}
        assert all(depth[child] == depth[parent] + 1 for parent, child in graph.edges)
        n_twice += sum(len(parents) > 1 for parents in above.values())
    assert n_twice > 60


def test_names_places_and_order_of_the_prompt_give_nothing_away():
    graphs = Graphs().draw(600, seed=4)
    assert 240 < sum(graph.choices[0] == graph.target for graph in graphs) < 360
    targets = Counter(graph.names[graph.target] for graph in graphs)
    assert len(targets) == len(NAMES)
    assert max(targets.values()) < 40  # 15 expected
    place = [graph.prompt().split().index(graph.names[graph.target]) for graph in graphs]
    other = [graph.prompt().split().index(graph.names[graph.other]) for graph in graphs]
    assert 0.4 < np.mean(np.array(place) < np.array(other)) < 0.6


def test_the_prosqa_setting_is_as_the_published_problems():
    """Published validation problems: 22.8 nodes, 36.3 edges, 3 hops in 41 %, 4 in 44 %, 3.2 nodes a frontier."""
    graphs = PROSQA_LIKE.draw(400, seed=5)
    assert 22.3 < np.mean([len(graph.names) for graph in graphs]) < 23.5
    assert 35 < np.mean([len(graph.edges) for graph in graphs]) < 38
    hops = Counter(len(graph.frontiers()) for graph in graphs)
    assert 0.33 < hops[3] / 400 < 0.52
    assert 0.33 < hops[4] / 400 < 0.5
    assert 2.8 < np.mean([len(nodes) for graph in graphs for nodes in graph.frontiers()]) < 3.6


def test_without_the_root_prosqa_is_solved_and_balanced_graphs_are_not():
    easy, hard = PROSQA_LIKE.draw(300, seed=6), Graphs().draw(300, seed=6)
    shortcut, counts = root_blind_accuracy(easy), root_blind_accuracy(easy, features=COUNTS)
    assert shortcut.interval.low > 0.85
    assert 0.75 < counts.accuracy < shortcut.accuracy
    assert shortcut.n == 300
    assert shortcut.chance == 0.5
    blind = root_blind_accuracy(hard)
    assert blind.interval.low < 0.5 < blind.interval.high


def test_a_classifier_without_the_root_sees_no_root():
    swapped = Graph(DIAMOND.names, DIAMOND.edges, root=6, choices=DIAMOND.choices)
    assert swapped.target != DIAMOND.target
    assert np.array_equal(choice_features(swapped), choice_features(DIAMOND))
    # j: one parent, 2 ancestors, 2 hops; f: two parents, 5 ancestors, 1 hop from g, 3 from a
    assert choice_features(DIAMOND).tolist() == [[1, 2, 0, 2, 2], [2, 5, 0, 1, 3]]


def test_copies_of_a_problem_do_not_narrow_the_interval():
    graphs = PROSQA_LIKE.draw(60, seed=7)
    alone = root_blind_accuracy(graphs, features=COUNTS)
    copied = root_blind_accuracy(
        graphs * 5, groups=[str(k) for k in range(60)] * 5, features=COUNTS
    )  # fmt: skip
    assert copied.interval.high - copied.interval.low > 0.8 * (alone.interval.high - alone.interval.low)
    with pytest.raises(InsufficientData, match="n=6"):
        root_blind_accuracy(graphs, groups=[str(k % 6) for k in range(60)])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hops": (0, 3)}, "hops are from 1 up"),
        ({"hops": (4, 3)}, "fewest first"),
        ({"n_nodes": (7, 20)}, "number of nodes"),
        ({"n_nodes": (20, 41)}, "number of nodes"),
        ({"n_nodes": (24, 20)}, "number of nodes"),
        ({"mean_parents": 0.0}, "mean"),
        ({"mean_parents": float("nan")}, "mean"),
        ({"orphans": 0.6}, "share"),
    ],
)
def test_settings_that_make_no_graph_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Graphs(**settings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": tuple("aacdfghij")}, "same name"),
        ({"root": 9}, "no such node"),
        ({"choices": (4, 3)}, "one of the two choices"),
        ({"choices": (8, 7)}, "one of the two choices"),
        ({"choices": (0, 8)}, "one of the two choices"),
    ],
)
def test_graphs_that_ask_nothing_are_refused(change, message):
    plain = {"names": DIAMOND.names, "edges": DIAMOND.edges, "root": 0, "choices": DIAMOND.choices}
    with pytest.raises(SchemaError, match=message):
        Graph(**{**plain, **change})


@pytest.mark.parametrize(
    "prompt",
    ["", "start atrium ; east 2", "a b | [Q] b c", "a b c | [Q] b c [R] a", "[Q] b c [R] a", "a b | [Q] b [R] a"],
)  # fmt: skip
def test_other_prompts_are_no_graphs(prompt):
    with pytest.raises(SchemaError, match="not the prompt of a graph"):
        graph_of(prompt)
