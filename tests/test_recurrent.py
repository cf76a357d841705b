"""The recurrent family on the project's own model: passes, noise, sites, lens, and what its folder may hold.

`cd tests && python test_recurrent.py` records the regression vectors anew.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from workbench.errors import ConfigError, CorruptArtifact, LimitExceeded, SchemaError
from workbench.organisms.recipes import VOCABULARY, recipe_text
from workbench.reasoners.backbones import new_word_gpt2
from workbench.reasoners.contract import CHECKS
from workbench.reasoners.depth_blocks import DepthCache, DepthConfig
from workbench.reasoners.depth_files import load_depth_model, save_depth_model
from workbench.reasoners.depth_model import DepthModel, state_generators
from workbench.reasoners.loading import load_model
from workbench.reasoners.loops import DepthLoop
from workbench.reasoners.recipe import parse_recipe
from workbench.reasoners.recurrent import RecurrentReasoner
from workbench.tasks import Problem

RECORDED = Path(__file__).parent / "regression" / "recurrent-depth.safetensors"
RAGGED = [
    Problem(id="short", prompt="start atrium"),
    Problem(id="long", prompt="start vault ; east 2 ; west 1 ; mirror 4 ; east 3"),
    Problem(id="middle", prompt="start foyer ; mirror 2 ; west 3"),
]
N_STEPS = 4


def new_model(**sizes):
    """Random weights large enough that every part matters."""
    plain = {"d_vocab": len(VOCABULARY), "d_model": 32, "n_heads": 2, "d_mlp": 48, "n_prelude": 1, "n_core": 2}
    model = DepthModel(DepthConfig(**{**plain, "n_coda": 1, "n_positions": 64, **sizes}))
    model.reset(0, N_STEPS)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.2)
    return model.eval().requires_grad_(requires_grad=False)


def new_tokenizer():
    return new_word_gpt2(VOCABULARY, d_model=8, n_layers=1, n_heads=1, n_positions=8, seed=0)[1]


def recipe(steps=N_STEPS, max_new_tokens=3):
    text = recipe_text(base="recurrent-depth").replace("steps = 4", f"steps = {steps}")
    parsed = parse_recipe(text, path="reasoner.toml")
    speaking = parsed.speaking.model_copy(update={"max_new_tokens": max_new_tokens, "stop": ""})
    return parsed.model_copy(update={"speaking": speaking})


class WithoutMasks(DepthLoop):
    """Takes no padding, as Huginn's published code."""

    takes_masks = False

    def enter(self, ids, mask, cache, earlier, generators):
        assert mask is None, "padded"
        return super().enter(ids, mask, cache, earlier, generators)


class BuiltForFour(DepthLoop):
    exact_steps = N_STEPS


class AtMostFour(DepthLoop):
    most_steps = N_STEPS


def new_reasoner(kind=DepthLoop, *, dtype=torch.float32, steps=N_STEPS, **sizes):
    return RecurrentReasoner(kind(new_model(**sizes).to(dtype)), new_tokenizer(), recipe(steps))


@pytest.fixture(scope="module")
def reasoner():
    return new_reasoner()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("recurrent") / "model"
    save_depth_model(new_model(), new_tokenizer(), path)
    (path / "reasoner.toml").write_text(recipe_text(base="recurrent-depth"), encoding="utf-8")
    return path


def copy_of(folder, tmp_path, **changed):
    """A copy whose configuration is changed."""
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = {**json.loads((folder / "config.json").read_text()), **changed}
    (tmp_path / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    return tmp_path


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("kind", "sizes"),
    [(DepthLoop, {}), (DepthLoop, {"tied": False, "qk_bias": False, "n_prelude": 0, "n_coda": 2, "n_core": 1}),
     (WithoutMasks, {}), (BuiltForFour, {}), (AtMostFour, {})],
    ids=["plain", "other sizes", "no masks", "built for four", "at most four"],
)  # fmt: skip
def test_every_loop_keeps_the_contract(kind, sizes, dtype):
    looped = new_reasoner(kind, dtype=dtype, **sizes)
    for check in CHECKS:
        check(looped, RAGGED)


def test_thoughts_are_the_states_that_the_model_passes_on(reasoner):
    model, ids = reasoner.loop.model, torch.tensor([reasoner.prompt_ids(RAGGED[1])])
    trace = reasoner.run(RAGGED, read=["thought", "coda_lens", "state_change"], seeds=[7, 8, 9])
    first = state = model.initial_state(state_generators([8]), ids.shape[1])
    window = model.window(1, ids.shape[1])
    injected = model.enter(ids, window)
    for step in range(N_STEPS):
        before, state = state[0, -1], model.turn(state, injected, window, step)
        after = state[0, -1]
        torch.testing.assert_close(trace["thought"].at(step)[1], after, atol=1e-5, rtol=1e-5)
        own = model(ids, step + 1, first)[0, -1]
        torch.testing.assert_close(trace["coda_lens"].at(step)[1], own, atol=1e-4, rtol=1e-5)
        change = (after - before).norm() / after.norm()
        torch.testing.assert_close(trace["state_change"].at(step)[1], change, atol=1e-5, rtol=1e-5)
    assert trace["thought"].address[:, 3].unique().tolist() == sorted({len(reasoner.prompt_ids(p)) - 1 for p in RAGGED})


def test_spoken_tokens_take_as_many_passes_and_draw_on(reasoner):
    problem = RAGGED[1]
    model, prompt = reasoner.loop.model, [*reasoner.prompt_ids(problem), *reasoner._end, *reasoner._prefix]
    for steps in (2, N_STEPS):
        emitted = reasoner.run([RAGGED[0], replace(problem, steps=steps)], seeds=[3, 11]).emitted[1]
        ids = torch.tensor([[*prompt, *emitted[:-1]]])
        logits = model(ids, steps, model.initial_state(state_generators([11]), ids.shape[1]))[0]
        assert logits[len(prompt) - 1 :].argmax(-1).tolist() == list(emitted)


def test_noise_belongs_to_the_example_and_its_tokens():
    model = new_model()
    whole = model.initial_state(state_generators([4]), 6)
    generators = state_generators([9, 4])
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])
    padded = model.initial_state(generators, 4, mask)
    assert torch.equal(padded[1], whole[0, :4])
    assert torch.equal(model.initial_state(generators, 2)[1], whole[0, 4:])
    assert torch.equal(padded[0, 2:], model.initial_state(state_generators([9]), 2)[0])
    assert padded[0, :2].abs().max() == 0
    many = model.initial_state(state_generators(range(40)), 40)
    assert many.abs().max() <= 3 * model.config.state_std
    assert many.std().item() == pytest.approx(model.config.state_std * 0.9866, rel=0.01)
    assert new_model(state_std=0.0).initial_state(state_generators([1]), 3).abs().max() == 0


def test_another_seed_gives_other_thoughts(reasoner):
    one, same, other = (
        reasoner.run(RAGGED[:1], read=["thought"], seeds=[seed])["thought"].vectors for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.allclose(one, other, atol=1e-3)


def test_an_edit_at_one_pass_leaves_the_passes_before_it(reasoner):
    def spoil(vectors, visit):
        return vectors * (3.0 if visit.step == 2 else 1.0)

    sites = ["thought", "core.0.hook_resid_pre", "core.1.attn.hook_v"]
    plain = reasoner.run(RAGGED, read=["thought"])
    for site in sites:
        edited = reasoner.run(RAGGED, read=["thought"], edits={site: spoil})
        same = [torch.equal(edited["thought"].at(s), plain["thought"].at(s)) for s in range(N_STEPS)]
        assert same == [True, True, False, False], site
        assert not torch.allclose(edited.first_logits, plain.first_logits)


def test_cached_keys_of_the_last_prompt_position_are_what_speaking_looks_at(reasoner):
    plain = reasoner.run(RAGGED)
    late = reasoner.run(
        RAGGED, edits={"core.1.attn.hook_v": lambda vectors, visit: vectors + 5.0 * (visit.step == N_STEPS - 1)}
    )
    assert not torch.allclose(plain.first_logits, late.first_logits)


def test_a_norm_is_never_applied_twice(reasoner):
    trace = reasoner.run(RAGGED, read=["thought", "thought.normed"])
    raw, normed = trace["thought"].vectors, trace["thought.normed"].vectors
    torch.testing.assert_close(reasoner.unembed(raw), reasoner.unembed(normed, "thought.normed"))
    assert not torch.allclose(reasoner.unembed(normed), reasoner.unembed(normed, "thought.normed"), atol=1e-2)
    for site in ("state_change", "coda_lens", "core.0.attn.hook_k"):
        with pytest.raises(ConfigError, match="reads no vectors of this site"):
            reasoner.unembed(raw, site)


def test_nothing_goes_on_from_what_is_only_computed(reasoner):
    for site in ("state_change", "coda_lens", "thought.normed"):
        with pytest.raises(ConfigError, match=site):
            reasoner.run(RAGGED, edits={site: lambda vectors, visit: vectors})


def test_a_model_built_for_one_number_of_steps_takes_no_other():
    with pytest.raises(ConfigError, match=r"thinking\.steps.*expected 4; found 3"):
        new_reasoner(BuiltForFour, steps=3)
    built = new_reasoner(BuiltForFour)
    assert not built.free_steps
    with pytest.raises(ConfigError, match="built for one number"):
        built.run([replace(RAGGED[0], steps=5)])
    with pytest.raises(LimitExceeded, match="at most 4"):
        new_reasoner(AtMostFour, steps=5)
    with pytest.raises(LimitExceeded, match="at most 4"):
        new_reasoner(AtMostFour).run([replace(RAGGED[0], steps=5)])


def test_passes_take_no_position(reasoner):
    needed = sum(reasoner.positions_needed(RAGGED[0]).values())
    fits = new_reasoner(n_positions=needed)
    fits.run([replace(RAGGED[0], steps=100)])
    with pytest.raises(LimitExceeded, match="more positions"):
        new_reasoner(n_positions=needed - 1).run([RAGGED[0]])


def test_prompts_of_one_length_alone_run_together_without_masks():
    loop = new_reasoner(WithoutMasks)
    masked = new_reasoner()
    assert len({loop.batch_key(problem) for problem in RAGGED}) == 3
    assert {masked.batch_key(problem) for problem in RAGGED} == {0}
    one, other = (r.run(RAGGED, read=["thought"], seeds=[1, 2, 3]) for r in (loop, masked))
    torch.testing.assert_close(one["thought"].vectors, other["thought"].vectors, atol=1e-4, rtol=1e-4)


def test_the_loop_can_be_trained_through():
    model = new_model().requires_grad_(requires_grad=True)
    mask = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]])
    window = model.window(2, 4, mask, DepthCache())
    injected, state = model.enter(torch.tensor([[0, 3, 4, 5], [6, 7, 8, 9]]), window), torch.randn(2, 4, 32)
    for step in range(3):
        state = model.turn(state, injected, window, step)
    model.unembed(model.leave(state, window)).square().mean().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in model.parameters())
    assert all(weight.grad.abs().max() > 0 for name, weight in model.named_parameters() if not name.endswith("k.bias"))


def test_a_folder_comes_back_as_it_was(folder):
    loaded = load_model(str(folder), device="cpu")
    assert (loaded.d_model, loaded.d_vocab, loaded.n_layers) == (32, len(VOCABULARY), 4)
    for name, weight in new_model().state_dict().items():
        assert torch.equal(weight, loaded.reasoner.loop.model.state_dict()[name])
    assert load_model(str(folder), device="cpu", dtype=torch.bfloat16).reasoner.dtype == torch.bfloat16


CONFIGS = {
    "another kind": ({"model_type": "gpt2"}, SchemaError, "field model_type: another kind of model"),
    "unknown key": ({"n_experts": 4}, SchemaError, "field n_experts: n_experts: Extra inputs"),
    "missing key": ({"d_mlp": None}, SchemaError, "field d_mlp: d_mlp: Field required"),
    "wrong type": ({"n_core": "two"}, SchemaError, "field n_core"),
    "zero": ({"n_core": 0}, SchemaError, "field n_core"),
    "odd heads": ({"n_heads": 32}, ConfigError, "field d_model: rotary heads need an even width"),
    "another shape": ({"d_mlp": 40}, SchemaError, r"field .*mlp.*: a weight of another shape.*\(32, 40\).*\(32, 48\)"),
    "fewer blocks": ({"n_core": 1}, SchemaError, r"field core\.1\..*: a weight that this model does not have"),
    "more blocks": ({"n_core": 3}, SchemaError, r"field core\.2\..*: a weight is missing"),
}


@pytest.mark.parametrize("what", CONFIGS)
def test_a_folder_that_does_not_fit_is_refused_by_name(folder, tmp_path, what):
    changed, error, message = CONFIGS[what]
    with pytest.raises(error, match=message):
        load_depth_model(copy_of(folder, tmp_path, **changed))


def test_weights_that_are_cut_off_are_refused(folder, tmp_path):
    weights = copy_of(folder, tmp_path) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CorruptArtifact, match=r"model\.safetensors"):
        load_depth_model(tmp_path)


def recorded():
    """Vectors of seeded tiny weights, of problems of different length in one batch."""
    looped = new_reasoner()
    trace = looped.run(
        RAGGED[:2], read=["thought", "thought.normed", "state_change", "core.1.attn.hook_k"], seeds=[5, 6]
    )
    return {**{site: rows.vectors for site, rows in trace.rows.items()}, "logits": trace.first_logits}


def test_vectors_are_those_that_were_recorded():
    was, now = load_file(RECORDED), recorded()
    assert was.keys() == now.keys()
    for name, vectors in now.items():
        torch.testing.assert_close(
            vectors, was[name], atol=1e-5, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    save_file({name: vectors.contiguous() for name, vectors in recorded().items()}, RECORDED)
