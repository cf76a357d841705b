"""The feedback reasoner beside the same loop written out with bare transformers; seeds, edits, step counts, limits."""

from dataclasses import replace

import pytest
import torch
from conftest import BACKBONES, N_POSITIONS

from workbench import edits
from workbench.errors import ConfigError, InsufficientData, LimitExceeded, SchemaError, UnknownSiteError
from workbench.reasoners.feedback import FeedbackReasoner
from workbench.sites import Site, choose_sites
from workbench.tasks import Problem, Rooms

PROBLEMS = Rooms(2).make(3, seed=1) + Rooms(5).make(3, seed=2, prefix="longer")


@torch.no_grad()
def by_hand(folder, problem, n_steps):
    """Thoughts, first logits and emitted ids, without cache, batch, padding or any code of ours."""
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)

    def embed(text):
        ids = tokenizer.encode(text, add_special_tokens=False)
        return model.get_input_embeddings()(torch.tensor([ids], dtype=torch.long))

    fed = torch.cat([embed(problem.prompt), embed("<bot>")], 1)
    thoughts = []
    for _ in range(n_steps):
        thought = model.base_model(inputs_embeds=fed, use_cache=False).last_hidden_state[:, -1:]
        thoughts.append(thought[0, 0])
        fed = torch.cat([fed, thought], 1)
    fed = torch.cat([fed, embed("<eot>"), embed("<say> answer")], 1)
    first, emitted = None, []
    stop = tokenizer.encode("<eos>")[0]
    for _ in range(7):
        logits = model(inputs_embeds=fed, use_cache=False).logits[0, -1]
        first = logits if first is None else first
        emitted.append(int(logits.argmax()))
        if emitted[-1] == stop:
            break
        fed = torch.cat([fed, model.get_input_embeddings()(torch.tensor([emitted[-1:]]))], 1)
    return torch.stack(thoughts), first, tuple(emitted)


@pytest.mark.parametrize("name", BACKBONES)
def test_thoughts_logits_and_speech_equal_the_plain_loop(model_folders, loaded_models, name):
    trace = loaded_models[name].reasoner.run(PROBLEMS, read=["thought"])
    said_something = set()
    for i, problem in enumerate(PROBLEMS):
        thoughts, first, emitted = by_hand(model_folders[name], problem, 4)
        mine = trace["thought"].vectors[trace["thought"].address[:, 0] == i]
        assert torch.allclose(mine, thoughts, atol=1e-5, rtol=1e-5)
        assert torch.allclose(trace.first_logits[i], first, atol=1e-5, rtol=1e-5)
        assert trace.emitted[i] == emitted
        said_something.add(emitted)
    assert len(said_something) > 1


def test_said_text_is_prefix_and_speech_without_the_stop(loaded, monkeypatch):
    reasoner = FeedbackReasoner(loaded.reasoner.backbone, loaded.reasoner.recipe)
    words = {word: reasoner.coder.token_ids(word)[0] for word in ("vault", "steps", "tower", "<eos>")}
    script = iter([words["vault"], words["steps"], words["tower"], words["<eos>"]])
    monkeypatch.setattr(reasoner, "_next_tokens", lambda logits, generators: torch.tensor([next(script)]))
    trace = reasoner.run(PROBLEMS[:1])
    assert trace.said == ("<say> answer vault steps tower",)
    assert trace.emitted == (tuple(words.values()),)


def test_addresses_count_the_tokens_of_the_prompt(loaded):
    trace = loaded.reasoner.run(PROBLEMS, read=["thought", "ln_final.hook_out"])
    for site in ("thought", "ln_final.hook_out"):
        expected = [
            [i, step, 0, len(problem.prompt.split()) + 1 + step]
            for i, problem in enumerate(PROBLEMS)
            for step in range(4)
        ]
        assert trace[site].address.tolist() == expected


def test_a_thought_is_what_the_step_before_gave(loaded):
    trace = loaded.reasoner.run(PROBLEMS, read=["thought", "ln_final.hook_out"])
    for step in range(3):
        assert torch.equal(trace["thought"].at(step + 1), trace["ln_final.hook_out"].at(step))


def test_ragged_step_counts_equal_runs_with_one_count(loaded):
    counts = [1, 4, 7, 2, 4, 1]
    ragged = [replace(problem, steps=n) for problem, n in zip(PROBLEMS, counts, strict=True)]
    trace = loaded.reasoner.run(ragged, read=["thought"], batch_size=2)
    assert trace.n_steps == tuple(counts)
    for i, problem in enumerate(ragged):
        alone = loaded.reasoner.run([problem], read=["thought"])
        mine = trace["thought"].vectors[trace["thought"].address[:, 0] == i]
        assert mine.shape[0] == counts[i]
        assert torch.allclose(mine, alone["thought"].vectors, atol=1e-5)
        assert trace.said[i] == alone.said[0]


# Seeds


@pytest.fixture
def sampling(loaded):
    return FeedbackReasoner(loaded.reasoner.backbone, loaded.reasoner.recipe, temperature=3.0)


def test_speech_depends_on_the_seed_of_the_example_and_not_on_its_place(sampling):
    seeds = [11, 22, 33, 44, 55, 66]
    together = sampling.run(PROBLEMS, seeds=seeds).emitted
    assert sampling.run(PROBLEMS[::-1], seeds=seeds[::-1]).emitted == together[::-1]
    assert sampling.run(PROBLEMS, seeds=seeds, batch_size=2).emitted == together
    for problem, seed, emitted in zip(PROBLEMS, seeds, together, strict=True):
        assert sampling.run([problem], seeds=[seed]).emitted == (emitted,)


def test_other_seeds_give_other_speech(sampling):
    spoken = {sampling.run(PROBLEMS[:1], seeds=[seed]).emitted for seed in range(8)}
    assert len(spoken) > 4


def test_without_temperature_the_seed_does_not_matter(loaded):
    reasoner = loaded.reasoner
    assert reasoner.run(PROBLEMS, seeds=[1] * 6).emitted == reasoner.run(PROBLEMS, seeds=[2] * 6).emitted


def test_a_negative_temperature_is_refused(loaded):
    with pytest.raises(ConfigError, match="temperature is 0"):
        FeedbackReasoner(loaded.reasoner.backbone, loaded.reasoner.recipe, temperature=-0.1)


# Edits


@pytest.mark.parametrize("kind", ["hook_k", "hook_v"])
@pytest.mark.parametrize("name", BACKBONES)
def test_edited_keys_and_values_change_later_thoughts_only(loaded_models, name, kind):
    reasoner = loaded_models[name].reasoner
    site = f"blocks.0.attn.{kind}"
    plain = reasoner.run(PROBLEMS, read=["thought"])
    edit = edits.only_steps(
        lambda vectors, visit: vectors + torch.arange(vectors[0].numel()).view(vectors[0].shape), [1]
    )
    edited = reasoner.run(PROBLEMS, read=["thought"], edits={site: edit})
    for step in (0, 1):
        assert torch.equal(plain["thought"].at(step), edited["thought"].at(step))
    for step in (2, 3):
        assert not torch.allclose(plain["thought"].at(step), edited["thought"].at(step), atol=1e-3)
    assert not torch.allclose(plain.first_logits, edited.first_logits, atol=1e-3)


def test_an_edit_at_the_last_step_reaches_what_is_said(loaded):
    plain = loaded.reasoner.run(PROBLEMS)
    for site in ("thought", "blocks.1.attn.hook_v"):
        zeroed = loaded.reasoner.run(PROBLEMS, edits={site: edits.only_steps(edits.zero(), [3])})
        assert not torch.allclose(plain.first_logits, zeroed.first_logits, atol=1e-3)


def test_a_donors_thoughts_make_its_own_logits_where_prompts_agree(loaded):
    """Exchanging thoughts and all keys and values of the latent steps for a donor's with the same prompt length."""
    one, other = Rooms(2).make(2, seed=7)
    donor = loaded.reasoner.run([other], read=list(loaded.reasoner.sites))
    swap = {site: edits.replace({s: donor[site].at(s) for s in range(4)}) for site in loaded.reasoner.sites}
    patched = loaded.reasoner.run([one], read=["thought"], edits=swap)
    assert torch.equal(patched["thought"].vectors, donor["thought"].vectors)
    assert not torch.allclose(loaded.reasoner.run([one]).first_logits, patched.first_logits, atol=1e-3)


BAD_EDITS = {
    "another width": lambda vectors, visit: vectors[..., :-1],
    "one row": lambda vectors, visit: vectors[:1],
    "an axis more": lambda vectors, visit: vectors[None],
    "another type": lambda vectors, visit: vectors.double(),
    "half the precision": lambda vectors, visit: vectors.half(),
    "an array": lambda vectors, visit: vectors.numpy(),
    "nothing": lambda vectors, visit: None,
}


@pytest.mark.parametrize("site", ["thought", "blocks.0.hook_resid_post", "blocks.1.attn.hook_k"])
@pytest.mark.parametrize("kind", BAD_EDITS)
def test_an_edit_that_returns_something_else_is_refused(loaded, site, kind):
    with pytest.raises(SchemaError, match=f"edit of {site} at step 0") as caught:
        loaded.reasoner.run(PROBLEMS, edits={site: BAD_EDITS[kind]})
    assert caught.value.field == site
    assert "float32" in caught.value.expected
    assert loaded.reasoner.run(PROBLEMS[:1]).said


def test_an_edit_must_not_run_the_reasoner(loaded):
    def nested(vectors, visit):
        loaded.reasoner.run(PROBLEMS[:1])
        return vectors

    with pytest.raises(ConfigError, match="already running"):
        loaded.reasoner.run(PROBLEMS, edits={"thought": nested})
    assert loaded.reasoner.run(PROBLEMS[:1]).said


# Sites and limits


@pytest.mark.parametrize("how", ["read", "edits"])
def test_an_unknown_site_names_the_known(loaded, how):
    asked = {"read": ["blocks.9.hook_resid_post"], "edits": {"blocks.9.hook_resid_post": edits.zero()}}
    with pytest.raises(UnknownSiteError, match=r"blocks\.9\.hook_resid_post") as caught:
        loaded.reasoner.run(PROBLEMS, **{how: asked[how]})
    assert all(site in str(caught.value) for site in loaded.reasoner.sites)


def test_a_site_that_was_not_read_names_those_that_were(loaded):
    with pytest.raises(UnknownSiteError, match="it read thought"):
        loaded.reasoner.run(PROBLEMS, read=["thought"])["ln_final.hook_out"]


def test_a_pattern_that_matches_nothing_is_refused(loaded):
    sites = loaded.reasoner.sites
    assert choose_sites(["blocks.?.attn.hook_k", "thought"], sites) == [
        "thought",
        "blocks.0.attn.hook_k",
        "blocks.1.attn.hook_k",
    ]
    with pytest.raises(UnknownSiteError, match=r"no site 'block\.\*'"):
        choose_sites(["thought", "block.*"], sites)


def test_a_site_that_never_fires_is_refused(loaded):
    reasoner = FeedbackReasoner(loaded.reasoner.backbone, loaded.reasoner.recipe)
    silent = "unembed.hook_out"
    reasoner.sites = {**reasoner.sites, silent: Site(silent, ("d_vocab",), (reasoner.backbone.d_vocab,))}
    for asked in ({"read": [silent]}, {"edits": {silent: edits.zero()}}):
        with pytest.raises(ConfigError, match=f"{silent}' never fired in step 0"):
            reasoner.run(PROBLEMS, **asked)
    assert reasoner.run(PROBLEMS[:1]).said


def test_only_sites_that_fire_are_offered(loaded_models):
    for model in loaded_models.values():
        sites = list(model.reasoner.sites)
        assert sites[0] == "thought"
        assert sites[1] == "thought.unused"
        assert len(sites) == 2 + 2 * 6 + 1
        for name, site in model.reasoner.sites.items():
            assert site.axes == (("head", "d_head") if name.endswith(("hook_k", "hook_v")) else ("d_model",))


def test_too_many_steps_name_the_problem_and_the_limit(loaded):
    fits = N_POSITIONS - len(PROBLEMS[0].prompt.split()) - 1 - 3 - 6  # the last of 7 tokens is emitted and never fed
    assert loaded.reasoner.run([replace(PROBLEMS[0], steps=fits)]).n_steps == (fits,)
    for steps, limit in ((fits + 1, N_POSITIONS), (10**9, 10_000)):
        with pytest.raises(LimitExceeded, match=PROBLEMS[0].id) as caught:
            loaded.reasoner.run([PROBLEMS[1], replace(PROBLEMS[0], steps=steps)])
        assert caught.value.expected == f"at most {limit}"
        assert f"{steps} steps" in caught.value.found


def test_a_prompt_that_is_too_long_names_the_problem(loaded):
    long = Problem(id="too-long", prompt="east 1 ; " * 40)
    with pytest.raises(LimitExceeded, match="too-long") as caught:
        loaded.reasoner.run([*PROBLEMS, long])
    assert caught.value.field == "prompt"


def test_no_problem_missing_seeds_and_empty_batches_are_refused(loaded):
    with pytest.raises(InsufficientData, match="no problem"):
        loaded.reasoner.run([], read=["thought"])
    with pytest.raises(ConfigError, match="expected 6; found 2"):
        loaded.reasoner.run(PROBLEMS, seeds=[1, 2])
    with pytest.raises(ConfigError, match="one problem or more"):
        loaded.reasoner.run(PROBLEMS, batch_size=0)
