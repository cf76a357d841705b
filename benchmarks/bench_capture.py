"""What reading along costs: `python -m benchmarks.bench_capture`.

Ratios to a plain Hugging Face loop with a KV cache on the same weights, paired and interleaved in one run; CPU
seconds of one thread, prefill and latent steps apart. Ranges are the least and the largest ratio over the rounds.
Peers: raw torch hooks; TransformerLens' bridge with hooks and with `run_with_cache`; nnsight where it is installed.
"""

from __future__ import annotations

import copy
import platform
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module

from workbench.organisms.recipes import VOCABULARY, recipe_text
from workbench.reasoners.backbones import Backbone, new_word_gpt2
from workbench.reasoners.feedback import FeedbackReasoner, FeedbackState
from workbench.reasoners.recipe import parse_recipe
from workbench.reasoners.recording import Spoken
from workbench.tasks import Problem

ROUNDS = 9
N_STEPS = 16
N_PROMPT = 64

Seconds = tuple[float, float]
"""CPU seconds of the prefill and of one latent step."""
Variant = Callable[[], Seconds]


@dataclass(frozen=True)
class Shape:
    """A model and a batch."""

    name: str
    d_model: int
    n_layers: int
    n_heads: int
    batch: int
    runs: int
    """Runs of one measurement: small models are over in a moment."""

    @property
    def blocks(self) -> list[str]:
        """Residual sites that the readers read."""
        return [f"blocks.{layer}.hook_resid_post" for layer in range(self.n_layers)]

    @property
    def channel(self) -> list[str]:
        """Keys and values."""
        return [f"blocks.{layer}.attn.hook_{kind}" for layer in range(self.n_layers) for kind in "kv"]


SHAPES = (
    Shape("d=64, 2 layers, batch 1", 64, 2, 4, 1, 20),
    Shape("d=64, 2 layers, batch 64", 64, 2, 4, 64, 4),
    Shape("d=768, 12 layers, batch 1", 768, 12, 12, 1, 2),
    Shape("d=768, 12 layers, batch 64", 768, 12, 12, 64, 1),
)


def timed(prefill: Callable[[], Any], step: Callable[[Any], Any]) -> Seconds:
    """One prefill and all latent steps."""
    started = time.process_time()
    state = prefill()
    prefilled = time.process_time()
    for _ in range(N_STEPS):
        state = step(state)
    return prefilled - started, (time.process_time() - prefilled) / N_STEPS


def plain(model: Any, ids: Tensor) -> Seconds:
    """Coconut as one would write it: prefill, then feed the last hidden state back."""
    return timed(
        lambda: model.transformer(input_ids=ids, use_cache=True),
        lambda out: model.transformer(
            inputs_embeds=out.last_hidden_state[:, -1:], past_key_values=out.past_key_values, use_cache=True
        ),
    )


def raw_hooks(model: Any, ids: Tensor) -> Seconds:
    """The plain loop with a forward hook on every block that keeps what came out."""
    kept: list[Tensor] = []
    handles = [
        block.register_forward_hook(lambda module, args, out: kept.append((out[0] if isinstance(out, tuple) else out)
                                                                          [:, -1].clone()))
        for block in model.transformer.h
    ]  # fmt: skip
    try:
        return plain(model, ids)
    finally:
        for handle in handles:
            handle.remove()


def bridge_hooks(bridge: Any, ids: Tensor, sites: Sequence[str]) -> Seconds:
    """TransformerLens' bridge around the same model, with hooks that keep what passes."""
    kept: list[Tensor] = []
    with bridge.hooks(fwd_hooks=[(site, lambda value, hook: kept.append(value[:, -1].clone())) for site in sites]):
        return plain(bridge.original_model, ids)


def run_with_cache(bridge: Any, ids: Tensor, sites: Sequence[str]) -> Seconds:
    """One `run_with_cache` a step, as a notebook would."""
    final = "ln_final.hook_normalized" if "ln_final.hook_normalized" in bridge.hook_dict else "ln_final.hook_out"
    names = {*sites, final}

    def forward(fed: Tensor, cache: Any) -> tuple[Any, Tensor]:
        with_cache = {} if cache is None else {"past_key_values": cache}
        out, held = bridge.run_with_cache(fed, names_filter=lambda name: name in names, return_type=None, **with_cache)
        return out, held[final][:, -1:]

    from transformers import DynamicCache

    memory = DynamicCache()
    return timed(lambda: forward(ids, memory)[1], lambda thought: forward(thought, memory)[1])


class Timed(FeedbackReasoner):
    """The reasoner's own loop, without speech, with a clock."""

    started = prefilled = 0.0
    taken: Seconds = (0.0, 0.0)

    def begin(self, problems: Sequence[Problem], seeds: Sequence[int]) -> FeedbackState:
        """Start the clock, prefill."""
        self.started = time.process_time()
        state = super().begin(problems, seeds)
        self.prefilled = time.process_time()
        return state

    def speak(self, state: FeedbackState) -> Spoken:
        """Stop the clock, say nothing."""
        self.taken = (self.prefilled - self.started, (time.process_time() - self.prefilled) / N_STEPS)
        n = len(state.seeds)
        return Spoken(("",) * n, ((),) * n, torch.zeros(n, 1))

    def seconds(self, problems: Sequence[Problem], read: Sequence[str]) -> Seconds:
        """Of one run."""
        self.run(problems, read=read, batch_size=len(problems))
        return self.taken


def variants_of(shape: Shape) -> dict[str, Variant]:
    """Everything that is compared, on the same weights and prompts."""
    model, tokenizer = new_word_gpt2(
        VOCABULARY, d_model=shape.d_model, n_layers=shape.n_layers, n_heads=shape.n_heads, n_positions=128, seed=0
    )
    alone, wrapped = copy.deepcopy(model).eval(), copy.deepcopy(model).eval()
    bridge = build_bridge_from_module(wrapped, "GPT2LMHeadModel", hf_config=wrapped.config)
    text = recipe_text().replace("steps = 4", f"steps = {N_STEPS}").replace("max_new_tokens = 7", "max_new_tokens = 1")
    reasoner = Timed(Backbone(model, tokenizer), parse_recipe(text, path="benchmark"))
    words = VOCABULARY[1:14]
    prompts = [" ".join(words[(k + j) % 13] for j in range(N_PROMPT - 1)) for k in range(shape.batch)]
    problems = [Problem(id=str(k), prompt=prompt) for k, prompt in enumerate(prompts)]
    ids = torch.tensor([reasoner.prompt_ids(problem) for problem in problems])
    assert ids.shape[1] == N_PROMPT
    variants: dict[str, Variant] = {
        "plain loop": lambda: plain(alone, ids),
        "raw hooks, residuals": lambda: raw_hooks(alone, ids),
        "workbench, nothing read": lambda: reasoner.seconds(problems, []),
        "workbench, thoughts": lambda: reasoner.seconds(problems, ["thought"]),
        "workbench, thoughts and residuals": lambda: reasoner.seconds(problems, ["thought", *shape.blocks]),
        "workbench, thoughts and channel": lambda: reasoner.seconds(problems, ["thought", *shape.channel]),
        "TransformerLens hooks, residuals": lambda: bridge_hooks(bridge, ids, shape.blocks),
        "run_with_cache, residuals": lambda: run_with_cache(bridge, ids, shape.blocks),
    }
    return variants | nnsight_variants(copy.deepcopy(model).eval(), ids)


def nnsight_variants(model: Any, ids: Tensor) -> dict[str, Variant]:
    """A trace a step that saves every block's output; nothing where nnsight is not installed."""
    try:
        version("nnsight")
    except PackageNotFoundError:
        return {}
    from nnsight import NNsight

    traced = NNsight(model.transformer)

    def forward(**fed: Any) -> Any:
        with traced.trace(use_cache=True, **fed):
            for block in traced.h:
                block.output[0].save()
            out = traced.output.save()
        return out  # noqa: RET504 (nnsight fills it in when its context ends)

    return {
        "nnsight, residuals": lambda: timed(
            lambda: forward(input_ids=ids),
            lambda out: forward(inputs_embeds=out.last_hidden_state[:, -1:], past_key_values=out.past_key_values),
        )
    }


def measure(shape: Shape) -> dict[str, list[Seconds]]:
    """Of every variant in every round; each round runs all of them, one after the other."""
    variants = variants_of(shape)
    seconds: dict[str, list[Seconds]] = {name: [] for name in variants}
    with torch.no_grad():
        for round_ in range(ROUNDS + 1):
            for name, variant in variants.items():
                runs = [variant() for _ in range(shape.runs)]
                if round_:  # the first warms up
                    seconds[name].append((median(a for a, _ in runs), median(b for _, b in runs)))
    return seconds


def ratio(mine: Sequence[Seconds], base: Sequence[Seconds], which: int) -> str:
    """Median and range of paired ratios."""
    ratios = [a[which] / b[which] for a, b in zip(mine, base, strict=True)]
    return f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def main() -> None:
    """Print one table of ratios."""
    torch.set_num_threads(1)
    revision = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    console = Console(width=120)
    console.print(
        f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, torch {version('torch')}, "
        f"transformers {version('transformers')}, transformer-lens {version('transformer-lens')}, "
        f"revision {revision.stdout.strip() or 'unknown'}\n"
        f"{ROUNDS} rounds, prompts of {N_PROMPT} tokens, {N_STEPS} latent steps, one thread; ratios to the plain loop."
    )
    table = Table("shape", "variant", "ms a step", "prefill", "latent step")
    for shape in SHAPES:
        seconds = measure(shape)
        base = seconds["plain loop"]
        for name, mine in seconds.items():
            step = 1000 * median(b for _, b in mine)
            table.add_row(shape.name, name, f"{step:.2f}", ratio(mine, base, 0), ratio(mine, base, 1))
        table.add_section()
    console.print(table)


if __name__ == "__main__":
    main()
