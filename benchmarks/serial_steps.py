"""Do thoughts buy serial steps? `python -m benchmarks.serial_steps [--seeds N --moves K --updates N]`.

A courier follows `K` moves between 13 rooms, more moves than the model has layers, and names the last room. Three
small transformers of one size see the same problems in the same number of updates, under the same curriculum (after `c`
steps the rest of the chain is written as tokens, or the answer is asked for at once; the answer is explained by the
chain). They differ in what is fed at a step: the last hidden state (a thought), the room reached as a token (text), or
always the same token (a pause). Then each is asked for the answer after 0 to K steps, on fresh problems.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks.machine import about_this_machine
from probes import exact_share
from workbench.reasoners.backbones import new_word_gpt2
from workbench.tasks.rooms import MAX_DISTANCE, MOVES, ROOMS, follow

Arm = Literal["thought", "text", "pause"]
ARMS: tuple[Arm, ...] = ("thought", "text", "pause")
WORDS = ("<unk>", *ROOMS, *MOVES, *map(str, range(1, MAX_DISTANCE + 1)), "<bot>", "<eot>", "<pause>")
ID = {word: place for place, word in enumerate(WORDS)}
FIRST_ROOM = ID[ROOMS[0]]
D_MODEL, N_LAYERS, N_HEADS = 64, 2, 4
BATCH, LEARNING_RATE = 128, 4e-3
N_TEST, TEST_SEED = 2000, 2**40
MASTERED, LATEST = 0.9, (0.5, 0.8)
"""A stage ends when this share of rows is right; at the latest, one after the other, between these shares of training.

What cannot be mastered, as with pauses, is thus also trained on every number of steps."""
TABLE = np.array([[[follow(r, move, n + 1) for r in range(len(ROOMS))] for n in range(MAX_DISTANCE)] for move in MOVES])


@dataclass(frozen=True, slots=True)
class Problems:
    """Prompts and the rooms reached after each move, as ids."""

    prompt: Tensor
    chain: Tensor


def draw(n: int, moves: int, generator: np.random.Generator) -> Problems:
    """Fresh problems."""
    room = generator.integers(len(ROOMS), size=n)
    kind, distance = generator.integers(len(MOVES), size=(n, moves)), generator.integers(MAX_DISTANCE, size=(n, moves))
    columns, chain = [room + FIRST_ROOM], []
    for k in range(moves):
        columns += [kind[:, k] + ID[MOVES[0]], distance[:, k] + ID["1"]]
        room = TABLE[kind[:, k], distance[:, k], room]
        chain.append(room + FIRST_ROOM)
    prompt = np.stack([*columns, np.full(n, ID["<bot>"])], 1)
    return Problems(torch.from_numpy(prompt), torch.from_numpy(np.stack(chain, 1)))


class Walker:
    """A model of one arm."""

    def __init__(self, arm: Arm, moves: int, seed: int) -> None:
        self.arm = arm
        self.model: Any = new_word_gpt2(
            WORDS, d_model=D_MODEL, n_layers=N_LAYERS, n_heads=N_HEADS, n_positions=5 * moves + 4, seed=seed
        )[0]

    def steps(self, problems: Problems, n: int, *, teach: bool) -> tuple[Any, Tensor, list[Tensor]]:
        """Cache and last hidden state after the prompt and `n` steps, and the logits of tokens fed as steps."""
        output = self.model.transformer(input_ids=problems.prompt, use_cache=True)
        hidden, written = output.last_hidden_state[:, -1], []
        for k in range(n):
            if self.arm == "thought":
                fed = hidden
            else:
                logits = self.model.lm_head(hidden)
                written.append(logits)
                own = problems.chain[:, k] if teach else logits.argmax(-1)
                token = own if self.arm == "text" else torch.full_like(own, ID["<pause>"])
                fed = self.model.transformer.wte(token)
            output = self.model.transformer(
                inputs_embeds=fed[:, None], past_key_values=output.past_key_values, use_cache=True
            )
            hidden = output.last_hidden_state[:, -1]
        return output.past_key_values, hidden, written

    def speak(self, cache: Any, hidden: Tensor, targets: Tensor) -> Tensor:
        """Logits of the targets, each given those before it."""
        output = self.model.transformer(input_ids=targets[:, :-1], past_key_values=cache)
        logits: Tensor = self.model.lm_head(torch.cat([hidden[:, None], output.last_hidden_state], 1))
        return logits

    def loss(self, problems: Problems, n: int, *, rest: bool) -> tuple[Tensor, float]:
        """After `n` steps: the rest of the chain or nothing, the answer, its explanation: loss, and share right."""
        cache, hidden, written = self.steps(problems, n, teach=True)
        end = torch.full_like(problems.chain[:, :1], ID["<eot>"])
        pieces = [problems.chain[:, n:]] if rest else []
        targets = torch.cat([*pieces, end, problems.chain[:, -1:], problems.chain], 1)
        logits = self.speak(cache, hidden, targets)
        answer = targets.shape[1] - problems.chain.shape[1] - 1
        counted = torch.ones(targets.shape[1])
        counted[answer - 1] = float(rest)  # whether the answer is asked for at once cannot be known
        faultless = (logits.argmax(-1) == targets) | (counted == 0)
        right = faultless[:, : answer + 1].all(1).float().mean()
        if self.arm == "text" and n:
            logits = torch.cat([torch.stack(written, 1), logits], 1)
            targets = torch.cat([problems.chain[:, :n], targets], 1)
            counted = torch.cat([torch.ones(n), counted])
        losses = cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)
        return (losses * counted).sum() / (counted.sum() * len(targets)), float(right)

    @torch.no_grad()
    def right(self, problems: Problems, n: int) -> int:
        """Answers that are right after `n` steps, each fed what the model itself made of the step before."""
        cache, hidden, _ = self.steps(problems, n, teach=False)
        ends = torch.full((len(hidden), 2), ID["<eot>"])
        return int((self.speak(cache, hidden, ends)[:, -1].argmax(-1) == problems.chain[:, -1]).sum())


def train(walker: Walker, *, moves: int, updates: int, seed: int) -> int:
    """Train from scratch; gives the stage reached."""
    weights = list(walker.model.parameters())
    optimizer = torch.optim.AdamW(weights, lr=LEARNING_RATE, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=updates, pct_start=0.1)
    generator = np.random.default_rng(seed)
    stage, mastery = 0, 0.0
    for update in range(updates):
        rest = update % 3 > 0
        n = stage if rest else int(generator.integers(stage + 1))
        loss, right = walker.loss(draw(BATCH, moves, generator), n, rest=rest)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        if rest:
            mastery = 0.9 * mastery + 0.1 * right
        due = LATEST[0] + (LATEST[1] - LATEST[0]) * stage / moves <= update / updates
        if stage < moves and (mastery > MASTERED or due):
            stage, mastery = stage + 1, 0.0
        if update % 250 == 0:
            sys.stderr.write(f"{walker.arm} {seed}: {update}/{updates}, {stage} steps, right {mastery:.2f}\n")
    return stage


def rows(moves: int, updates: int, seed: int) -> Iterator[str]:
    """Lines of the table of one seed."""
    test = draw(N_TEST, moves, np.random.default_rng(TEST_SEED + seed))
    for arm in ARMS:
        walker = Walker(arm, moves, seed)
        train(walker, moves=moves, updates=updates, seed=seed)
        cells = []
        for n in range(moves + 1):
            k = walker.right(test, n)
            interval = exact_share(k, N_TEST)
            cells.append(f"{k / N_TEST:.3f} [{interval.low:.3f}, {interval.high:.3f}]")
        yield f"| {arm} | {seed} | {' | '.join(cells)} |"


def main() -> None:
    """Print the table as Markdown, a line as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--moves", type=int, default=4)
    parser.add_argument("--updates", type=int, default=2500)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    out = sys.stdout
    out.write(f"{about_this_machine('torch', 'transformers')}\n")
    sizes = f"{asked.moves} moves, {N_LAYERS} layers, d = {D_MODEL}, {asked.updates} updates of {BATCH}"
    out.write(f"{sizes}, {N_TEST} problems; a guess is right in {1 / len(ROOMS):.3f}\n\n")
    out.write("| fed at a step | seed | " + " | ".join(f"{n} steps" for n in range(asked.moves + 1)) + " |\n")
    out.write("|" + "---|" * (asked.moves + 3) + "\n")
    for seed in range(asked.first_seed, asked.first_seed + asked.seeds):
        for row in rows(asked.moves, asked.updates, seed):
            out.write(row + "\n")
            out.flush()


if __name__ == "__main__":
    main()
