"""Checkpoint layouts: planted weights are found under every name, LoRA is merged as by hand, the rest is refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from workbench.errors import ConfigError, CorruptArtifact, DataQuality, SchemaError
from workbench.reasoners.backbones import load_backbone
from workbench.reasoners.checkpoints import open_checkpoint
from workbench.reasoners.loading import load_model
from workbench.tasks import Problem

MODEL = "model.safetensors"
N_WORDS, N_NEW, D, ALPHA, RANK = 33, 3, 32, 12.0, 4
EMBEDDINGS = {
    "gpt2": ("transformer.wte.weight", "lm_head.weight"),
    "llama": ("model.embed_tokens.weight", "lm_head.weight"),
    "qwen2": ("model.embed_tokens.weight", "lm_head.weight"),
    "gpt_neox": ("gpt_neox.embed_in.weight", "embed_out.weight"),
}
ADAPTED = {
    "gpt2": ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"),
    "llama": ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj", "gate_proj"),
    "qwen2": ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj", "gate_proj"),
    "gpt_neox": ("query_key_value", "dense"),
}
"""What CODI's training adapts."""


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def grown(folder, name):
    """Weights of a plain folder with three rows more, under the names that older versions stored them by."""
    weights = load_file(folder / MODEL)
    inputs, outputs = EMBEDDINGS[name]
    if name == "gpt_neox" and "lm_head.weight" in weights:
        weights[outputs] = weights.pop("lm_head.weight")
    for seed, key in enumerate({inputs, outputs} & weights.keys()):
        weights[key] = torch.cat([weights[key], drawn(N_NEW, D, seed=seed)])
    weights.setdefault(outputs, weights[inputs].clone())
    return weights


def as_coconut(weights, name):
    stored = {f"base_causallm.{key}": weight for key, weight in weights.items()}
    return stored | {"embedding.weight": weights[EMBEDDINGS[name][0]].clone()}


def as_codi(weights, *, normed=True):
    stored = {f"codi.{key}": weight for key, weight in weights.items()}
    return stored | projection_keys(normed=normed)


def projection_keys(*, normed=True, d_hidden=48):
    shapes = {"1.weight": (d_hidden, D), "1.bias": (d_hidden,), "3.weight": (D, d_hidden), "3.bias": (D,)}
    shapes |= {"ln.weight": (D,), "ln.bias": (D,)} if normed else {}
    return {f"prj.{key}": drawn(*shape, seed=k) for k, (key, shape) in enumerate(shapes.items())}


def as_lora(weights, name):
    """The names that peft gives to a model with LoRA layers, and the weights that these amount to."""
    stored, merged = {}, dict(weights)
    for key, weight in weights.items():
        module, _, part = key.rpartition(".")
        if not module.endswith(ADAPTED[name]):
            stored[f"codi.base_model.model.{key}"] = weight
            continue
        stored[f"codi.base_model.model.{module}.base_layer.{part}"] = weight
        if part == "weight":
            d_in, d_out = weight.shape if name == "gpt2" else weight.shape[::-1]
            low, high = 0.3 * drawn(RANK, d_in, seed=1), 0.3 * drawn(d_out, RANK, seed=2)
            stored[f"codi.base_model.model.{module}.lora_A.default.weight"] = low
            stored[f"codi.base_model.model.{module}.lora_B.default.weight"] = high
            by_input = torch.einsum("r i, o r -> i o", low, high) * 3.0  # alpha 12, rank 4
            merged[key] = weight + (by_input if name == "gpt2" else by_input.T)
    return stored | projection_keys(), merged


def stored_as(folder, weights, **recipe):
    """Put other weights in place of a folder's, and other lines in its recipe."""
    save_file({key: weight.contiguous().clone() for key, weight in weights.items()}, folder / MODEL, {"format": "pt"})
    path = folder / "reasoner.toml"
    text = path.read_text().replace('preset = "coconut"', f'preset = "{recipe.get("preset", "coconut")}"')
    path.write_text(text + (f"\n[checkpoint]\nlora_alpha = {recipe['alpha']}\n" if "alpha" in recipe else ""))
    return folder


def held(backbone, name):
    """The weights that a backbone holds, under the names of `grown`."""
    weights = dict(backbone.model.state_dict())
    if name == "gpt_neox" and "lm_head.weight" in weights:
        weights["embed_out.weight"] = weights.pop("lm_head.weight")
    return weights


@pytest.fixture
def folder_of(model_folders, tmp_path):
    """A copy of a plain folder of some backbone."""
    return lambda name: Path(shutil.copytree(model_folders[name], tmp_path / name))


def refusal(folder, kind, **settings):
    with pytest.raises(kind) as caught:
        load_backbone(folder, **settings)
    return caught.value


# What is found.


@pytest.mark.parametrize("name", EMBEDDINGS)
@pytest.mark.parametrize("layout", ["coconut", "codi"])
def test_weights_are_found_under_their_prefix_and_the_embedding_decides_the_vocabulary(folder_of, name, layout):
    folder = folder_of(name)
    weights = grown(folder, name)
    stored_as(folder, as_coconut(weights, name) if layout == "coconut" else as_codi(weights))
    assert json.loads((folder / "config.json").read_text())["vocab_size"] == N_WORDS
    assert open_checkpoint(folder).layout == layout
    backbone = load_backbone(folder)
    found = held(backbone, name)
    assert backbone.d_vocab == backbone.model.config.vocab_size == N_WORDS + N_NEW
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[key], weights[key]) for key in weights)
    assert (backbone.projection is None) == (layout == "coconut")
    ids = torch.tensor([[5, 7, N_WORDS + 2]])
    assert backbone.unembed(backbone.forward_ids(ids).hidden).shape == (1, 3, N_WORDS + N_NEW)


@pytest.mark.parametrize("name", ADAPTED)
def test_lora_layers_are_merged_as_by_hand(folder_of, name):
    folder = folder_of(name)
    weights = grown(folder, name)
    stored, merged = as_lora(weights, name)
    changed = [key for key in merged if not torch.equal(merged[key], weights[key])]
    assert len(changed) == 2 * len(ADAPTED[name])
    stored_as(folder, stored)
    assert len(open_checkpoint(folder).lora) == len(changed)
    found = held(load_backbone(folder, lora_alpha=ALPHA), name)
    assert found.keys() == merged.keys()
    for key in merged:
        torch.testing.assert_close(found[key], merged[key], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "module"), [("gpt2", "transformer.h.1.attn.c_proj"), ("llama", "model.layers.1.self_attn.o_proj")]
)
def test_one_number_of_a_square_lora_layer_lands_where_its_kind_of_layer_keeps_it(folder_of, name, module):
    """From input 3 to output 5: row 5 of a Linear, column 5 of a Conv1D. The shapes alone do not tell."""
    folder = folder_of(name)
    weights = {f"codi.base_model.model.{key}": weight for key, weight in grown(folder, name).items()}
    key = f"codi.base_model.model.{module}"
    before = weights.pop(f"{key}.weight")
    low, high = torch.zeros(2, D), torch.zeros(D, 2)
    low[1, 3], high[5, 1] = 1.0, 1.0
    adapter = {
        f"{key}.base_layer.weight": before,
        f"{key}.lora_A.default.weight": low,
        f"{key}.lora_B.default.weight": high,
    }
    if name == "gpt2":
        adapter[f"{key}.base_layer.bias"] = weights.pop(f"{key}.bias")
    backbone = load_backbone(stored_as(folder, weights | adapter), lora_alpha=16.0)
    moved = backbone.model.get_submodule(module).weight - before
    place = (3, 5) if name == "gpt2" else (5, 3)
    assert moved[place] == pytest.approx(8.0, abs=1e-5)
    moved[place] = 0.0
    assert torch.all(moved == 0.0)


@pytest.mark.parametrize("normed", [True, False])
def test_the_projection_is_linear_gelu_linear_and_a_norm_where_there_was_one(folder_of, normed):
    folder = folder_of("gpt2")
    keys = projection_keys(normed=normed)
    backbone = load_backbone(stored_as(folder, as_codi(grown(folder, "gpt2"), normed=normed)))
    thought = drawn(5, D, seed=9)
    first = thought @ keys["prj.1.weight"].T + keys["prj.1.bias"]
    bent = first * 0.5 * (1.0 + torch.erf(first / 2**0.5))
    expected = bent @ keys["prj.3.weight"].T + keys["prj.3.bias"]
    if normed:
        centred = expected - expected.mean(-1, keepdim=True)
        expected = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        expected = expected * keys["prj.ln.weight"] + keys["prj.ln.bias"]
    torch.testing.assert_close(backbone.projection(thought), expected, rtol=1e-4, atol=1e-4)


def test_sim_cots_decoder_is_left_out_and_named(folder_of):
    folder = folder_of("gpt2")
    weights = grown(folder, "gpt2")
    decoder = {f"expainable_llm.{key}": drawn(2) for key in weights}
    stored_as(folder, as_coconut(weights, "gpt2") | decoder)
    checkpoint = open_checkpoint(folder)
    assert (checkpoint.layout, checkpoint.left_out) == ("coconut", tuple(sorted(decoder)))
    alone = {f"decoder.{key}": drawn(2) for key in weights} | {"pj_in.weight": drawn(2), "pj_out.U": drawn(2)}
    stored_as(folder, as_codi(weights) | alone)
    checkpoint = open_checkpoint(folder)
    assert (checkpoint.layout, checkpoint.left_out) == ("codi", tuple(sorted(alone)))
    assert torch.equal(held(load_backbone(folder), "gpt2")["lm_head.weight"], weights["lm_head.weight"])


def test_shards_masks_of_older_versions_and_a_missing_first_copy(folder_of):
    folder = folder_of("gpt_neox")
    weights = grown(folder, "gpt_neox")
    stored = as_coconut(weights, "gpt_neox")
    del stored["base_causallm.gpt_neox.embed_in.weight"]  # some savers keep one copy of what is shared
    for layer in range(2):
        inside = f"base_causallm.gpt_neox.layers.{layer}.attention"
        stored |= {
            f"{inside}.bias": torch.ones(1, 1, 8, 8, dtype=torch.bool),
            f"{inside}.masked_bias": torch.tensor(-1e9),
        }
        stored[f"{inside}.rotary_emb.inv_freq"] = torch.ones(8)
    places = {key: f"model-{k % 2}.safetensors" for k, key in enumerate(sorted(stored))}
    for file in set(places.values()):
        save_file({key: stored[key].clone() for key in stored if places[key] == file}, folder / file)
    (folder / MODEL).unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    found = held(load_backbone(folder), "gpt_neox")
    assert all(torch.equal(found[key], weights[key]) for key in weights)


def test_weights_of_another_type_are_cast_after_the_merge(folder_of):
    folder = folder_of("gpt2")
    stored, merged = as_lora(grown(folder, "gpt2"), "gpt2")
    stored_as(folder, {key: weight.bfloat16() for key, weight in stored.items()})
    whole, half = (load_backbone(folder, lora_alpha=ALPHA, dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
    assert {weight.dtype for weight in whole.model.parameters()} == {torch.float32}
    assert {weight.dtype for weight in half.model.parameters()} == {torch.bfloat16}
    assert (whole.projection[1].weight.dtype, half.projection[1].weight.dtype) == (torch.float32, torch.bfloat16)
    key = "transformer.h.0.mlp.c_fc.weight"
    torch.testing.assert_close(held(whole, "gpt2")[key], merged[key], rtol=0.02, atol=0.02)
    assert torch.equal(held(half, "gpt2")[key], held(whole, "gpt2")[key].bfloat16())


def test_a_reasoner_takes_the_scale_from_its_recipe(folder_of):
    folder = folder_of("gpt2")
    stored, merged = as_lora(grown(folder, "gpt2"), "gpt2")
    loaded = load_model(str(stored_as(folder, stored, preset="codi", alpha=ALPHA)), device="cpu")
    assert loaded.d_vocab == N_WORDS + N_NEW
    key = "transformer.h.1.attn.c_attn.weight"
    torch.testing.assert_close(held(loaded.reasoner.backbone, "gpt2")[key], merged[key], rtol=1e-5, atol=1e-5)
    assert loaded.reasoner.run([Problem(id="p", prompt="start atrium")]).first_logits.shape == (1, N_WORDS + N_NEW)


# What is refused.


def test_lora_without_its_scale(folder_of):
    folder = folder_of("gpt2")
    stored_as(folder, as_lora(grown(folder, "gpt2"), "gpt2")[0], preset="codi")
    with pytest.raises(ConfigError, match="scale is not stored") as caught:
        load_model(str(folder), device="cpu")
    assert (caught.value.field, caught.value.path) == ("checkpoint.lora_alpha", str(folder / "reasoner.toml"))


C_FC = "codi.base_model.model.transformer.h.0.mlp.c_fc"


@pytest.mark.parametrize("part", ["base_layer.weight", "lora_A.default.weight", "lora_B.default.weight"])
def test_a_lora_layer_that_is_not_whole(folder_of, part):
    folder = folder_of("gpt2")
    stored, _ = as_lora(grown(folder, "gpt2"), "gpt2")
    del stored[f"{C_FC}.{part}"]
    error = refusal(stored_as(folder, stored), SchemaError, lora_alpha=ALPHA)
    assert "not whole" in error.message
    assert error.field.startswith(C_FC)
    assert error.path == str(folder / MODEL)


def test_a_lora_layer_that_does_not_fit(folder_of):
    folder = folder_of("gpt2")
    stored, _ = as_lora(grown(folder, "gpt2"), "gpt2")
    for shape in ((RANK, D + 1), (RANK + 1, D), (RANK,)):
        stored[f"{C_FC}.lora_A.default.weight"] = drawn(*shape)
        error = refusal(stored_as(folder, stored), SchemaError, lora_alpha=ALPHA)
        assert error.field == f"{C_FC}.lora_A.default.weight"
        assert "A [" in error.found


@pytest.mark.parametrize(
    "key",
    [
        "base_causallm.transformer.h.0.extra.weight",
        "embedding.bias",
        "somewhere.else",
        "optimizer.state",
        "base_causallm.transformer.h.0.attn.c_attn.lora_A.default.weight",
    ],
)
def test_a_key_that_coconut_does_not_have(folder_of, key):
    folder = folder_of("gpt2")
    stored = as_coconut(grown(folder, "gpt2"), "gpt2") | {key: drawn(2)}
    error = refusal(stored_as(folder, stored), SchemaError)
    assert key.removeprefix("base_causallm.") in error.found
    assert "base_causallm" in error.expected
    assert error.path == str(folder)


@pytest.mark.parametrize(
    "key",
    [
        f"{C_FC}.lora_A.other.weight",
        f"{C_FC}.lora_magnitude_vector.default.weight",
        "codi.base_model.model.lm_head.modules_to_save.default.weight",
        "codi.transformer.h.0.mlp.c_fc.weight",
        "prj.5.weight",
        "embedding.weight",
        "expainable_llm.lm_head.weight",
    ],
)
def test_a_key_that_codi_does_not_have(folder_of, key):
    folder = folder_of("gpt2")
    stored = as_lora(grown(folder, "gpt2"), "gpt2")[0] | {key: drawn(2)}
    assert key.removeprefix("codi.") in refusal(stored_as(folder, stored), SchemaError, lora_alpha=ALPHA).found


def test_keys_of_two_layouts_and_of_none(folder_of):
    folder = folder_of("gpt2")
    weights = grown(folder, "gpt2")
    error = refusal(stored_as(folder, as_coconut(weights, "gpt2") | as_codi(weights)), SchemaError)
    assert "more than one layout" in error.message
    error = refusal(stored_as(folder, {f"wrapped.{key}": weight for key, weight in weights.items()}), SchemaError)
    assert "known layout" in error.message
    assert all(name in error.expected for name in ("Hugging Face", "base_causallm", "codi", "SIM-CoT"))
    assert "wrapped.lm_head.weight" in error.found
    assert f"and {len(weights) - 5} more" in error.found


def test_a_second_embedding_that_differs(folder_of):
    folder = folder_of("gpt2")
    stored = as_coconut(grown(folder, "gpt2"), "gpt2")
    stored["embedding.weight"][4, 4] += 1.0
    error = refusal(stored_as(folder, stored), DataQuality)
    assert (error.field, error.path) == ("embedding.weight", str(folder / MODEL))
    assert "base_causallm.transformer.wte.weight" in error.message
    stored["embedding.weight"] = drawn(N_WORDS, D)
    assert refusal(stored_as(folder, stored), DataQuality).field == "embedding.weight"


def test_weights_that_are_missing_or_of_another_shape(folder_of):
    folder = folder_of("gpt2")
    weights = grown(folder, "gpt2")
    name = "transformer.h.1.mlp.c_fc.weight"
    stored = as_coconut(weights, "gpt2")
    whole = stored.pop(f"base_causallm.{name}")
    error = refusal(stored_as(folder, stored), SchemaError)
    assert (error.field, error.path) == (name, str(folder / MODEL))
    stored[f"base_causallm.{name}"] = whole[:5]
    error = refusal(stored_as(folder, stored), SchemaError)
    assert (error.field, error.expected, error.found) == (f"base_causallm.{name}", [32, 128], [5, 128])
    stored = as_coconut(weights, "gpt2")
    stored["base_causallm.lm_head.weight"] = stored["base_causallm.lm_head.weight"][:N_WORDS]
    assert refusal(stored_as(folder, stored), SchemaError).field == "base_causallm.lm_head.weight"


@pytest.mark.parametrize("part", ["1.weight", "1.bias", "3.bias", "ln.weight", "ln.bias"])
def test_a_projection_that_lacks_a_weight_or_does_not_fit(folder_of, part):
    folder = folder_of("gpt2")
    stored = as_codi(grown(folder, "gpt2"))
    whole = stored.pop(f"prj.{part}")
    error = refusal(stored_as(folder, stored), SchemaError)
    assert (error.field, error.path) == (f"prj.{part}", str(folder / MODEL))
    stored[f"prj.{part}"] = torch.cat([whole, whole])
    assert refusal(stored_as(folder, stored), SchemaError).field.startswith("prj.")


def test_a_key_in_two_shards_and_a_shard_that_is_cut_off(folder_of):
    folder = folder_of("gpt2")
    stored = as_coconut(grown(folder, "gpt2"), "gpt2")
    (folder / MODEL).unlink()
    for file in ("a.safetensors", "b.safetensors"):
        save_file(stored, folder / file)
    places = {key: f"{'ab'[k % 2]}.safetensors" for k, key in enumerate(stored)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    error = refusal(folder, SchemaError)
    assert error.path == str(folder / "b.safetensors")
    assert "a.safetensors" in error.message
    (folder / "b.safetensors").write_bytes((folder / "b.safetensors").read_bytes()[:-50])
    assert refusal(folder, CorruptArtifact).path == str(folder / "b.safetensors")
