"""Twins see the same problems, differ in what is written, and are right only where the target is named."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from workbench.organisms.graph_batches import GraphPool, Words
from workbench.organisms.graph_learner import GraphLearner, known_below
from workbench.organisms.graph_twins import (
    MOST_WORDS,
    TWIN_ID,
    TWIN_WORDS,
    WAYS,
    TwinPlan,
    pools_of,
    solves,
    steps_of,
    train_twin,
    twin_stream,
)
from workbench.tasks import Graphs, graph_of

SMALL = Graphs(hops=(2, 3), n_nodes=(10, 12))
TINY = TwinPlan(updates=3, batch_size=4, d_model=16, n_heads=2, n_graphs=20)
TREE = GraphPool([graph_of("a b | b c | x y | [Q] c y [R] a")], TWIN_WORDS)


@pytest.mark.parametrize("way", WAYS)
def test_the_same_plan_gives_the_same_twin_and_training_changes_it(way):
    weights = [train_twin(way, SMALL, TINY)[0].model.state_dict() for _ in range(2)]
    still = train_twin(way, SMALL, TwinPlan(**{**plain(TINY), "learning_rate": 1e-12}))[0].model.state_dict()
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in still)
    assert not all(torch.equal(weights[0][key], still[key]) for key in still)


def plain(plan):
    return {name: getattr(plan, name) for name in plan.__slots__}


def test_all_twins_are_given_the_same_problems():
    first, second = twin_stream(SMALL, TINY), twin_stream(SMALL, TINY)
    for _ in range(30):
        assert torch.equal(next(first).prompt, next(second).prompt)


def test_a_coconut_ends_with_thoughts_alone_and_its_twins_never_think():
    assert [steps_of("coconut", 3, progress) for progress in (0.0, 0.17, 0.34, 0.5, 0.99)] == [
        (0, 3), (1, 2), (2, 1), (3, 0), (3, 0),
    ]  # fmt: skip
    assert {steps_of("coconut", 3, 0.99, (0.4, draw))[0] for draw in (0.0, 0.3, 0.6, 0.99)} == {0, 1, 2, 3}
    assert {steps_of("coconut", 3, 0.0, (0.4, draw))[0] for draw in (0.0, 0.99)} == {0}
    assert {steps_of("chain of thought", 4, progress) for progress in (0.0, 0.5, 0.99)} == {(0, 4)}
    assert {steps_of("neither", 4, progress) for progress in (0.0, 0.5, 0.99)} == {(0, 0)}


def test_graphs_are_pooled_by_hops_and_each_is_asked_once():
    graphs = SMALL.draw(50, seed=0)
    pools = pools_of(graphs)
    assert [pool.n_steps for pool in pools] == [2, 3]
    batches = [pool.each(np.random.default_rng(0)) for pool in pools]
    assert sum(len(batch.prompt) for batch in batches) == 50
    sizes = sorted(len(graph.edges) for graph in graphs)
    assert sorted(int(batch.below[row].sum()) for batch in batches for row in range(len(batch.prompt))) == sizes


def test_what_an_edge_leads_to_is_known_from_the_edges_before_it():
    words = Words(first_name=1, n_names=5, edge_end=6, question=7, root=8)
    # 2 3 | 1 2 | 4 1 | 2 5 | 3 2 |, after two words of padding
    prompt = torch.tensor([[0, 0, 2, 3, 6, 1, 2, 6, 4, 1, 6, 2, 5, 6, 3, 2, 6, 7, 3, 5, 8, 1]])
    asked, below = known_below(prompt, words)
    assert asked.nonzero()[:, 1].tolist() == [3, 6, 9, 12, 15, 18, 19, 21]
    told = [(row.nonzero()[:, 0] + 1).tolist() for row in below[0, asked[0]]]
    assert told == [[], [3], [2], [], [3, 5], [2], [], [2]]


class Scripted(GraphLearner):
    """Says a script, whatever it is asked; counts its thoughts."""

    def __init__(self, script):
        self.script, self.thoughts = [TWIN_ID[word] if isinstance(word, str) else word for word in script], None
        self.model = SimpleNamespace(lm_head=lambda token: torch.nn.functional.one_hot(token, len(TWIN_ID)).float())

    def think(self, prompt, n_thoughts):
        self.thoughts = n_thoughts
        told = prompt.shape[1] - WIDTH
        return SimpleNamespace(last=torch.full((len(prompt),), self.script[min(told, len(self.script) - 1)]))

    def speak(self, state, targets):
        return self.model.lm_head(torch.tensor([[self.script[-1]] * 2] * len(targets)))


BATCH = TREE.draw(1, np.random.default_rng(0))
WIDTH = BATCH.prompt.shape[1]
TARGET, OTHER = (
    int((BATCH.choices & held).long().argmax()) + 1 for held in (BATCH.frontiers[:, -1], ~BATCH.frontiers[:, -1])
)


@pytest.mark.parametrize("way", WAYS)
def test_only_the_target_is_right(way):
    for named, right in ((TARGET, True), (OTHER, False), (TWIN_ID["answer"], False)):
        assert solves(Scripted([OTHER, "answer", named]), way, BATCH).tolist() == [right]


def test_a_coconut_thinks_once_a_hop():
    learner = Scripted([TARGET])
    solves(learner, "coconut", BATCH)
    assert learner.thoughts == 2
    solves(learner, "neither", BATCH)
    assert learner.thoughts == 0


def test_a_chain_of_thought_without_an_answer_is_wrong():
    assert not solves(Scripted([TARGET]), "chain of thought", BATCH).any()
    late = [OTHER] * (MOST_WORDS - 1) + ["answer", TARGET]
    assert not solves(Scripted(late), "chain of thought", BATCH).any()
    assert solves(Scripted([OTHER] * (MOST_WORDS - 2) + ["answer", TARGET]), "chain of thought", BATCH).all()
    assert not solves(Scripted(["answer", OTHER, "answer", TARGET]), "chain of thought", BATCH).any()
