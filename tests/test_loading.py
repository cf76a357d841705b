"""Model folders that do not fit, or that would run code: the right error with its path, and nothing is executed."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from workbench.errors import (
    ConfigError,
    CorruptArtifact,
    IntegrityError,
    LimitExceeded,
    SchemaError,
    UntrustedFormat,
    WorkbenchError,
)
from workbench.organisms import ORGANISMS
from workbench.reasoners.loading import choose_device, load_model
from workbench.tasks import Problem

MODEL = "model.safetensors"
INDEX = "model.safetensors.index.json"


class Canary:
    """Unpickling this writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def edit_json(path, change):
    plain = json.loads(path.read_text())
    change(plain)
    path.write_text(json.dumps(plain))


def edit_config(folder, **values):
    edit_json(folder / "config.json", lambda plain: plain.update(values))


def edit_weights(folder, change):
    tensors = load_file(folder / MODEL)
    change(tensors)
    save_file(tensors, folder / MODEL, metadata={"format": "pt"})


def refused(folder) -> WorkbenchError:
    with pytest.raises(WorkbenchError) as caught:
        load_model(str(folder), device="cpu")
    assert caught.value.path is not None
    assert caught.value.path.startswith(str(folder))
    assert str(folder) in str(caught.value)
    return caught.value


def test_a_good_folder_loads(model_folder):
    model = load_model(str(model_folder), device="cpu")
    assert (model.n_layers, model.d_model, model.d_vocab) == (2, 32, 33)
    assert model.source == str(model_folder)


def test_weights_in_several_files_load_alike(model_folder):
    problems = [Problem(id="p", prompt="start atrium")]
    before = load_model(str(model_folder), device="cpu").reasoner.run(problems).first_logits
    tensors = load_file(model_folder / MODEL)
    places = {name: f"model-{k % 2}.safetensors" for k, name in enumerate(tensors)}
    for file in set(places.values()):
        save_file({n: t for n, t in tensors.items() if places[n] == file}, model_folder / file, {"format": "pt"})
    (model_folder / MODEL).unlink()
    (model_folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))
    after = load_model(str(model_folder), device="cpu").reasoner.run(problems).first_logits
    assert torch.allclose(after, before, atol=1e-5)


# What decides what the model does is in its fingerprint.


def test_the_fingerprint_changes_with_every_file_that_decides(model_folder):
    seen = {load_model(str(model_folder), device="cpu").fingerprint}
    edits = {
        "reasoner.toml": lambda text: text.replace("steps = 4", "steps = 3"),
        "config.json": lambda text: text + "\n",
        "tokenizer_config.json": lambda text: text + "\n",
        "tokenizer.json": lambda text: text + "\n",
    }
    for name, edit in edits.items():
        (model_folder / name).write_text(edit((model_folder / name).read_text()))
        seen.add(load_model(str(model_folder), device="cpu").fingerprint)
    edit_weights(model_folder, lambda tensors: tensors["transformer.ln_f.bias"].add_(1.0))
    seen.add(load_model(str(model_folder), device="cpu").fingerprint)
    assert len(seen) == 6
    (model_folder / "README.md").write_text("a word to people")
    seen.add(load_model(str(model_folder), device="cpu").fingerprint)
    assert len(seen) == 6


def test_a_copy_has_the_same_fingerprint(model_folders, model_folder):
    one, other = (load_model(str(folder), device="cpu") for folder in (model_folders["gpt2"], model_folder))
    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize("name", ["llama", "qwen2", "gpt_neox"])
def test_the_tokenizer_is_the_one_of_the_file(loaded_models, name):
    """transformers puts Qwen's own tokenizer in the place of any other: words were dropped without a sound."""
    backbone = loaded_models[name].reasoner.backbone
    assert backbone.coder.text(backbone.coder.token_ids("start atrium ; east 2")) == "start atrium ; east 2"
    assert len(backbone.coder.token_ids("start atrium ; east 2")) == 5


# Missing and damaged files.


def test_a_missing_folder(tmp_path):
    error = refused(tmp_path / "nowhere")
    assert isinstance(error, SchemaError)
    assert "no such model folder" in error.message
    (tmp_path / "file").write_text("x")
    assert "no such model folder" in refused(tmp_path / "file").message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("config.json", "no such file"),
        (MODEL, "no weights in the model folder"),
        ("tokenizer.json", "no tokenizer in the model folder"),
        ("reasoner.toml", "has no reasoner.toml"),
    ],
)
def test_a_missing_file(model_folder, name, message):
    (model_folder / name).unlink()
    error = refused(model_folder)
    assert isinstance(error, SchemaError)
    assert message in error.message
    assert name in str(error)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"])
@pytest.mark.parametrize("content", [b"", b"not json", b"[]", b"{", b"\xff\xfe", b'{"a": 1, "a": 2}', b"[" * 100_000])
def test_json_files_that_hold_something_else(model_folder, name, content):
    (model_folder / name).write_bytes(content)
    assert isinstance(refused(model_folder), SchemaError)


@pytest.mark.parametrize("left", [0, 4, 8, 9, 100, 20_000, -1])
def test_cut_off_weights(model_folder, left):
    (model_folder / MODEL).write_bytes((model_folder / MODEL).read_bytes()[:left])
    error = refused(model_folder)
    assert isinstance(error, CorruptArtifact)
    assert error.path.endswith(MODEL)


def test_appended_bytes_are_not_weights(model_folder):
    (model_folder / MODEL).write_bytes((model_folder / MODEL).read_bytes() + b"more")
    assert isinstance(refused(model_folder), CorruptArtifact)


def test_a_header_of_absurd_length(model_folder):
    (model_folder / MODEL).write_bytes((2**63).to_bytes(8, "little") + b'{"a": 1}')
    assert isinstance(refused(model_folder), IntegrityError)


def test_a_missing_tensor_is_named(model_folder):
    edit_weights(model_folder, lambda tensors: tensors.pop("transformer.h.1.mlp.c_fc.weight"))
    error = refused(model_folder)
    assert isinstance(error, SchemaError)
    assert (error.field, error.path) == ("transformer.h.1.mlp.c_fc.weight", str(model_folder / MODEL))


def test_a_tensor_of_another_shape(model_folder):
    name = "transformer.h.0.attn.c_attn.weight"
    edit_weights(model_folder, lambda tensors: tensors.update({name: tensors[name][:5].clone()}))
    assert isinstance(refused(model_folder), SchemaError)


@pytest.mark.parametrize(
    "values",
    [
        {"n_layer": "two"},
        {"n_head": 0},
        {"n_head": 3},
        {"n_embd": -1},
        {"n_embd": 64},
        {"n_layer": 3},
        {"model_type": "nope"},
        {"model_type": "t5"},
        {"model_type": "bert"},
        {"model_type": 7},
        {"activation_function": "nope"},
        {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}},
        {"tie_word_embeddings": "x"},
    ],
    ids=str,
)
def test_configurations_that_do_not_fit(model_folder, values):
    edit_config(model_folder, **values)
    assert isinstance(refused(model_folder), SchemaError | ConfigError)


def test_a_model_that_transformer_lens_cannot_adapt(model_folder):
    from transformers import CTRLConfig, CTRLLMHeadModel

    tiny = CTRLConfig(vocab_size=33, n_embd=8, n_layer=1, n_head=1, dff=8)
    CTRLLMHeadModel(tiny).save_pretrained(model_folder)
    error = refused(model_folder)
    assert isinstance(error, ConfigError)
    assert "no adapter for CTRLLMHeadModel" in error.message


def test_a_vocabulary_of_0(model_folder):
    def empty(plain):
        plain["model"]["vocab"] = {}
        plain["added_tokens"] = []

    edit_json(model_folder / "tokenizer.json", empty)
    assert isinstance(refused(model_folder), SchemaError | ConfigError)
    edit_json(model_folder / "tokenizer_config.json", lambda plain: plain.pop("unk_token"))
    error = refused(model_folder)
    assert isinstance(error, ConfigError)
    assert error.field == "tokenizer"
    assert "vocabulary of 0" in error.message


def test_a_vocabulary_larger_than_the_model(model_folder):
    edit_json(model_folder / "tokenizer.json", lambda plain: plain["model"]["vocab"].update(zebra=33))
    error = refused(model_folder)
    assert isinstance(error, ConfigError)
    assert (error.field, error.expected, error.found) == ("vocab_size", 33, 34)


def test_recipes_that_the_model_cannot_take(model_folder):
    recipe = model_folder / "reasoner.toml"
    good = recipe.read_text()
    recipe.write_text(good.replace("steps = 4", "steps = 89"))
    error = refused(model_folder)
    assert isinstance(error, LimitExceeded)
    assert (error.path, error.field) == (str(recipe), "thinking.steps")
    recipe.write_text(good.replace('stop = "<eos>"', 'stop = " "'))
    error = refused(model_folder)
    assert isinstance(error, ConfigError)
    assert (error.path, error.field) == (str(recipe), "speaking.stop")


# Files that could run code.


@pytest.mark.parametrize("name", ["pytorch_model.bin", "weights.pt", "model.pth", "model.pkl", "last.ckpt"])
def test_pickled_weights_alone_are_refused_unread(model_folder, tmp_path, name):
    (model_folder / MODEL).unlink()
    torch.save({"weights": Canary(tmp_path / "canary")}, model_folder / name)
    error = refused(model_folder)
    assert isinstance(error, UntrustedFormat)
    assert error.path == str(model_folder / name)
    assert "save_pretrained" in error.hint
    assert not (tmp_path / "canary").exists()


def test_pickled_weights_beside_safetensors_are_left_alone(model_folder, tmp_path):
    torch.save({"weights": Canary(tmp_path / "canary")}, model_folder / "pytorch_model.bin")
    assert load_model(str(model_folder), device="cpu").d_model == 32
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_under_the_name_of_safetensors(model_folder, tmp_path, zipped):
    torch.save(Canary(tmp_path / "canary"), model_folder / MODEL, _use_new_zipfile_serialization=zipped)
    error = refused(model_folder)
    assert isinstance(error, UntrustedFormat)
    assert error.path == str(model_folder / MODEL)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("hidden", ["plain tensors", "canary"])
def test_an_index_that_names_a_pickle(model_folder, tmp_path, hidden):
    tensors = load_file(model_folder / MODEL)
    torch.save(tensors if hidden == "plain tensors" else Canary(tmp_path / "canary"), model_folder / "weights.bin")
    (model_folder / MODEL).unlink()
    (model_folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": dict.fromkeys(tensors, "weights.bin")}))
    error = refused(model_folder)
    assert isinstance(error, UntrustedFormat)
    assert (error.path, error.field, error.found) == (str(model_folder / INDEX), "weight_map", "weights.bin")
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("place", ["../other.safetensors", "sub/other.safetensors", "{absolute}"])
def test_an_index_that_points_out_of_the_folder(model_folder, tmp_path, place):
    tensors = load_file(model_folder / MODEL)
    (model_folder / "sub").mkdir()
    for target in (tmp_path / "other.safetensors", model_folder / "sub" / "other.safetensors"):
        shutil.copyfile(model_folder / MODEL, target)
    (model_folder / MODEL).unlink()
    place = place.format(absolute=tmp_path / "other.safetensors")
    (model_folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": dict.fromkeys(tensors, place)}))
    error = refused(model_folder)
    assert isinstance(error, UntrustedFormat)
    assert error.found == place


@pytest.mark.parametrize("plain", [[], {}, {"weight_map": {}}, {"weight_map": []}, {"weight_map": {"a": 1}}], ids=str)
def test_an_index_that_is_none(model_folder, plain):
    (model_folder / MODEL).unlink()
    (model_folder / INDEX).write_text(json.dumps(plain))
    assert isinstance(refused(model_folder), SchemaError)
    (model_folder / INDEX).write_text(json.dumps({"weight_map": {"a": "gone.safetensors"}}))
    assert refused(model_folder).path.endswith("gone.safetensors")


CODE = {
    "config.json": [
        {"auto_map": {"AutoModelForCausalLM": "evil.Evil"}},
        {"text_config": {"auto_map": {"AutoModelForCausalLM": "evil.Evil"}}},
        {"parts": [{"auto_map": {"AutoConfig": "evil.Evil"}}]},
        {"attn_implementation": "someone/kernel"},
        {"_attn_implementation": "someone/kernel:evil"},
        {"attn_implementation": {"text": "someone/kernel"}},
    ],
    "tokenizer_config.json": [
        {"auto_map": {"AutoTokenizer": ["evil.Evil", None]}, "tokenizer_class": "Evil"},
        {"auto_map": ["evil.Evil", None]},
    ],
    "generation_config.json": [{"custom_generate": "someone/decoder"}],
}


@pytest.mark.parametrize(("name", "values"), [(n, v) for n, cases in CODE.items() for v in cases], ids=str)
def test_configurations_that_ask_for_code(model_folder, tmp_path, name, values):
    (model_folder / "evil.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')\n")
    edit_json(model_folder / name, lambda plain: plain.update(values))
    error = refused(model_folder)
    assert isinstance(error, UntrustedFormat)
    assert error.path == str(model_folder / name)
    assert not (tmp_path / "canary").exists()


def test_an_adapter_is_refused(model_folder):
    (model_folder / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/else"}')
    error = refused(model_folder)
    assert isinstance(error, UntrustedFormat)
    assert "merge" in error.hint


# Names of models and devices.


def test_an_unknown_organism_names_the_known():
    with pytest.raises(ConfigError, match="no organism 'nobody'") as caught:
        load_model("organism:nobody")
    assert all(name in str(caught.value) for name in ORGANISMS)


def test_devices():
    assert choose_device("cpu") == "cpu"
    assert choose_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no such accelerator"):
            choose_device("cuda:1")


@pytest.mark.parametrize("device", ["banana", "", "cpu:x", "-1", "meta"])
def test_a_device_that_torch_does_not_know(model_folder, device):
    with pytest.raises(ConfigError) as caught:
        load_model(str(model_folder), device=device)
    assert caught.value.field == "device"
