"""Tiny model folders with seeded weights: transformers' HRM-Text, and stand-ins for Huginn's and Ouro's code."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from standins.huginn.raven_config_minimal import RavenConfig
from standins.huginn.raven_modeling_minimal import RavenForCausalLM
from standins.ouro.configuration_ouro import OuroConfig
from standins.ouro.modeling_ouro import OuroForCausalLM
from transformers import HrmTextConfig, HrmTextForCausalLM

from workbench.organisms.recipes import VOCABULARY
from workbench.reasoners.backbones import new_word_gpt2

N_STEPS = {"hrm-text": 2, "huginn": 4, "ouro": 4}
"""Steps of the recipe; HRM-Text has as many as high cycles, Ouro at most so many."""
L_CYCLES = 3
FILES = {"huginn": ("raven_config_minimal", "raven_modeling_minimal"), "ouro": ("configuration_ouro", "modeling_ouro")}
CLASSES = {"huginn": ("RavenConfig", "RavenForCausalLM"), "ouro": ("OuroConfig", "OuroForCausalLM")}
RECIPE = """schema = 1
family = "recurrent"
preset = "{preset}"
[thinking]
steps = {steps}
[speaking]
max_new_tokens = 3
claims = '(x)'
answer = '(x)'
"""


def new_model(preset):
    """A model whose every weight matters."""
    size = {"vocab_size": len(VOCABULARY)}
    with torch.random.fork_rng(devices=[]):
        if preset == "hrm-text":
            model = HrmTextForCausalLM(
                HrmTextConfig(
                    **size, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
                    head_dim=16, max_position_embeddings=64, H_cycles=N_STEPS[preset], L_cycles=L_CYCLES,
                    initializer_range=0.2,
                )
            )  # fmt: skip
        else:
            model = RavenForCausalLM(RavenConfig(**size)) if preset == "huginn" else OuroForCausalLM(OuroConfig(**size))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            drawn = torch.randn(weight.shape, generator=generator)
            weight.copy_(0.2 * drawn if weight.ndim > 1 else 1 + 0.3 * drawn)
    return model.eval()


def write_folder(preset, folder: Path, *, steps=None):
    """Weights, configuration, tokenizer, recipe, and the code where it is remote."""
    folder.mkdir(parents=True, exist_ok=True)
    model = new_model(preset)
    stored = {name: weight.contiguous() for name, weight in model.state_dict().items()}
    config = {**model.config.to_dict(), "architectures": [type(model).__name__]}
    if preset in FILES:
        if preset == "huginn":
            del stored["lm_head.weight"]
        for name in FILES[preset]:
            shutil.copy(Path(__file__).parent / "standins" / preset / f"{name}.py", folder)
        named = [f"{file}.{kind}" for file, kind in zip(FILES[preset], CLASSES[preset], strict=True)]
        config["auto_map"] = dict(zip(("AutoConfig", "AutoModelForCausalLM"), named, strict=True))
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    new_word_gpt2(VOCABULARY, d_model=8, n_layers=1, n_heads=1, n_positions=8, seed=0)[1].save_pretrained(folder)
    (folder / "reasoner.toml").write_text(
        RECIPE.format(preset=preset, steps=N_STEPS[preset] if steps is None else steps), encoding="utf-8"
    )
    return folder
