"""Claims: what the said text states, read with the regular expressions of the recipe."""

from __future__ import annotations

import re
from dataclasses import dataclass

from workbench.reasoners.recipe import Speaking, folded


@dataclass(frozen=True, slots=True)
class Said:
    """A said text and what it states."""

    text: str
    claims: tuple[str, ...]
    """The stated chain, in the order said; empty where none is stated."""
    answer: str | None


def parse_said(text: str, speaking: Speaking) -> Said:
    """Group 1 of `claims`, stripped and split at `separator`, and group 1 of `answer`; paraphrases as their value.

    A group that took no part in the match counts as empty; empty claims are dropped.
    """
    chain, answer = re.search(speaking.claims, text), re.search(speaking.answer, text)
    stated = (chain.group(1) or "").strip() if chain else ""
    pieces = [piece.strip() for piece in stated.split(speaking.separator)]
    meant = {folded(phrase): value for value, phrases in speaking.same.items() for phrase in [value, *phrases]}
    claims = tuple(meant.get(folded(piece), piece) for piece in pieces if piece)
    answered = (answer.group(1) or "").strip() if answer else ""
    return Said(text, claims, meant.get(folded(answered), answered) or None)
