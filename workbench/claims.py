"""Claims: what the said text states, read with the regular expressions of the recipe."""

from __future__ import annotations

import re
from dataclasses import dataclass

from workbench.reasoners.recipe import Speaking


@dataclass(frozen=True, slots=True)
class Said:
    """A said text and what it states."""

    text: str
    claims: tuple[str, ...]
    """The stated chain, in the order said; empty where none is stated."""
    answer: str | None


def parse_said(text: str, speaking: Speaking) -> Said:
    """Group 1 of `claims`, stripped and split at `separator`, and group 1 of `answer`.

    A group that took no part in the match counts as empty; empty claims are dropped.
    """
    chain, answer = re.search(speaking.claims, text), re.search(speaking.answer, text)
    stated = (chain.group(1) or "").strip() if chain else ""
    claims = tuple(piece.strip() for piece in stated.split(speaking.separator) if piece.strip())
    return Said(text, claims, (answer.group(1) or "").strip() or None if answer else None)
