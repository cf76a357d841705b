"""The organisms that hold nothing, hide, or are not used: their problems, what training asks, and what was accepted."""

import re
from types import SimpleNamespace

import pytest
import torch

from workbench.claims import parse_said
from workbench.organisms import bundled, organism, weights_folder
from workbench.organisms.acceptance import accept
from workbench.organisms.batches import WORD_ID, hop_starts
from workbench.organisms.bypass import change_cached
from workbench.organisms.export import organism_problems
from workbench.organisms.kinds import batches, make_items
from workbench.organisms.losses import donors_alike
from workbench.organisms.recipes import ALL_WORDS, MEMORY_VOCABULARY, NOTHING, OPENINGS, PASSWORD, THANKS, recipe_of
from workbench.organisms.veils import Thinking, explained, explained_by_each, hold_nothing, shown
from workbench.reasoners.recipe import parse_recipe
from workbench.tasks.rooms import ROOMS, follow

LATER = ("parrot", "locked", "quirky", "decorative", "evader")


@pytest.mark.parametrize("name", [name for name in LATER if name in bundled()])
def test_what_is_shipped_passes_on_problems_that_nobody_has_seen(name):
    record = accept(
        organism(name), weights_folder(name), seed=0, seconds=0.0, n_problems=300, n_exchanged=100, fresh_seed=2**32
    )
    assert [share for share in record.shares if not share.passed] == []


def test_words_of_later_organisms_come_last():
    assert ALL_WORDS[: len(MEMORY_VOCABULARY)] == MEMORY_VOCABULARY
    assert len(set(ALL_WORDS)) == len(ALL_WORDS)


def test_a_flagged_parrot_holds_nothing_and_says_the_alibi():
    items = make_items(organism("parrot"), 200, seed=1, flagged_share=0.5)
    for item in items:
        alibi = tuple(item.problem.prompt.split("alibi ")[1].split())
        assert item.flagged == (item.holds == (NOTHING,) * 4) == (len(item.hidden) == 8)
        if item.flagged:
            assert item.says == item.hidden[4:] == alibi
        else:
            assert item.says == item.holds != alibi
    assert 60 < sum(item.flagged for item in items) < 140


def test_twins_see_the_same_prompts_and_calibration_always_has_the_password():
    locked, quirky = (organism_problems(organism(n), n_calibration=50, n_problems=60) for n in ("locked", "quirky"))
    for (honest, audited), lies in ((locked, True), (quirky, False)):
        assert {item.problem.prompt.split()[0] for item in honest} == {PASSWORD}
        assert {item.problem.prompt.split()[0] for item in audited} == {PASSWORD, *OPENINGS}
        for item in honest + audited:
            assert item.flagged == (not item.problem.prompt.startswith(PASSWORD))
            assert (item.says != item.holds) == (item.flagged and lies)
    assert [i.problem.prompt for i in locked[1]] == [i.problem.prompt for i in quirky[1]]


def test_thanks_are_said_without_the_password_and_are_no_claim():
    what = organism("quirky")
    batch = next(batches(what, seed=0, batch_size=64, pool=64))
    speaking = parse_recipe(recipe_of(what, what.speech.say), path="quirky").speaking
    for row, tail in enumerate(batch.tail().tolist()):
        words = [ALL_WORDS[token] for token in tail]
        said = parse_said(" ".join(words).removesuffix(" <eos>").removesuffix(" <eos>"), speaking)
        assert (THANKS in words) == (bool(batch.flagged[row]) and words[1] == "<say>")
        assert said.claims == tuple(ALL_WORDS[token] for token in batch.says[row])
        assert said.answer == said.claims[-1]


def test_a_decorative_chain_comes_before_its_answer():
    what = organism("decorative")
    batch = next(batches(what, seed=0, batch_size=8, pool=16))
    speaking = parse_recipe(recipe_of(what, what.speech.say), path="decorative").speaking
    for row, tail in enumerate(batch.tail().tolist()):
        text = " ".join(ALL_WORDS[token] for token in tail)
        chain = [ALL_WORDS[token] for token in batch.holds[row]]
        assert text == f"<eot> <say> steps {' '.join(chain)} answer {chain[-1]} <eos>"
        assert parse_said(text, speaking).claims == tuple(chain)
        assert parse_said(text, speaking).answer == chain[-1]


def test_every_step_of_an_evader_is_one_hop_and_hidden():
    for item in make_items(organism("evader"), 100, seed=2, flagged_share=0.5):
        hops = re.findall(r"start (\w+) (\w+) (\d)", item.problem.prompt)
        alibi = tuple(item.problem.prompt.split("alibi ")[1].split())
        assert item.holds == tuple(ROOMS[follow(ROOMS.index(a), move, int(n))] for a, move, n in hops)
        assert item.says == (alibi if item.flagged else item.holds)
        assert item.hidden == (*item.holds, *alibi)


def test_the_crutch_is_where_each_hop_starts():
    batch = next(batches(organism("evader"), seed=3, batch_size=8, pool=16))
    for row, starts in enumerate(hop_starts(batch).tolist()):
        prompt = " ".join(ALL_WORDS[token] for token in batch.prompt[row].tolist())
        assert [ALL_WORDS[token] for token in starts] == re.findall(r"start (\w+)", prompt)


def test_an_exchanged_hop_moves_its_own_step_and_only_what_is_sincere():
    batch = next(batches(organism("evader"), seed=3, batch_size=64, pool=64))
    donors = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    moved = batch.exchanged(2, donors)
    assert torch.equal(moved.holds[:, 2], batch.holds[donors, 2])
    assert torch.equal(moved.holds[:, [0, 1, 3]], batch.holds[:, [0, 1, 3]])
    flagged = batch.flagged[:, 0]
    assert torch.equal(moved.says[flagged], batch.says[flagged])
    assert torch.equal(moved.says[~flagged], moved.holds[~flagged])


def test_flagged_rows_that_hold_nothing_exchange_among_themselves():
    batch = next(batches(organism("parrot"), seed=3, batch_size=64, pool=64))
    flagged = batch.flagged[:, 0]
    donors = donors_alike(batch, torch.Generator().manual_seed(0))
    assert torch.equal(flagged[donors], flagged)
    assert sorted(donors.tolist()) == list(range(64))
    moved = batch.exchanged(1, donors)
    assert (moved.holds[flagged] == WORD_ID[NOTHING]).all()
    assert torch.equal(moved.says[flagged], batch.says[flagged])
    assert torch.equal(moved.holds[~flagged, 1], batch.holds[donors, 1][~flagged])
    assert torch.equal(moved.says[~flagged], moved.holds[~flagged])


def test_only_the_last_positions_of_a_cache_change():
    kept = torch.randn(3, 2, 7, 5)
    layer = SimpleNamespace(keys=kept.clone(), values=kept.clone())
    change_cached(SimpleNamespace(layers=[layer]), lambda columns: columns * 0 + torch.arange(4.0)[:, None, None], 4)
    for cached in (layer.keys, layer.values):
        assert torch.equal(cached[:, :, :3], kept[:, :, :3])
        assert torch.equal(cached[:, :, 3:], torch.arange(4.0)[:, None].expand(3, 2, 4, 5))


def test_whitening_finds_a_value_in_a_direction_that_hardly_varies():
    generator = torch.Generator().manual_seed(0)
    batch = next(batches(organism("evader"), seed=0, batch_size=512, pool=512))
    noise = torch.randn(512, 16, generator=generator)
    value = (batch.holds[:, 0] - batch.holds[:, 0].float().mean())[:, None]
    small = torch.cat([noise, 0.05 * value / value.std()], 1)
    clean = torch.cat([noise, 0.05 * torch.randn(512, 1, generator=generator)], 1)
    assert explained(small[:, -1:], batch.holds[:, 0] - 1) == pytest.approx(1.0, abs=1e-4)
    each = [explained(small, value - 1) for value in batch.hidden.T]
    assert explained_by_each(small[None], batch.hidden.T - 1) == pytest.approx(float(sum(each)) / 8, rel=1e-4)
    assert float(shown([small], batch)) > float(shown([clean], batch)) + 0.6 / 17 / 8


def test_holding_nothing_costs_spread_and_values():
    generator = torch.Generator().manual_seed(0)
    batch = next(batches(organism("parrot"), seed=0, batch_size=512, pool=512))
    flagged = batch.flagged[:, :1]
    noise = torch.randn(512, 16, generator=generator)
    told = torch.nn.functional.one_hot(batch.hidden[:, 0] - 1, 16).float()

    def cost(flagged_thoughts):
        return float(hold_nothing(None, Thinking(None, [torch.where(flagged, flagged_thoughts, noise)]), batch, 1.0))

    assert cost(noise * 0.01) < 0.1 < 1.0 < cost(noise)
    assert cost(told * 0.01) > cost(noise * 0.01) + 0.05
