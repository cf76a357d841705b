"""The channel: keys and values at latent positions are read, swapped and zeroed as thoughts are, in the cache itself.

What stands in the cache is looked at directly, and what edits do is done once more by hand in the cache of a plain
loop, on backbones that keep keys and values in projections of their own (Llama, Qwen2), side by side (GPT-2) or head
by head (GPT-NeoX, BLOOM), turned by position or not.
"""

import pytest
import torch
from conftest import BACKBONES
from transformers.models.gpt_neox import modeling_gpt_neox
from transformers.models.llama import modeling_llama

from workbench import edits
from workbench.reasoners.feedback import FeedbackReasoner
from workbench.tasks import Problem

N_STEPS = 3
RAGGED = [
    Problem(id="short", prompt="start atrium", steps=N_STEPS),
    Problem(id="long", prompt="start vault ; east 2 ; west 1 ; mirror 4", steps=N_STEPS),
    Problem(id="middle", prompt="start foyer ; mirror 2", steps=N_STEPS),
]
SAME_LENGTH = [
    Problem(id="one", prompt="start vault ; east 2 ; west 1", steps=N_STEPS),
    Problem(id="other", prompt="start foyer ; mirror 4 ; east 3", steps=N_STEPS),
]


class KeepsCache(FeedbackReasoner):
    """Notes what every layer has cached at the position of each step; `caches[step][layer]` is (keys, values)."""

    def run(self, *arguments, **settings):
        self.caches = []
        return super().run(*arguments, **settings)

    def step(self, state):
        state = super().step(state)
        layers = state.forward.cache.layers
        self.caches.append([(layer.keys[:, :, -1].clone(), layer.values[:, :, -1].clone()) for layer in layers])
        return state


@pytest.fixture(scope="module")
def reasoners(loaded_models):
    made = {}
    for name, model in loaded_models.items():
        recipe = model.reasoner.recipe
        speaking = recipe.speaking.model_copy(update={"max_new_tokens": 1})
        made[name] = KeepsCache(model.reasoner.backbone, recipe.model_copy(update={"speaking": speaking}))
    return made


def sites(reasoner, letters="kv"):
    return [f"blocks.{n}.attn.hook_{letter}" for n in range(reasoner.backbone.n_layers) for letter in letters]


def turned(name, model, keys, positions):
    """Keys `[example, head, d_head]` as the model caches them at these positions."""
    if name in ("gpt2", "bloom"):
        return keys
    library = modeling_gpt_neox if name == "gpt_neox" else modeling_llama
    cos, sin = model.base_model.rotary_emb(keys, positions[:, None])
    return library.apply_rotary_pos_emb(keys[:, :, None], keys[:, :, None], cos, sin)[1][:, :, 0]


@pytest.mark.parametrize("name", BACKBONES)
def test_what_is_read_is_what_the_model_caches(reasoners, name):
    reasoner = reasoners[name]
    trace = reasoner.run(RAGGED, read=sites(reasoner))
    for step, layers in enumerate(reasoner.caches):
        for n, (keys, values) in enumerate(layers):
            read_keys, read_values = trace[f"blocks.{n}.attn.hook_k"], trace[f"blocks.{n}.attn.hook_v"]
            assert torch.equal(read_values.at(step), values)
            address = read_keys.address[read_keys.address[:, 1] == step]
            at = turned(name, reasoner.backbone.model, read_keys.at(step), address[:, 3])
            torch.testing.assert_close(at, keys, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_zeroed_site_is_zero_in_the_cache_and_nowhere_else(reasoners, name):
    reasoner = reasoners[name]
    reasoner.run(RAGGED)
    plain = reasoner.caches
    for part, letter in enumerate("kv"):
        only = {f"blocks.1.attn.hook_{letter}": edits.only_steps(edits.zero(), {1})}
        reasoner.run(RAGGED, edits=only)
        assert not reasoner.caches[1][1][part].any()
        assert torch.equal(reasoner.caches[1][1][1 - part], plain[1][1][1 - part])
        for step, layer in ((0, 0), (0, 1), (1, 0)):
            assert torch.equal(torch.stack(reasoner.caches[step][layer]), torch.stack(plain[step][layer]))
        assert reasoner.caches[2][1][part].any()


@pytest.mark.parametrize("name", BACKBONES)
def test_swapped_keys_and_values_stand_in_the_other_problems_cache(reasoners, name):
    reasoner = reasoners[name]
    plain = reasoner.run(SAME_LENGTH, read=["thought", *sites(reasoner)])
    before = reasoner.caches
    swap = {
        site: edits.replace({key: vectors[[1, 0]] for key, vectors in plain[site].by_visit().items()})
        for site in ("thought", *sites(reasoner))
    }
    swapped = reasoner.run(SAME_LENGTH, read=["thought", *sites(reasoner)], edits=swap)
    for site in ("thought", *sites(reasoner)):
        for step in range(N_STEPS):
            assert torch.equal(swapped[site].at(step), plain[site].at(step)[[1, 0]])
    for ours, theirs in zip(reasoner.caches, before, strict=True):
        for layer, donor in zip(ours, theirs, strict=True):
            torch.testing.assert_close(torch.stack(layer), torch.stack(donor)[:, [1, 0]], atol=1e-6, rtol=1e-6)
    assert not torch.allclose(swapped.first_logits, plain.first_logits, atol=1e-3)


def loop(reasoner, problem, *, change):
    """Plain loop over one problem; `change` has the cache after every step. First logits, and the cache at the end."""
    model = reasoner.backbone.model
    out = model.base_model(input_ids=torch.tensor([reasoner.prompt_ids(problem)]), use_cache=True)
    for step in range(N_STEPS):
        thought = out.last_hidden_state[:, -1:]
        out = model.base_model(inputs_embeds=thought, past_key_values=out.past_key_values, use_cache=True)
        change(out.past_key_values, step)
    thought_cache = [(layer.keys.clone(), layer.values.clone()) for layer in out.past_key_values.layers]
    tail = torch.tensor(
        [reasoner.coder.token_ids(reasoner.recipe.thinking.end + " " + reasoner.recipe.speaking.prefix)]
    )
    return model(input_ids=tail, past_key_values=out.past_key_values).logits[0, -1], thought_cache


def leave(cache, step):
    pass


def erase(cache, step):
    for layer in cache.layers:
        layer.keys[:, :, -1] = 0
        layer.values[:, :, -1] = 0


@pytest.mark.parametrize("name", BACKBONES)
@torch.no_grad()
def test_an_erased_channel_gives_what_a_loop_with_an_erased_cache_gives(reasoners, name):
    """With keys and values gone, what the thoughts were no longer matters: only the prompt's own cache is left."""
    reasoner = reasoners[name]
    gone = dict.fromkeys(sites(reasoner), edits.zero())
    plain = reasoner.run(RAGGED).first_logits
    erased = reasoner.run(RAGGED, edits=gone).first_logits
    nothing = reasoner.run(RAGGED, edits={**gone, "thought": edits.zero()}).first_logits
    for i, problem in enumerate(RAGGED):
        torch.testing.assert_close(plain[i], loop(reasoner, problem, change=leave)[0], atol=1e-4, rtol=1e-4)
        by_hand = loop(reasoner, problem, change=erase)[0]
        torch.testing.assert_close(erased[i], by_hand, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(nothing[i], by_hand, atol=1e-4, rtol=1e-4)
        assert not torch.allclose(plain[i], by_hand, atol=1e-2)


@pytest.mark.parametrize("name", BACKBONES)
@torch.no_grad()
def test_a_swapped_channel_gives_what_a_loop_with_a_transplanted_cache_gives(reasoners, name):
    """The prompt's columns are the problem's own, the thoughts' columns the donor's."""
    reasoner = reasoners[name]
    plain = reasoner.run(SAME_LENGTH, read=sites(reasoner))
    swap = {
        site: edits.replace({key: vectors[[1, 0]] for key, vectors in plain[site].by_visit().items()})
        for site in sites(reasoner)
    }
    swapped = reasoner.run(SAME_LENGTH, edits=swap).first_logits
    for i, problem in enumerate(SAME_LENGTH):
        donor = loop(reasoner, SAME_LENGTH[1 - i], change=leave)[1]

        def transplant(cache, step, donor=donor):
            for layer, (keys, values) in zip(cache.layers, donor, strict=True):
                place = layer.keys.shape[2] - 1
                layer.keys[:, :, -1], layer.values[:, :, -1] = keys[:, :, place], values[:, :, place]

        by_hand, _ = loop(reasoner, problem, change=transplant)
        torch.testing.assert_close(swapped[i], by_hand, atol=1e-4, rtol=1e-4)
        assert not torch.allclose(swapped[i], plain.first_logits[i], atol=1e-2)


@pytest.mark.parametrize("name", BACKBONES)
def test_one_problems_channel_is_edited_beside_others_that_are_not(reasoners, name):
    reasoner = reasoners[name]

    def first_only(vectors, visit):
        chosen = torch.tensor([example == 0 for example in visit.examples])
        return torch.where(chosen.view(-1, *[1] * (vectors.ndim - 1)), 0, vectors)

    plain = reasoner.run(RAGGED).first_logits
    edited = reasoner.run(RAGGED, edits=dict.fromkeys(sites(reasoner, "v"), first_only)).first_logits
    assert not torch.allclose(plain[0], edited[0], atol=1e-3)
    torch.testing.assert_close(plain[1:], edited[1:], atol=1e-5, rtol=1e-5)
