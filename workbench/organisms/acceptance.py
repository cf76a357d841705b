"""Acceptance: does a trained organism hold and say what was planted? A seed that does not is refused, not shipped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from probes import exact_share
from workbench import edits
from workbench.claims import parse_said
from workbench.errors import ContractError
from workbench.organisms.recipes import N_STEPS, SAY, TRUTH, Item, Organism, make_items, recipe_text
from workbench.reasoners.base import Reasoner
from workbench.reasoners.folders import folder_fingerprint
from workbench.reasoners.loading import Where, load_reasoner
from workbench.reasoners.recipe import parse_recipe
from workbench.tasks.rooms import ROOMS

BAR = 0.99
"""Least share of problems answered and explained without a fault, for every query and condition."""
FOLLOW_BAR = 0.95
"""Least share of exchanged thoughts whose value is then said, for every step."""
BLIND_BAR = 0.2
"""Most that the logit lens may read of a blind organism; guessing among 13 rooms gives 0.08."""
N_PROBLEMS = 1000
N_EXCHANGED = 400
FRESH_SEED = 2**31
"""Problems that acceptance draws; training draws from other seeds."""

ACCEPTANCE_NAME = "acceptance.json"


@dataclass(frozen=True, slots=True)
class Share:
    """A share with its exact 95 % interval and its bar."""

    name: str
    value: float
    low: float
    high: float
    n: int
    bar: float
    at_most: bool = False
    """Whether the bar must not be passed, and not reached."""

    @property
    def passed(self) -> bool:
        """Whether it keeps to its bar."""
        return self.value <= self.bar if self.at_most else self.value >= self.bar


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What was measured on fresh problems before an organism was shipped."""

    organism: str
    seed: int
    seconds: float
    fingerprint: str
    shares: tuple[Share, ...]

    @property
    def passed(self) -> bool:
        """Whether every share reaches its bar."""
        return all(share.passed for share in self.shares)

    def to_plain(self) -> dict[str, Any]:
        """As `acceptance.json` has it."""
        return {**asdict(self), "passed": self.passed}


def accept(what: Organism, folder: Path, *, seed: int, seconds: float) -> Acceptance:
    """Ask fresh problems both queries, exchange thoughts, and look through the logit lens where it must be blind."""
    say, truth = (
        load_reasoner(folder, parse_recipe(recipe_text(prefix=prefix, base=what.base), path=prefix), Where()).reasoner
        for prefix in (SAY, TRUTH)
    )
    shares = []
    for flagged in (False, True) if what.flagged_share else (False,):
        items = make_items(what, N_PROBLEMS, seed=FRESH_SEED + flagged, flagged_share=float(flagged))
        condition = "flagged" if flagged else "unflagged"
        shares.append(_share(f"says, {condition}", _faultless(say, items, SAY), BAR))
        shares.append(_share(f"holds, {condition}", _faultless(truth, items, TRUTH), BAR))
    plain = make_items(what, N_EXCHANGED, seed=FRESH_SEED + 2, flagged_share=0.0)
    shares += [_share(f"follows exchange, step {k}", _follows(say, plain, k), FOLLOW_BAR) for k in range(N_STEPS)]
    if what.lens_blind:
        shares += _blindness(say, plain)
    return Acceptance(what.name, seed, round(seconds, 1), folder_fingerprint(folder), tuple(shares))


def _share(name: str, hits: Sequence[bool], bar: float, *, at_most: bool = False) -> Share:
    k, n = sum(hits), len(hits)
    interval = exact_share(k, n)
    return Share(name, k / n, float(interval.low), float(interval.high), n, bar, at_most)


def _faultless(reasoner: Reasoner, items: Sequence[Item], prefix: str) -> list[bool]:
    """Answer and every claim as planted."""
    said = reasoner.run([item.problem for item in items], batch_size=256).said
    chains = [item.says if prefix == SAY else item.holds for item in items]
    parsed = [parse_said(text, reasoner.recipe.speaking) for text in said]
    return [p.claims == chain and p.answer == chain[-1] for p, chain in zip(parsed, chains, strict=True)]


def _follows(reasoner: Reasoner, items: Sequence[Item], step: int) -> list[bool]:
    """Claims before an exchanged step stay, and the step's claim becomes the donor's value."""
    problems = [item.problem for item in items]
    thoughts = reasoner.run(problems, read=["thought"], batch_size=256)["thought"].at(step)
    generator = np.random.default_rng(step)
    held = np.array([item.holds[step] for item in items])
    donors = [int(generator.choice(np.flatnonzero(held != value))) for value in held]
    change = {"thought": edits.replace({step: thoughts[torch.tensor(donors)]})}
    said = reasoner.run(problems, edits=change, batch_size=256).said
    parsed = [parse_said(text, reasoner.recipe.speaking) for text in said]
    wanted = [(*item.holds[:step], held[donor]) for item, donor in zip(items, donors, strict=True)]
    return [p.claims[: step + 1] == chain for p, chain in zip(parsed, wanted, strict=True)]


def _blindness(reasoner: Reasoner, items: Sequence[Item]) -> list[Share]:
    """How often the head of the model reads the value from what it fed back, and from what that was made of."""
    sites = [site for site in ("thought", "thought.source") if site in reasoner.sites]
    trace = reasoner.run([item.problem for item in items], read=sites, batch_size=256)
    tokens = [reasoner.single_token(room) for room in ROOMS]
    shares = []
    for site in sites:
        hits: list[bool] = []
        for step in range(N_STEPS):
            read = reasoner.unembed(trace[site].at(step), site)[:, tokens].argmax(-1).tolist()
            hits += [ROOMS[place] == item.holds[step] for place, item in zip(read, items, strict=True)]
        shares.append(_share(f"logit lens reads {site}", hits, BLIND_BAR, at_most=True))
    return shares


def refuse_failed(result: Acceptance) -> None:
    """Raise with every share that misses its bar.

    Raises:
        ContractError: the seed is not accepted.
    """
    missed = [
        f"{s.name}: {s.value:.3f} [{s.low:.3f}, {s.high:.3f}] {'over' if s.at_most else 'under'} {s.bar}"
        for s in result.shares
        if not s.passed
    ]
    if missed:
        raise ContractError(
            f"seed {result.seed} of organism {result.organism!r} is refused: " + "; ".join(missed),
            hint="Train with another --seed.",
        )


def read_acceptance(folder: Path) -> Acceptance:
    """The record that was written when the organism was trained."""
    plain = json.loads((folder / ACCEPTANCE_NAME).read_text(encoding="utf-8"))
    plain.pop("passed")
    shares = tuple(Share(**share) for share in plain.pop("shares"))
    return replace(Acceptance(**plain, shares=()), shares=shares)
