"""Tiny reasoners of every preset of the feedback and tokens families, with seeded random weights."""

import torch
import transformers
from torch import nn

from workbench.reasoners.backbones import Backbone, new_word_gpt2
from workbench.reasoners.feedback import FeedbackReasoner
from workbench.reasoners.recipe import parse_recipe
from workbench.tasks import Problem

BACKBONES = ("gpt2", "llama")
D_MODEL, N_LAYERS = 32, 2
WORDS = ("<unk>", *(f"w{n}" for n in range(1, 28)), "[", "]", "plan", "check", "say", "now", "<stop>")
END = WORDS.index("]")
PROBLEMS = [
    Problem(id="short", prompt="w3"),
    Problem(id="long", prompt="w7 w1 w9 w22 w5 w5"),
    Problem(id="middle", prompt="w11 w2 w27"),
]

AGENTS = """[agents]
realign = {realign}
thinkers = [{{name = "planner", prompt = "plan {{prompt}}"}}, {{name = "critic", prompt = "check {{prompt}} now"}}]
speaker = {{name = "judge", prompt = "say {{prompt}}"}}
"""
TABLES = {
    "coconut": "",
    "codi": "",
    "sim-cot": "",
    "soft-thinking": "[soft_tokens]\ntop_k = 12\ntop_p = 0.9\nmax_topk = 6\n",
    "soft-thinking gumbel": '[soft_tokens]\nmax_topk = 6\nnoise = "gumbel"\nnoise_scale = 0.5\n',
    "soft-thinking dirichlet": '[soft_tokens]\nmax_topk = 6\nnoise = "dirichlet"\nnoise_scale = 5.0\n',
    "latent-mas": AGENTS.format(realign="false"),
    "latent-mas realigned": AGENTS.format(realign="true"),
    "cot": "",
}
"""Preset, and what is varied of it -> its own table of the recipe."""
STOPPING = tuple(kind for kind in TABLES if kind.split()[0] in ("soft-thinking", "cot"))
TRANSFORMING = tuple(kind for kind in TABLES if kind != "coconut")


def recipe(kind, *, steps=3, end="]", table=None):
    """The recipe of a preset; speaks one token, as no check is about more."""
    preset = kind.split()[0]
    text = f"""schema = 1
family = "{"tokens" if preset == "cot" else "feedback"}"
preset = "{preset}"
[thinking]
steps = {steps}
begin = "["
end = "{end}"
[speaking]
prefix = "now"
max_new_tokens = 1
claims = '(w)'
answer = '(w)'
{TABLES[kind] if table is None else table}"""
    return parse_recipe(text, path="reasoner.toml")


def model_and_tokenizer(name):
    """Weights large enough that every position and every thought matters."""
    model, tokenizer = new_word_gpt2(WORDS, d_model=D_MODEL, n_layers=N_LAYERS, n_heads=4, n_positions=96, seed=3)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(3)
        if name == "llama":
            config = transformers.LlamaConfig(
                vocab_size=len(WORDS), hidden_size=D_MODEL, num_hidden_layers=N_LAYERS, num_attention_heads=4,
                num_key_value_heads=2, intermediate_size=64, max_position_embeddings=96, tie_word_embeddings=False,
                bos_token_id=None, eos_token_id=None,
            )  # fmt: skip
            model = transformers.LlamaForCausalLM(config)
        for weight in model.parameters():
            weight.copy_(0.2 * torch.randn(weight.shape) + (1.0 if weight.ndim == 1 else 0.0))
    return model, tokenizer


def projection():
    """What stands between a thought's source and the next input in CODI."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return nn.Sequential(nn.Linear(D_MODEL, 48), nn.GELU(), nn.Linear(48, D_MODEL), nn.LayerNorm(D_MODEL))


def make_reasoner(kind, name="gpt2", *, dtype=torch.float32, cls=FeedbackReasoner, **settings):
    """A reasoner of a preset on a backbone of its own; SIM-CoT comes with a projection, as when trained from CODI."""
    model, tokenizer = model_and_tokenizer(name)
    projects = kind in ("codi", "sim-cot")
    backbone = Backbone(model.to(dtype), tokenizer, projection().to(dtype) if projects else None)
    return cls(backbone, recipe(kind, **settings))
