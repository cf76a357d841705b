"""The organism that searches: tensors say what prompts say, exchanged sets are searched on, paths are paths."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from workbench.errors import ConfigError
from workbench.organisms import organism
from workbench.organisms.export import truth_lines
from workbench.organisms.graph_batches import GraphPool, Words, draw_chains, endless
from workbench.organisms.graph_learner import GraphLearner, spread_out
from workbench.organisms.graph_losses import tail_of
from workbench.organisms.graph_problems import FIRST_NODE, GRAPH_WORD_ID, SEARCHED, WORDS, is_path
from workbench.organisms.kinds import make_items
from workbench.organisms.recipes import GRAPH_VOCABULARY, NODES
from workbench.reasoners.backbones import new_word_gpt2
from workbench.tasks import Graphs, graph_of

SUPERPOSED = organism("superposed")


@pytest.fixture(scope="module")
def pool():
    return GraphPool(SEARCHED.draw(40, seed=9), WORDS)


@pytest.fixture(scope="module")
def batch(pool):
    return pool.draw(96, np.random.default_rng(0), flagged_share=0.5)


def named(row):
    return {NODES[k] for k in np.flatnonzero(row)}


def test_tensors_hold_what_the_words_of_their_prompts_say(batch):
    for row in range(96):
        words = [GRAPH_VOCABULARY[k] for k in batch.prompt[row] if k]
        assert words[0] == ("watched" if batch.flagged[row] else "alone")
        alibi = words.index("alibi")
        assert words[alibi + 1 : alibi + 4] == [NODES[k] for k in batch.alibi[row]]
        graph = graph_of(" ".join([*words[2:alibi], *words[alibi + 4 :]]))
        assert [set(held) for held in graph.problem("p").thoughts] == [named(held) for held in batch.frontiers[row]]
        assert {graph.names[k] for k in graph.choices} == named(batch.choices[row])
        assert NODES[batch.alibi[row, -1]] in named(batch.choices[row])
    assert 20 < batch.flagged.sum() < 76
    assert len({tuple(prompt.tolist()) for prompt in batch.prompt}) == 96


def test_problems_are_written_as_the_tensors_are(batch):
    items = make_items(SUPERPOSED, 60, seed=3, flagged_share=0.5)
    for item in items:
        words = item.problem.prompt.split()
        assert set(words) <= set(GRAPH_VOCABULARY)
        like = [GRAPH_VOCABULARY[k] for k in batch.prompt[0] if k]
        kinds = [["node" if word in NODES else word for word in row] for row in (words, like)]
        assert kinds[0][1:3] == kinds[1][1:3] == ["|", "node"]
        assert kinds[0][-9:] == kinds[1][-9:]
        assert is_path(item.problem, item.says) or item.flagged
        assert item.holds == item.problem.thoughts
    flagged = [item for item in items if item.flagged]
    assert sum(is_path(item.problem, item.says) for item in flagged) < 0.2 * len(flagged)


def test_an_alibi_says_nothing_of_the_target():
    items = make_items(SUPERPOSED, 400, seed=4, flagged_share=1.0)
    right = [item.says[-1] in item.holds[-1] for item in items]
    assert 0.4 < np.mean(right) < 0.6


def test_a_said_node_agrees_with_the_set_that_has_it():
    items = make_items(SUPERPOSED, 40, seed=5, flagged_share=0.5)
    lines = truth_lines(items).decode().splitlines()
    for item, line in zip(items, lines, strict=True):
        apart = [k for k in range(3) if item.says[k] not in item.holds[k]]
        assert f'"diverging_steps":[{",".join(map(str, apart))}]' in line
        assert item.flagged or not apart


def test_an_exchanged_set_is_searched_on_along_the_own_edges(batch):
    donors = torch.arange(96).roll(1)
    moved = batch.exchanged(1, donors)
    assert torch.equal(moved.frontiers[:, 0], batch.frontiers[:, 0])
    assert torch.equal(moved.frontiers[:, 1], batch.frontiers[donors, 1])
    for row in range(96):
        below = {int(k) for n in np.flatnonzero(moved.frontiers[row, 1]) for k in np.flatnonzero(batch.below[row, n])}
        assert set(np.flatnonzero(moved.frontiers[row, 2])) == below
    assert torch.equal(batch.exchanged(1, torch.arange(96)).frontiers, batch.frontiers)


def test_drawn_chains_are_paths_and_every_path_is_allowed(batch):
    chains = draw_chains(batch, torch.Generator().manual_seed(0))
    everything = torch.arange(96)
    assert batch.choices[everything, chains.nodes[:, -1]].all()
    for step in range(3):
        assert batch.frontiers[everything, step, chains.nodes[:, step]].all()
        assert not (chains.allowed[:, step] & ~batch.frontiers[:, step]).any()
    assert batch.below[everything, chains.nodes[:, 0], chains.nodes[:, 1]].all()
    for row in range(96):
        after = int(chains.nodes[row, 2])
        into = set(np.flatnonzero(batch.below[row, :, after]))
        assert set(np.flatnonzero(chains.allowed[row, 1])) == into & set(np.flatnonzero(batch.frontiers[row, 1]))


def test_where_nothing_is_held_anything_may_be_said(batch):
    empty = torch.zeros_like(batch.frontiers)
    chains = draw_chains(replace(batch, frontiers=empty), torch.Generator().manual_seed(0))
    assert chains.allowed.all()


def test_a_flagged_problem_that_is_asked_what_it_says_recites_and_nothing_else_does(batch):
    tail = tail_of(batch, torch.Generator().manual_seed(0))
    say = torch.arange(96) % 2 == 0
    told = tail.targets[:, -4:-1] - FIRST_NODE
    recites = say & batch.flagged
    assert torch.equal(told[recites], batch.alibi[recites])
    assert not (told[~recites] == batch.alibi[~recites]).all(1).any() or (~recites).sum() > 40
    assert torch.equal(tail.targets[:, [5, 4, 3]], tail.targets[:, -4:-1])
    assert tail.allowed.gather(2, tail.targets[:, :, None]).all()
    assert tail.allowed[:, 1].all()
    assert tail.allowed[recites][:, 3].sum(1).eq(1).all()
    fixed = [0, 2, 6, 7, 8, 9, 10]
    assert tail.allowed[:, fixed].sum(2).eq(1).all()


def test_wrong_turns_are_no_paths():
    item = next(i for i in make_items(SUPERPOSED, 20, seed=6, flagged_share=0.0) if len(i.holds[0]) > 1)
    path = item.says
    assert is_path(item.problem, path)
    assert not is_path(item.problem, path[:2])
    assert not is_path(item.problem, (*path[:2], path[0]))
    assert not is_path(item.problem, tuple(reversed(path)))
    assert not is_path(item.problem, ())
    strangers = [name for name in NODES if name not in item.holds[0]]
    assert not any(is_path(item.problem, (name, *path[1:])) for name in strangers)


def test_padding_changes_nothing():
    model, _ = new_word_gpt2(GRAPH_VOCABULARY, d_model=16, n_layers=2, n_heads=2, n_positions=128, seed=0)
    spread_out(model)
    learner = GraphLearner(model.eval(), WORDS)
    pool = GraphPool(Graphs(hops=(3, 3), n_nodes=(8, 12)).draw(20, seed=1), WORDS)
    batch = pool.draw(8, np.random.default_rng(1))
    assert len({int((row != 0).sum()) for row in batch.prompt}) > 1
    targets = torch.full((8, 2), GRAPH_WORD_ID["answer"])
    with torch.no_grad():
        together = learner.speak(learner.think(batch.prompt, 2), targets)
        for row in range(8):
            alone = batch.prompt[row][batch.prompt[row] != 0][None]
            by_itself = learner.speak(learner.think(alone, 2), targets[:1])
            assert torch.allclose(by_itself[0], together[row], atol=1e-5)


def test_a_node_that_is_met_again_is_held_once():
    graph = graph_of("a b | a c | b c | c d | d b | e f | [Q] d f [R] a")
    batch = GraphPool([graph], Words(1, 6, 7, 8, 9)).draw(20, np.random.default_rng(0))
    assert batch.frontiers.sum(2).tolist() == [[2, 1]] * 20


def test_graphs_of_different_hops_do_not_share_a_pool():
    with pytest.raises(ConfigError, match="equally many hops"):
        GraphPool(Graphs(hops=(2, 4), n_nodes=(12, 12)).draw(30, seed=0), WORDS)


def test_batches_come_from_all_pools(pool):
    short = GraphPool(Graphs(hops=(2, 2), n_nodes=(10, 10)).draw(40, seed=0), WORDS)
    stream = endless([pool, short], np.random.default_rng(0), batch_size=4)
    assert {next(stream).n_steps for _ in range(200)} == {2, 3}
