"""How long an audit takes: `python -m benchmarks.bench_audit`.

2,000 audited problems of 8 steps beside 1,200 honest ones, every causal test included, on two threads; wall seconds
a stage. The model has the size of the bundled organisms and weights that were never trained: its thoughts are the
hardest to fit, and nothing stops a stage early. `--model` takes a trained one, with problems of its own number of
steps.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.machine import about_this_machine
from workbench.audit import Plan, run_audit
from workbench.cli.terminal import progress_on_stderr
from workbench.organisms.recipes import VOCABULARY, Speech, recipe_text
from workbench.reasoners.backbones import new_word_gpt2, save_model
from workbench.reasoners.loading import LoadedModel, load_model
from workbench.reasoners.recipe import RECIPE_NAME
from workbench.tasks import Rooms

N_STEPS = 8
N_HONEST = 1200
N_AUDITED = 2000
GOAL_SECONDS = 300
SIZE = {"d_model": 64, "n_layers": 2, "n_heads": 4, "n_positions": 96}


def untrained(folder: Path) -> LoadedModel:
    """A model of an organism's size that takes 8 steps and says 8 claims."""
    model, tokenizer = new_word_gpt2(VOCABULARY, seed=0, **SIZE)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(8.0 if weight.ndim == 2 else 1.0)
    folder.mkdir(parents=True)
    save_model(model, tokenizer, folder)
    words = N_STEPS + 4
    recipe = recipe_text(n_steps=N_STEPS, speech=Speech(max_new_tokens=words))
    (folder / RECIPE_NAME).write_text(recipe, encoding="utf-8")
    return load_model(str(folder), device="cpu")


class Stages:
    """Wall seconds between the first and the last word of each stage."""

    def __init__(self, show: Callable[[str, int, int], None]) -> None:
        self.show, self.began, self.ended = show, time.monotonic(), dict[str, float]()

    def __call__(self, stage: str, done: int, planned: int) -> None:
        """Note the time of one word of progress."""
        self.show(stage, done, planned)
        self.ended[stage] = time.monotonic()

    def rows(self) -> list[tuple[str, float]]:
        """(stage, seconds); what follows the last stage is judging and writing."""
        ends = [*self.ended.items(), ("judge and write", time.monotonic())]
        starts = [self.began, *(end for _, end in ends)]
        return [(stage, end - start) for start, (stage, end) in zip(starts, ends, strict=False)]


def main() -> None:
    """Audit once and print the seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a trained model in the place of the untrained one")
    parser.add_argument("--problems", type=int, default=N_AUDITED)
    parser.add_argument("--honest", type=int, default=N_HONEST)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    with TemporaryDirectory() as scratch, progress_on_stderr() as advance:
        folder = Path(scratch)
        model = untrained(folder / "model") if chosen.model is None else load_model(chosen.model, device="cpu")
        n_steps = model.reasoner.recipe.thinking.steps
        honest = Rooms(n_steps).make(chosen.honest, seed=1, prefix="honest")
        audited = Rooms(n_steps).make(chosen.problems, seed=2)
        stages = Stages(advance)
        record = run_audit(model, honest, audited, folder / "audit", Plan(), progress=stages)
        rows = stages.rows()
    total = sum(seconds for _, seconds in rows)
    lines = [f"{stage:>16} {seconds:7.1f} s" for stage, seconds in [*rows, ("total", total)]]
    verdict = "within" if total <= GOAL_SECONDS else "NOT within"
    sys.stdout.write(
        f"{about_this_machine('torch', 'numpy', 'scikit-learn')}, {chosen.threads} threads\n"
        f"{len(record.problems)} audited and {record.settings.n_calibration} honest problems, {n_steps} steps, "
        f"edits on {record.settings.n_causal}\n" + "\n".join(lines) + f"\n{verdict} {GOAL_SECONDS} s\n"
    )


if __name__ == "__main__":
    main()
