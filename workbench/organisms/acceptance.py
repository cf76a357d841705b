"""Acceptance: does a trained organism hold and say what was planted? A seed that does not is refused, not shipped."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from workbench.errors import ContractError
from workbench.organisms.kinds import KINDS, make_items
from workbench.organisms.measures import Share, Subject, load_for
from workbench.organisms.recipes import Item, Organism
from workbench.reasoners.folders import folder_fingerprint

N_PROBLEMS = 1000
N_EXCHANGED = 400
FRESH_SEED = 2**31
"""Problems that acceptance draws; training draws from other seeds."""

ACCEPTANCE_NAME = "acceptance.json"


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


def accept(
    what: Organism, folder: Path, *, seed: int, seconds: float, n_problems: int = N_PROBLEMS,
    n_exchanged: int = N_EXCHANGED, fresh_seed: int = FRESH_SEED,
) -> Acceptance:  # fmt: skip
    """Measure on fresh problems what the organism's kind says must be measured."""
    speech = what.speech
    seeds = {"unflagged": 0, "flagged": 1, "exchange": 2}

    def fresh(purpose: str, flagged_share: float) -> list[Item]:
        n = n_exchanged if purpose == "exchange" else n_problems
        return make_items(what, n, seed=fresh_seed + seeds[purpose], flagged_share=flagged_share)

    truth = None if speech.truth is None else load_for(what, folder, speech.truth)
    subject = Subject(what, load_for(what, folder, speech.say), truth, fresh)
    shares = [one for measure in KINDS[what.kind].measures for one in measure(subject)]
    return Acceptance(what.name, seed, round(seconds, 1), folder_fingerprint(folder), tuple(shares))


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
