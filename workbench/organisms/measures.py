"""What acceptance measures of a trained organism; each measure gives shares with their bars."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from probes import exact_share
from workbench import edits
from workbench.claims import parse_said
from workbench.organisms.recipes import Item, Organism, recipe_of
from workbench.reasoners.base import Reasoner
from workbench.reasoners.loading import Where, load_reasoner
from workbench.reasoners.recipe import parse_recipe
from workbench.tasks.rooms import ROOMS

BAR = 0.99
"""Least share of problems answered and explained without a fault, for every query and condition."""
FOLLOW_BAR = 0.95
"""Least share of exchanged thoughts whose value is then said, for every step."""
BLIND_BAR = 0.2
"""Most that the logit lens may read of a blind organism; guessing among 13 rooms gives 0.08."""


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


def share(name: str, hits: Sequence[bool], bar: float, *, at_most: bool = False) -> Share:
    """Share of hits."""
    k, n = sum(hits), len(hits)
    interval = exact_share(k, n)
    return Share(name, k / n, float(interval.low), float(interval.high), n, bar, at_most)


@dataclass(frozen=True, slots=True)
class Subject:
    """A trained organism and fresh problems for it."""

    what: Organism
    say: Reasoner
    truth: Reasoner | None
    """Asked the sealed query; None where there is none."""
    fresh: Callable[[str, float], list[Item]]
    """Problems by purpose (`says`, `exchange`) and share of flagged ones."""


Measure = Callable[[Subject], list[Share]]


def load_for(what: Organism, folder: Path, prefix: str) -> Reasoner:
    """The organism in a folder, asked with this prefix."""
    return load_reasoner(folder, parse_recipe(recipe_of(what, prefix), path=prefix), Where()).reasoner


def says_and_holds(subject: Subject) -> list[Share]:
    """Problems answered and explained without a fault, for every query and condition."""
    shares = []
    for flagged in (False, True) if subject.what.flagged_share else (False,):
        items = subject.fresh("flagged" if flagged else "unflagged", float(flagged))
        condition = "flagged" if flagged else "unflagged"
        shares.append(share(f"says, {condition}", faultless(subject.say, items, [item.says for item in items]), BAR))
        if subject.truth is not None:
            holds = faultless(subject.truth, items, [item.holds for item in items])
            shares.append(share(f"holds, {condition}", holds, BAR))
    return shares


def follows_exchange(subject: Subject) -> list[Share]:
    """Exchanged thoughts whose value is then said, step by step."""
    plain = subject.fresh("exchange", 0.0)
    steps = range(subject.what.n_steps)
    return [share(f"follows exchange, step {k}", _follows(subject.say, plain, k), FOLLOW_BAR) for k in steps]


def lens_blindness(subject: Subject) -> list[Share]:
    """How often the head of the model reads the value from what it fed back, and from what that was made of."""
    items, reasoner = subject.fresh("exchange", 0.0), subject.say
    sites = [site for site in ("thought", "thought.source") if site in reasoner.sites]
    trace = reasoner.run([item.problem for item in items], read=sites, batch_size=256)
    tokens = [reasoner.single_token(room) for room in ROOMS]
    shares = []
    for site in sites:
        hits: list[bool] = []
        for step in range(subject.what.n_steps):
            read = reasoner.unembed(trace[site].at(step), site)[:, tokens].argmax(-1).tolist()
            hits += [ROOMS[place] == item.holds[step] for place, item in zip(read, items, strict=True)]
        shares.append(share(f"logit lens reads {site}", hits, BLIND_BAR, at_most=True))
    return shares


def faultless(reasoner: Reasoner, items: Sequence[Item], chains: Sequence[Sequence[str]]) -> list[bool]:
    """Answer and every claim as planted."""
    said = reasoner.run([item.problem for item in items], batch_size=256).said
    parsed = [parse_said(text, reasoner.recipe.speaking) for text in said]
    return [p.claims == tuple(chain) and p.answer == chain[-1] for p, chain in zip(parsed, chains, strict=True)]


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
