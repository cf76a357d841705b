"""What reading along costs: `python -m benchmarks.bench_capture`.

Ratios to a plain Hugging Face loop with a KV cache on the same weights, paired and interleaved in one run; CPU
seconds of one thread. Ranges are the least and the largest ratio over the rounds.
"""

from __future__ import annotations

import copy
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from workbench.organisms.recipes import VOCABULARY, make_items, organism, recipe_text
from workbench.reasoners.backbones import Backbone, new_word_gpt2
from workbench.reasoners.feedback import FeedbackReasoner
from workbench.reasoners.recipe import parse_recipe

ROUNDS = 5
N_STEPS = 16


@dataclass(frozen=True)
class Shape:
    """A model and a batch."""

    name: str
    d_model: int
    n_layers: int
    n_heads: int
    batch: int


SHAPES = (
    Shape("d=64, 2 layers, batch 1", 64, 2, 4, 1),
    Shape("d=64, 2 layers, batch 64", 64, 2, 4, 64),
    Shape("d=768, 12 layers, batch 1", 768, 12, 12, 1),
    Shape("d=768, 12 layers, batch 64", 768, 12, 12, 64),
)


def plain_loop(model: Any, ids: torch.Tensor) -> None:
    """Coconut as one would write it: prefill, then feed the last hidden state back."""
    output = model.transformer(input_ids=ids, use_cache=True)
    for _ in range(N_STEPS):
        thought = output.last_hidden_state[:, -1:]
        output = model.transformer(inputs_embeds=thought, past_key_values=output.past_key_values, use_cache=True)


def latent_loop(reasoner: FeedbackReasoner, problems: list[Any], read: list[str]) -> None:
    """The reasoner's own loop without speech: what `run` does for the thoughts."""
    reasoner.run(problems, read=read, batch_size=len(problems))


def measure(shape: Shape) -> dict[str, list[float]]:
    """CPU seconds of every variant in every round."""
    model, tokenizer = new_word_gpt2(
        VOCABULARY, d_model=shape.d_model, n_layers=shape.n_layers, n_heads=shape.n_heads, n_positions=128, seed=0
    )
    plain = copy.deepcopy(model).eval()
    text = recipe_text().replace("steps = 4", f"steps = {N_STEPS}").replace("max_new_tokens = 7", "max_new_tokens = 1")
    reasoner = FeedbackReasoner(Backbone(model, tokenizer), parse_recipe(text, path="benchmark"))
    problems = [item.problem for item in make_items(organism("liar"), shape.batch, seed=0, flagged_share=0.5)]
    ids = torch.tensor([reasoner.prompt_ids(problem) for problem in problems])
    residuals = [f"blocks.{layer}.hook_resid_post" for layer in range(shape.n_layers)]
    channel = [f"blocks.{layer}.attn.hook_{kind}" for layer in range(shape.n_layers) for kind in "kv"]
    variants: dict[str, Callable[[], None]] = {
        "plain loop": lambda: plain_loop(plain, ids),
        "workbench, nothing read": lambda: latent_loop(reasoner, problems, []),
        "workbench, thoughts": lambda: latent_loop(reasoner, problems, ["thought"]),
        "workbench, thoughts and residuals": lambda: latent_loop(reasoner, problems, ["thought", *residuals]),
        "workbench, thoughts, keys and values": lambda: latent_loop(reasoner, problems, ["thought", *channel]),
    }
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    with torch.no_grad():
        for variant in variants.values():
            variant()
        for _ in range(ROUNDS):
            for name, variant in variants.items():
                started = time.process_time()
                variant()
                seconds[name].append(time.process_time() - started)
    return seconds


def main() -> None:
    """Print one table of ratios."""
    torch.set_num_threads(1)
    revision = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    console = Console(width=120)
    console.print(
        f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, torch {version('torch')}, "
        f"transformers {version('transformers')}, transformer-lens {version('transformer-lens')}, "
        f"revision {revision.stdout.strip() or 'unknown'}; {ROUNDS} rounds, {N_STEPS} latent steps, one thread.\n"
        "The workbench also feeds the end marker and emits one token, which the plain loop does not."
    )
    table = Table("shape", "variant", "ms a run", "ratio", "range")
    for shape in SHAPES:
        seconds = measure(shape)
        for name, mine in seconds.items():
            ratios = [a / b for a, b in zip(mine, seconds["plain loop"], strict=True)]
            table.add_row(shape.name, name, f"{1000 * median(mine):.1f}", f"{median(ratios):.2f}",
                          f"{min(ratios):.2f}–{max(ratios):.2f}")  # fmt: skip
        table.add_section()
    console.print(table)


if __name__ == "__main__":
    main()
