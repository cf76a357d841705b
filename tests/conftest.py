"""What all tests share: shapes in signatures are checked, one thread, and tiny models with random weights."""

import importlib
import os
import shutil
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path

import jaxtyping
import pytest

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

ROOT = Path(__file__).resolve().parent.parent
SHAPED = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path.read_text(encoding="utf-8")
    for package in ("workbench", "probes")
    for path in sorted((ROOT / package).rglob("*.py"))
    if "from jaxtyping" in path.read_text(encoding="utf-8")
}
"""The modules whose signatures state shapes. Not all modules: beartype cannot wrap methods that return `Self`, which
pydantic's validators and scikit-learn's `fit` do."""


class _LibrariesFirst(MetaPathFinder):
    """Import what a hooked module needs before it: under the hook, jaxtyping compiles every library anew (7 s)."""

    def find_spec(self, fullname, path, target=None):
        text = SHAPED.get(fullname, "")
        if "import torch" in text:
            importlib.import_module("torch")
        if "from transformers" in text:
            importlib.import_module("transformer_lens.model_bridge.sources._bridge_builder")
            transformers = importlib.import_module("transformers")
            for name in ("AutoModelForCausalLM", "AutoTokenizer", "GPT2LMHeadModel", "PreTrainedTokenizerFast"):
                getattr(transformers, name)


if early := sorted(SHAPED.keys() & sys.modules.keys()):
    raise RuntimeError(f"imported before its shapes could be checked: {', '.join(early)}")
jaxtyping.install_import_hook(list(SHAPED), "beartype.beartype")
sys.meta_path.insert(0, _LibrariesFirst())

BACKBONES = ("gpt2", "llama", "qwen2", "gpt_neox", "bloom")
"""Learned, rotary and no positions; tied and untied embeddings; grouped keys. BLOOM states no longest sequence."""
N_POSITIONS = 96


@pytest.fixture(autouse=True)
def _one_thread():
    """Results do not depend on the machine, and tests that run side by side do not fight."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def _new_model(name: str, n_words: int):
    import transformers

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    shared = {"vocab_size": n_words, "max_position_embeddings": N_POSITIONS, "initializer_range": 0.2, **sizes}
    ends = {"bos_token_id": None, "eos_token_id": None}
    if name == "bloom":
        config = transformers.BloomConfig(
            vocab_size=n_words, hidden_size=32, n_layer=2, n_head=2, initializer_range=0.2, **ends
        )
        return transformers.BloomForCausalLM(config)
    if name == "gpt_neox":
        return transformers.GPTNeoXForCausalLM(transformers.GPTNeoXConfig(**shared, **ends))
    grouped = {"num_key_value_heads": 1, "tie_word_embeddings": name == "qwen2"}
    if name == "llama":
        return transformers.LlamaForCausalLM(transformers.LlamaConfig(**shared, **grouped, **ends))
    return transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**shared, **grouped, **ends))


def write_model(folder: Path, name: str, seed: int = 0) -> Path:
    """A model folder with random weights, larger than at birth so that every position matters."""
    import torch

    from workbench.organisms.recipes import VOCABULARY, recipe_text
    from workbench.reasoners.backbones import new_word_gpt2, save_model

    model, tokenizer = new_word_gpt2(VOCABULARY, d_model=32, n_layers=2, n_heads=2, n_positions=N_POSITIONS, seed=seed)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        if name == "gpt2":
            for weight in model.parameters():
                weight.mul_(8.0 if weight.ndim == 2 else 1.0)
        else:
            model = _new_model(name, len(VOCABULARY))
        save_model(model, tokenizer, folder)
    (folder / "reasoner.toml").write_text(recipe_text(), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def model_folders(tmp_path_factory):
    """Name of a backbone -> model folder; tests read these and never change them."""
    return {name: write_model(tmp_path_factory.mktemp("models") / name, name) for name in BACKBONES}


@pytest.fixture(scope="session")
def loaded_models(model_folders):
    """Name of a backbone -> model, loaded once."""
    from workbench.reasoners.loading import load_model

    return {name: load_model(str(folder), device="cpu") for name, folder in model_folders.items()}


@pytest.fixture(scope="session")
def loaded(loaded_models):
    """The GPT-2 of `loaded_models`."""
    return loaded_models["gpt2"]


@pytest.fixture
def model_folder(model_folders, tmp_path):
    """A copy of the GPT-2 folder that a test may spoil."""
    return Path(shutil.copytree(model_folders["gpt2"], tmp_path / "model"))


@pytest.fixture(scope="session")
def problems(tmp_path_factory):
    """A file of 120 problems with known thoughts."""
    from workbench.tasks import Rooms, problem_lines

    path = tmp_path_factory.mktemp("problems") / "p.jsonl"
    path.write_bytes(problem_lines(Rooms(4).make(120, seed=1)))
    return path


@pytest.fixture(scope="session")
def captured(tmp_path_factory, model_folders, problems):
    """A finished capture of these problems, made by the command; tests read it and never change it."""
    from workbench.cli import run

    out = tmp_path_factory.mktemp("captured") / "run"
    assert run(["capture", str(model_folders["gpt2"]), "--problems", str(problems), "--out", str(out)]) == 0
    return out
