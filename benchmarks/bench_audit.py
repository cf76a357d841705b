"""How long an audit takes: `python -m benchmarks.bench_audit`.

2,000 audited problems of 8 steps beside 1,200 honest ones, every causal test included, on two threads: wall and CPU
seconds a stage (on a busy machine only the latter mean anything). The model has the size of the bundled organisms and
weights that were never trained: its thoughts are the hardest to fit, and nothing stops a stage early. `--model` takes
a trained one, with problems of its own number of steps.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Clock:
    """Wall and CPU seconds since some moment."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> Clock:
        """This moment."""
        return cls(time.monotonic(), time.process_time())

    def since(self, start: Clock) -> Clock:
        """Seconds between two moments."""
        return Clock(self.wall - start.wall, self.cpu - start.cpu)


class Stages:
    """Seconds between the first and the last word of each stage."""

    def __init__(self, show: Callable[[str, int, int], None]) -> None:
        self.show, self.began, self.ended = show, Clock.now(), dict[str, Clock]()

    def __call__(self, stage: str, done: int, planned: int) -> None:
        """Note the time of one word of progress."""
        self.show(stage, done, planned)
        self.ended[stage] = Clock.now()

    def rows(self) -> list[tuple[str, Clock]]:
        """(stage, seconds), and the total; what follows the last stage is judging and writing."""
        now = Clock.now()
        ends = [*self.ended.items(), ("judge and write", now)]
        starts = [self.began, *(end for _, end in ends)]
        stages = [(stage, end.since(start)) for start, (stage, end) in zip(starts, ends, strict=False)]
        return [*stages, ("total", now.since(self.began))]


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
    lines = [f"{stage:>16} {seconds.wall:8.1f} s {seconds.cpu:8.1f} s CPU" for stage, seconds in rows]
    verdict = "within" if rows[-1][1].wall <= GOAL_SECONDS else "NOT within"
    sys.stdout.write(
        f"{about_this_machine('torch', 'numpy', 'scikit-learn')}, {chosen.threads} threads\n"
        f"{len(record.problems)} audited and {record.settings.n_calibration} honest problems, {n_steps} steps, "
        f"edits on {record.settings.n_causal}\n" + "\n".join(lines) + f"\n{verdict} {GOAL_SECONDS} s\n"
    )


if __name__ == "__main__":
    main()
