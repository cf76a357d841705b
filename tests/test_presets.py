"""Presets of the feedback and tokens families: the contract, recorded vectors, stops, agents, what is read and fed."""

from dataclasses import replace

import conftest
import pytest
import torch
from preset_factory import (
    AGENTS,
    BACKBONES,
    END,
    PROBLEMS,
    STOPPING,
    TABLES,
    TRANSFORMING,
    WORDS,
    make_reasoner,
    recipe,
)
from record_vectors import FILE, vectors
from safetensors.torch import load_file

from workbench import edits
from workbench.errors import ConfigError, SchemaError, UnknownSiteError
from workbench.reasoners import presets
from workbench.reasoners.backbones import Backbone, new_word_gpt2
from workbench.reasoners.contract import CHECKS, TOLERANCE, lens_agrees_with_the_model, step_counts_are_kept, tolerance
from workbench.reasoners.feedback import FeedbackReasoner
from workbench.reasoners.presets import Noise, mixture
from workbench.reasoners.recipe import PRESETS, SoftTokens
from workbench.tasks import Problem

SEEDS = [5, 6, 7]


@pytest.fixture(scope="module")
def reasoners():
    """(preset, backbone) -> reasoner, made once."""
    made = {}

    def get(kind, name="gpt2"):
        if (kind, name) not in made:
            made[kind, name] = make_reasoner(kind, name)
        return made[kind, name]

    return get


# The contract.


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("kind", PRESETS["feedback"] + PRESETS["tokens"])
def test_every_preset_keeps_the_contract(kind, name, dtype):
    reasoner = make_reasoner(kind, name, dtype=dtype, steps=2)
    for check in CHECKS:
        check(reasoner, PROBLEMS)


@pytest.mark.parametrize("kind", [kind for kind in TABLES if " " in kind])
def test_every_variant_of_a_preset_keeps_the_contract(kind):
    reasoner = make_reasoner(kind, steps=2)
    for check in CHECKS:
        check(reasoner, PROBLEMS)


def test_every_preset_of_the_two_families_is_here():
    assert {kind.split()[0] for kind in TABLES} == {*PRESETS["feedback"], *PRESETS["tokens"]} == set(presets.PRESETS)


def test_a_type_of_weights_has_its_own_tolerance():
    assert tolerance(torch.float32) == TOLERANCE[torch.float32] < tolerance(torch.bfloat16)
    assert tolerance(torch.float64) == tolerance(torch.float32)


# Recorded vectors.


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("kind", TABLES)
def test_vectors_are_those_that_were_recorded(reasoners, kind, name):
    known = load_file(FILE)
    now = vectors(reasoners(kind, name), f"{name}/{kind}")
    assert now.keys() == {key for key in known if key.startswith(f"{name}/{kind}/")}
    for key, vector in now.items():
        torch.testing.assert_close(vector, known[key], atol=1e-5, rtol=1e-5, msg=lambda text, key=key: f"{key}: {text}")


def test_the_recording_holds_every_preset_and_stays_small():
    assert {key.rsplit("/", 1)[0] for key in load_file(FILE)} == {f"{n}/{k}" for n in BACKBONES for k in TABLES}
    assert FILE.stat().st_size < 100_000


# What is read, what is fed, and what is computed in vain.


def expected_input(kind, reasoner, source):
    """`to_input` written once more, from the papers."""
    backbone = reasoner.backbone
    head, embedding = backbone.model.get_output_embeddings().weight, backbone.embed.weight
    if kind in ("codi", "sim-cot"):
        return backbone.projection(source)
    if kind == "cot":
        return embedding[(source @ head.T).argmax(-1)]
    if kind == "soft-thinking":
        rows = []
        for logits in source @ head.T:
            kept, total = [], 0.0
            share = (logits / 0.6).softmax(-1)
            ranked = sorted(range(len(WORDS)), key=lambda token: -float(share[token]))[:12]
            whole = sum(float(share[token]) for token in ranked)
            for token in ranked:
                if total >= 0.9:
                    break
                kept.append(token)
                total += float(share[token]) / whole
            kept = [token for token in kept if share[token] >= 0.001 * share[kept[0]]][:6]
            weight = share[kept] / share[kept].sum()
            rows.append(weight @ embedding[kept])
        return torch.stack(rows)
    if kind == "latent-mas realigned":
        source = source @ torch.linalg.inv(head.T @ head + 1e-5 * torch.eye(len(head.T))) @ head.T @ embedding
    return source / source.norm(dim=-1, keepdim=True) * embedding.norm(dim=-1).mean()


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("kind", [kind for kind in TRANSFORMING if "gumbel" not in kind and "dirichlet" not in kind])
def test_the_thought_is_the_function_of_its_source_that_the_paper_says(reasoners, kind, name):
    reasoner = reasoners(kind, name)
    trace = reasoner.run(PROBLEMS, read=["thought.source", "thought"])
    source, thought = trace["thought.source"], trace["thought"]
    assert torch.equal(source.address, thought.address)
    assert len(thought.vectors)
    assert not torch.allclose(source.vectors, thought.vectors, atol=1e-2)
    torch.testing.assert_close(thought.vectors, expected_input(kind, reasoner, source.vectors), atol=1e-4, rtol=1e-3)


def test_a_system_that_transforms_nothing_has_one_vector_and_no_source(reasoners):
    assert "thought.source" not in reasoners("coconut").sites
    assert reasoners("coconut").source == "thought"
    assert all("thought.source" in reasoners(kind).sites for kind in TRANSFORMING)


@pytest.mark.parametrize("kind", [kind for kind in TABLES if "latent-mas" not in kind])
def test_the_unused_vector_is_the_thought_that_one_more_step_would_have_fed(reasoners, kind):
    reasoner = reasoners(kind)
    unused = reasoner.run(PROBLEMS, read=["thought.unused"], seeds=SEEDS)
    more = reasoner.run([replace(p, steps=4) for p in PROBLEMS], read=["thought"], seeds=SEEDS)
    assert max(unused.n_steps) == 3
    for i, taken in enumerate(unused.n_steps):
        if taken < more.n_steps[i]:
            of_more = (more["thought"].address[:, 0] == i) & (more["thought"].address[:, 1] == taken)
            mine = unused["thought.unused"].address[:, 0] == i
            assert unused["thought.unused"].address[mine, 1].tolist() == [taken]
            torch.testing.assert_close(unused["thought.unused"].vectors[mine], more["thought"].vectors[of_more])


@pytest.mark.parametrize("kind", TABLES)
def test_editing_the_unused_vector_changes_nothing_that_is_said(reasoners, kind):
    plain = reasoners(kind).run(PROBLEMS, read=["thought"], seeds=SEEDS)
    edited = reasoners(kind).run(
        PROBLEMS, read=["thought", "thought.unused"], edits={"thought.unused": edits.zero()}, seeds=SEEDS
    )
    assert torch.equal(plain.first_logits, edited.first_logits)
    assert torch.equal(plain["thought"].vectors, edited["thought"].vectors)
    assert plain.emitted == edited.emitted
    assert not edited["thought.unused"].vectors.any()


# Soft tokens.

LOGITS = torch.tensor([[3.0, 2.0, 1.0, 0.0, -1.0]]).log_softmax(-1)
QUIET = Noise([0], torch.tensor([0]))


def shares(**settings):
    weight, token = mixture(LOGITS, SoftTokens(**{"temperature": 1.0, "min_p": 0.0, "top_p": 1.0, **settings}), QUIET)
    return {int(k): round(float(w), 4) for k, w in zip(token[0], weight[0], strict=True) if w > 0}


def renormed(tokens):
    part = LOGITS[0].exp()[tokens]
    return {k: round(float(w), 4) for k, w in zip(tokens, part / part.sum(), strict=True)}


def test_filters_of_a_soft_token_apply_in_the_published_order():
    assert shares() == renormed([0, 1, 2, 3, 4])
    assert shares(top_k=3) == renormed([0, 1, 2])
    assert shares(top_p=0.64) == renormed([0, 1])  # shares .636 .234 .086: the one that crosses the line is kept
    assert shares(top_p=0.63) == renormed([0])
    assert shares(min_p=0.1) == renormed([0, 1, 2])  # e^-2 = .135 of the largest
    assert shares(max_topk=2) == renormed([0, 1])
    # .636 of all is .731 of the two likeliest: top-p counts what top-k left
    assert shares(top_k=2, top_p=0.7) == renormed([0])


def test_the_order_of_a_noisy_mixture_follows_the_noise():
    for seed in range(20):
        for kind, scale in (("gumbel", 1.0), ("dirichlet", 2.0)):
            soft = SoftTokens(temperature=3.0, noise=kind, noise_scale=scale, max_topk=4)
            weight, token = mixture(LOGITS, soft, Noise([seed], torch.tensor([0])))
            assert weight[0].tolist() == sorted(weight[0].tolist(), reverse=True)
            assert weight.sum().item() == pytest.approx(1)
            assert len(set(token[0].tolist())) == 4


def test_dirichlet_noise_that_rounds_to_nothing_leaves_the_shares():
    weight, _ = mixture(LOGITS, SoftTokens(noise="dirichlet", noise_scale=1e-12), QUIET)
    assert weight.isfinite().all()
    assert weight.sum().item() == pytest.approx(1)


@pytest.mark.parametrize("kind", ["soft-thinking gumbel", "soft-thinking dirichlet"])
def test_noise_belongs_to_the_example_and_not_to_its_place(reasoners, kind):
    reasoner = reasoners(kind)
    forth = reasoner.run(PROBLEMS, read=["thought"], seeds=[5, 6, 7])
    back = reasoner.run(PROBLEMS[::-1], read=["thought"], seeds=[7, 6, 5])
    alone = reasoner.run(PROBLEMS[1:2], read=["thought"], seeds=[6])
    others = reasoner.run(PROBLEMS, read=["thought"], seeds=[50, 6, 70])
    mine = [
        t["thought"].vectors[t["thought"].address[:, 0] == i]
        for t, i in ((forth, 1), (back, 1), (alone, 0), (others, 1))
    ]
    for same in mine[1:]:
        torch.testing.assert_close(mine[0], same, atol=1e-5, rtol=1e-4)
    other = reasoner.run(PROBLEMS[1:2], read=["thought"], seeds=[8])["thought"].at(0)
    assert not torch.allclose(mine[0][:1], other, atol=1e-3)


# Who stops when.


def plant(reasoner, script):
    """Let the stop be decided on planted logits: `script[seed][steps taken]` is the row of an example."""
    decide = reasoner.preset.stops

    def stops(logits, low, noise):
        rows = [script[s][min(t, len(script[s]) - 1)] for s, t in zip(noise.seeds, noise.steps.tolist(), strict=True)]
        return decide(torch.stack(rows).to(logits), low, noise)

    reasoner.preset = replace(reasoner.preset, stops=stops)
    return reasoner


def likeliest(token, height=20.0):
    return torch.nn.functional.one_hot(torch.tensor(token), len(WORDS)) * height


def alike(batch, singles, n_steps):
    assert batch.n_steps == tuple(n_steps) == tuple(one.n_steps[0] for one in singles)
    for i, one in enumerate(singles):
        mine = batch["thought"].vectors[batch["thought"].address[:, 0] == i]
        assert len(mine) == n_steps[i] == len(one["thought"].vectors)
        torch.testing.assert_close(mine, one["thought"].vectors, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(batch.first_logits[i], one.first_logits[0], atol=1e-4, rtol=1e-4)
        kept = batch["thought.unused"].address[:, 0] == i
        torch.testing.assert_close(
            batch["thought.unused"].vectors[kept], one["thought.unused"].vectors, atol=1e-4, rtol=1e-4
        )


def both_ways(reasoner, seeds):
    read = ["thought", "thought.unused", "ln_final.hook_out"]
    batch = reasoner.run(PROBLEMS, read=read, seeds=seeds)
    return batch, [reasoner.run([p], read=read, seeds=[s]) for p, s in zip(PROBLEMS, seeds, strict=True)]


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("kind", STOPPING)
def test_each_example_stops_where_its_end_marker_is_likeliest_and_a_batch_equals_its_singles(kind, name):
    go, stop = likeliest(3), likeliest(END)
    reasoner = plant(make_reasoner(kind, name, steps=4), {5: [go, go, stop], 6: [stop], 7: [go]})
    batch, singles = both_ways(reasoner, SEEDS)
    alike(batch, singles, [2, 0, 4])
    assert batch["ln_final.hook_out"].address[:, :2].tolist() == batch["thought"].address[:, :2].tolist()


@pytest.mark.parametrize("name", BACKBONES)
def test_thinking_stops_once_the_entropy_was_low_for_long_enough(name):
    table = "[soft_tokens]\nentropy_below = 0.5\nentropy_for = 2\n"
    low, high = likeliest(3), torch.zeros(len(WORDS))
    script = {5: [low, low], 6: [low, high, low, low], 7: [low, high]}
    reasoner = plant(make_reasoner("soft-thinking", name, steps=5, table=table), script)
    batch, singles = both_ways(reasoner, SEEDS)
    alike(batch, singles, [1, 3, 5])


@pytest.mark.parametrize("name", conftest.BACKBONES)
def test_stopping_beside_others_is_right_on_every_kind_of_position(loaded_models, name):
    """An example that stopped leaves gaps in the middle of its cache: for learned, rotary and no positions."""
    organism = loaded_models[name].reasoner
    shared = {"speaking": organism.recipe.speaking.model_copy(update={"max_new_tokens": 1})}
    cot = organism.recipe.model_copy(update={"family": "tokens", "preset": "cot", **shared})
    reasoner = FeedbackReasoner(organism.backbone, cot)
    end = reasoner.coder.token_ids(cot.thinking.end)[0]
    go, stop = (torch.nn.functional.one_hot(torch.tensor(token), reasoner.coder.d_vocab) for token in (0, end))
    plant(reasoner, {5: [go, stop], 6: [go], 7: [go, go, stop]})
    problems = [Problem(id=str(n), prompt=text) for n, text in enumerate(("start atrium", "east 2 ; west 1", "mirror"))]
    read = ["thought", "thought.unused"]
    batch = reasoner.run(problems, read=read, seeds=SEEDS)
    singles = [reasoner.run([p], read=read, seeds=[seed]) for p, seed in zip(problems, SEEDS, strict=True)]
    alike(batch, singles, [1, 4, 2])


def test_a_model_that_stops_at_once_still_has_a_lens():
    reasoner = plant(make_reasoner("cot"), {0: [likeliest(END)]})
    assert reasoner.run(PROBLEMS[:1]).n_steps == (0,)
    lens_agrees_with_the_model(reasoner, PROBLEMS[:1])


def test_an_entropy_bound_of_nothing_never_stops():
    reasoner = plant(make_reasoner("soft-thinking", steps=3), {seed: [likeliest(3, 1e4)] for seed in SEEDS})
    assert reasoner.run(PROBLEMS, seeds=SEEDS).n_steps == (3, 3, 3)


def test_with_noise_it_is_the_noisy_mixture_that_says_the_end_marker():
    table = '[soft_tokens]\ntop_k = 2\nnoise = "gumbel"\n'
    tied = likeliest(END) + likeliest(3)
    reasoner = make_reasoner("soft-thinking gumbel", steps=1, table=table)
    seeds = list(range(30))
    noise = Noise(seeds, torch.zeros(30, dtype=torch.long))
    _, token = mixture(tied.expand(30, -1).float(), reasoner.recipe.soft_tokens, noise)
    problems = [replace(PROBLEMS[0], id=f"p{seed}") for seed in seeds]
    n_steps = plant(reasoner, {seed: [tied] for seed in seeds}).run(problems, seeds=seeds).n_steps
    assert n_steps == tuple(0 if first == END else 1 for first in token[:, 0].tolist())
    assert set(n_steps) == {0, 1}


def test_plain_chain_of_thought_is_greedy_decoding_token_by_token(reasoners):
    for name in BACKBONES:
        reasoner = make_reasoner("cot", name, steps=6, end="")
        trace = reasoner.run(PROBLEMS, read=["thought"])
        for i, problem in enumerate(PROBLEMS):
            ids = torch.tensor([reasoner.prompt_ids(problem)])
            said = reasoner.backbone.model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, do_sample=False, pad_token_id=0
            )[0, ids.shape[1] :]
            mine = trace["thought"].vectors[trace["thought"].address[:, 0] == i]
            assert torch.equal(mine, reasoner.backbone.embed(said))


@pytest.mark.parametrize("kind", ["cot", "soft-thinking"])
def test_an_end_marker_of_several_tokens_is_refused_where_the_model_has_to_choose_it(kind):
    with pytest.raises(ConfigError, match="has to be one token") as caught:
        make_reasoner(kind, end="] now")
    assert caught.value.field == "thinking.end"
    assert caught.value.found == "2 tokens"
    make_reasoner("coconut", end="] now")


# Agents.


def test_agents_think_in_turn_and_only_the_speaker_speaks(reasoners):
    trace = reasoners("latent-mas").run(PROBLEMS, read=["thought", "blocks.1.hook_resid_post"])
    assert trace.agents == (("planner",) * 3 + ("critic",) * 3,) * 3
    assert trace.n_steps == (6, 6, 6)
    # nothing that is fed between two agents is taken for a step
    for site in ("thought", "blocks.1.hook_resid_post"):
        assert trace[site].address[:6, :3].tolist() == [[0, step, 0] for step in range(6)]
    short = trace["thought"].address[trace["thought"].address[:, 0] == 0, 3].tolist()
    assert short == [3, 4, 5, 10, 11, 12]  # "plan w3 [" and, after three thoughts, "check w3 now ["
    assert reasoners("coconut").run(PROBLEMS).agents == ((), (), ())


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("realign", ["false", "true"])
@torch.no_grad()
def test_agents_hand_their_keys_and_values_on(name, realign):
    """A plain loop: one sequence, one cache, prompts and thoughts one after the other."""
    reasoner = make_reasoner("latent-mas", name, table=AGENTS.format(realign=realign))
    trace = reasoner.run(PROBLEMS, read=["thought", "thought.source"])
    model, ids_of = reasoner.backbone.model, reasoner.coder.token_ids
    for i, problem in enumerate(PROBLEMS):
        cache, thoughts = None, []
        for asked in (f"plan {problem.prompt} [", f"check {problem.prompt} now ["):
            out = model.base_model(input_ids=torch.tensor([ids_of(asked)]), past_key_values=cache, use_cache=True)
            for _ in range(3):
                kind = "latent-mas realigned" if realign == "true" else "latent-mas"
                thoughts.append(expected_input(kind, reasoner, out.last_hidden_state[:, -1]))
                cache = out.past_key_values
                out = model.base_model(inputs_embeds=thoughts[-1][:, None], past_key_values=cache, use_cache=True)
        tail = torch.tensor([ids_of(f"] say {problem.prompt} now")])
        logits = model(input_ids=tail, past_key_values=out.past_key_values).logits[0, -1]
        mine = trace["thought"].vectors[trace["thought"].address[:, 0] == i]
        torch.testing.assert_close(mine, torch.cat(thoughts), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(trace.first_logits[i], logits, atol=1e-4, rtol=1e-4)


def test_another_plan_changes_what_the_critic_thinks(reasoners):
    reasoner = reasoners("latent-mas")
    plain = reasoner.run(PROBLEMS, read=["thought"])
    donor = plain["thought"].by_visit()
    swapped = {key: vectors[[1, 2, 0]] for key, vectors in donor.items() if key[0] < 3}
    changed = reasoner.run(PROBLEMS, read=["thought"], edits={"thought": edits.replace(swapped)})
    for step in range(3):
        assert torch.equal(changed["thought"].at(step), plain["thought"].at(step)[[1, 2, 0]])
    for step in range(3, 6):
        assert not torch.allclose(changed["thought"].at(step), plain["thought"].at(step), atol=1e-4)
    assert not torch.allclose(changed.first_logits, plain.first_logits, atol=1e-4)


def test_agents_of_one_name_count_each(reasoners):
    twice = AGENTS.format(realign="false").replace("critic", "planner")
    reasoner = make_reasoner("latent-mas", table=twice)
    step_counts_are_kept(reasoner, PROBLEMS)
    assert reasoner.run(PROBLEMS).agents == (("planner",) * 6,) * 3


# What must be an error, or impossible.


def test_the_norm_is_applied_once_whatever_the_site(reasoners):
    reasoner = reasoners("codi")
    last = "blocks.1.hook_resid_post"
    trace = reasoner.run(PROBLEMS, read=[last, "ln_final.hook_out"])
    through_norm = reasoner.unembed(trace[last].vectors, last)
    normed = reasoner.unembed(trace["ln_final.hook_out"].vectors, "ln_final.hook_out")
    torch.testing.assert_close(through_norm, normed, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(reasoner.unembed(trace[last].vectors, "thought.source"), normed, atol=1e-2)
    # the source of a step is what the final norm gave at the step before
    source = reasoner.run(PROBLEMS, read=["thought.source"])["thought.source"]
    after = trace["ln_final.hook_out"]
    assert torch.equal(source.at(1), after.at(0))


def test_the_head_reads_no_keys_and_no_unknown_site(reasoners):
    with pytest.raises(ConfigError, match="head reads no vectors of this site"):
        reasoners("codi").unembed(torch.zeros(1, 32), "blocks.0.attn.hook_k")
    with pytest.raises(UnknownSiteError, match=r"no site 'thoughts'.*thought\.source"):
        reasoners("codi").unembed(torch.zeros(1, 32), "thoughts")


@pytest.mark.parametrize("silent", ["thought.source", "thought.unused", "blocks.0.hook_mlp_out"])
def test_a_site_that_never_fires_is_an_error(silent):
    class Silent(FeedbackReasoner):
        def tap(self, site, vectors):
            return vectors if site == silent else super().tap(site, vectors)

    reasoner = make_reasoner("codi", cls=Silent)
    for how in ({"read": [silent]}, {"edits": {silent: edits.zero()}}):
        with pytest.raises(ConfigError, match=f"{silent}' never fired in step"):
            reasoner.run(PROBLEMS, **how)


def test_a_checkpoint_and_a_preset_that_do_not_belong_together_are_refused(reasoners):
    plain, projected = reasoners("coconut").backbone, reasoners("codi").backbone
    with pytest.raises(ConfigError, match="has no projection"):
        FeedbackReasoner(plain, recipe("codi"))
    with pytest.raises(ConfigError, match="has a projection"):
        FeedbackReasoner(projected, recipe("coconut"))
    assert "thought.source" not in FeedbackReasoner(plain, recipe("sim-cot")).sites


@pytest.mark.parametrize(
    ("kind", "table", "said"),
    [
        ("coconut", TABLES["soft-thinking"], r"\[soft_tokens\] belongs to soft-thinking"),
        ("cot", TABLES["latent-mas"], r"\[agents\] belongs to latent-mas"),
        ("latent-mas", "", r"needs a table \[agents\]"),
        ("soft-thinking", "[soft_tokens]\ntop_p = 0.0\n", "soft_tokens.top_p"),
        ("soft-thinking", "[soft_tokens]\nmax_topk = 0\n", "soft_tokens.max_topk"),
        ("soft-thinking", '[soft_tokens]\nnoise = "loud"\n', "soft_tokens.noise"),
        ("latent-mas", "[agents]\nthinkers = []\nspeaker = {name = 'a', prompt = 'b'}\n", "agents.thinkers"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_by_name(kind, table, said):
    with pytest.raises(SchemaError, match=said):
        recipe(kind, table=table)


# Reasoning by Superposition: Coconut on a vocabulary of symbols (arXiv:2505.12514).

SYMBOLS = (
    *(str(n) for n in range(31)),
    "<|start-latent|>", "<|end-latent|>", "<|latent|>", "|", "[Q]", "[R]", "[A]", "<eos>", "<|no-answer|>",
)  # fmt: skip
GRAPHS = [
    Problem(id="one", prompt="<eos> 0 4 | 4 7 | 0 9 | 9 2 [Q] 7 2 [R] 0", steps=2, answer="7"),
    Problem(id="two", prompt="<eos> 5 1 | 1 3 | 3 8 | 5 6 | 6 30 [Q] 30 8 [R] 5", steps=3, answer="8"),
]


@torch.no_grad()
def test_reasoning_by_superposition_is_coconut_on_symbols():
    model, tokenizer = new_word_gpt2(SYMBOLS, d_model=64, n_layers=2, n_heads=8, n_positions=64, seed=0)
    assert len(tokenizer) == 40
    base = recipe("coconut", steps=4, end="[A]")
    thinking = base.thinking.model_copy(update={"begin": ""})
    speaking = base.speaking.model_copy(update={"prefix": ""})
    reasoner = FeedbackReasoner(
        Backbone(model, tokenizer), base.model_copy(update={"thinking": thinking, "speaking": speaking})
    )
    trace = reasoner.run(GRAPHS, read=["thought"])
    assert trace.n_steps == (2, 3)
    for i, problem in enumerate(GRAPHS):
        fed = model.transformer.wte(torch.tensor([[SYMBOLS.index(word) for word in problem.prompt.split()]]))
        for _ in range(problem.steps):  # no cache: the whole sequence anew, at every step
            thought = model.transformer(inputs_embeds=fed).last_hidden_state[:, -1:]
            fed = torch.cat([fed, thought], 1)
        asked = torch.cat([fed, model.transformer.wte(torch.tensor([[SYMBOLS.index("[A]")]]))], 1)
        mine = trace["thought"].vectors[trace["thought"].address[:, 0] == i]
        torch.testing.assert_close(mine, fed[0, -problem.steps :], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(
            trace.first_logits[i], model(inputs_embeds=asked).logits[0, -1], atol=1e-5, rtol=1e-5
        )
