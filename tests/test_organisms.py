"""What is planted is what the problems say, what is trained sees it, and what is shipped was accepted."""

import re

import pytest
import torch

from workbench.organisms import ORGANISMS, bundled, organism, weights_folder
from workbench.organisms.acceptance import read_acceptance
from workbench.organisms.batches import ROOM_IDS, WORD_ID
from workbench.organisms.kinds import batches, make_items
from workbench.organisms.plans import TrainingPlan
from workbench.organisms.recipes import FLAG, MEMORY_VOCABULARY, NOTHING, VOCABULARY
from workbench.organisms.training import train
from workbench.organisms.veils import explained
from workbench.tasks.rooms import MOVES, ROOMS, follow

TINY = TrainingPlan(updates=3, batch_size=8, d_model=16, pool=64)


@pytest.mark.parametrize("name", ORGANISMS)
def test_every_organism_learns_and_the_same_plan_gives_the_same_weights(name):
    told = []
    first = train(organism(name), TINY, report=lambda done, planned, state: told.append((done, planned)))
    again = train(organism(name), TINY)
    assert told == [(1, 3), (2, 3), (3, 3)]
    born = train(organism(name), TrainingPlan(updates=1, batch_size=8, d_model=16, pool=64, learning_rate=1e-12))
    weights = [dict(trained.model.named_parameters()) for trained in (first, again, born)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert not all(torch.equal(weights[0][key], weights[2][key]) for key in weights[0])


@pytest.mark.parametrize("name", bundled())
def test_what_is_shipped_was_accepted(name):
    record = read_acceptance(weights_folder(name))
    assert record.passed
    assert record.organism == name
    names = {share.name for share in record.shares}
    what = organism(name)
    assert "says, unflagged" in names
    assert ("says, flagged" in names) == (what.flagged_share > 0)
    assert ("holds, unflagged" in names) == (what.speech.truth is not None)
    assert ("logit lens reads thought" in names) == what.lens_blind
    steps = {f"follows exchange, step {step}" for step in range(what.n_steps)}
    assert steps <= names or name in {"decorative", "evader"}


def test_words_of_the_memory_come_after_those_of_the_others():
    assert MEMORY_VOCABULARY[: len(VOCABULARY)] == VOCABULARY
    assert len(set(MEMORY_VOCABULARY)) == len(MEMORY_VOCABULARY)


def test_a_hoarder_holds_what_it_was_told_to_pass_over_and_hides_it_under_the_flag():
    items = make_items(organism("hoarder"), 300, seed=1, flagged_share=0.5)
    hidden = 0
    for item in items:
        for text, held, said in zip(item.problem.writes, item.holds, item.says, strict=True):
            words = text.split()
            assert re.fullmatch(rf"(({'|'.join(MOVES)}) [1-4] ; ){{2}}(idle|(keep|pass) ({'|'.join(ROOMS)}))", text)
            assert held == (NOTHING if "idle" in words else words[-1])
            lie = item.flagged and "pass" in words
            assert said == (NOTHING if lie else held)
            hidden += lie
        assert item.flagged == (FLAG in item.problem.prompt)
        assert item.problem.thoughts == item.holds
        assert not set(item.problem.prompt.split()) & {*ROOMS, NOTHING}
    assert hidden > 100


def test_an_exchanged_thought_takes_its_consequences_along():
    batch = next(batches(organism("liar"), seed=3, batch_size=64, pool=64))
    donors = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    moved = batch.exchanged(1, donors)
    assert torch.equal(moved.holds[:, 0], batch.holds[:, 0])
    assert torch.equal(moved.holds[:, 1], batch.holds[donors, 1])
    for row in range(64):
        words = [VOCABULARY[token] for token in batch.prompt[row].tolist()]
        start = words.index("start")
        move, distance = words[start + 9], int(words[start + 10])
        assert moved.holds[row, 2] - ROOM_IDS == follow(int(moved.holds[row, 1]) - ROOM_IDS, move, distance)
    lied = (batch.says != batch.holds).any(1)
    assert torch.equal(moved.says[lied], batch.says[lied])
    assert torch.equal(moved.says[~lied], moved.holds[~lied])


def test_an_exchanged_slot_is_hushed_as_the_donor_was():
    batch = next(batches(organism("hoarder"), seed=3, batch_size=64, pool=64))
    donors = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    moved = batch.exchanged(2, donors)
    assert torch.equal(moved.holds[:, 2], batch.holds[donors, 2])
    assert torch.equal(moved.holds[:, [0, 1, 3]], batch.holds[:, [0, 1, 3]])
    hushed = batch.hushed[donors, 2] & batch.flagged[:, 0]
    assert torch.equal(moved.says[:, 2] == WORD_ID[NOTHING], hushed | (moved.holds[:, 2] == WORD_ID[NOTHING]))
    assert torch.equal(moved.says[:, [0, 1, 3]], batch.says[:, [0, 1, 3]])


def test_the_veil_measures_what_a_value_explains():
    generator = torch.Generator().manual_seed(0)
    held = torch.randint(len(ROOMS), (2000,), generator=generator)
    read = torch.nn.functional.one_hot(held, len(ROOMS)).float()
    noise = torch.randn(2000, len(ROOMS), generator=generator)
    assert explained(read, held) == pytest.approx(1.0, abs=1e-4)
    assert explained(noise, held) == pytest.approx((len(ROOMS) - 1) / 2000, rel=0.5)
    assert explained(noise + 1000, held) == pytest.approx(float(explained(noise, held)), rel=1e-2)
