"""Problems with known intermediate values."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workbench.errors import SchemaError

Value = str | tuple[str, ...] | None
"""What a thought is known to hold: one value, a set of values, or nothing known."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One item: what is asked, and where known, what must be thought on the way.

    `condition` and `meta` are for tables only: no score may look at them.
    """

    id: str
    prompt: str
    group: str = ""
    """Related problems share a group and stay on one side of every split (default: the id)."""
    thoughts: tuple[Value, ...] | None = None
    """Intermediate values, one per step."""
    answer: str | None = None
    condition: str | None = None
    steps: int | None = None
    """Latent steps for this problem, else the recipe's number."""
    writes: tuple[str, ...] = ()
    """Earlier episodes whose vectors a memory reasoner keeps."""
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.id:
            raise SchemaError("a problem needs an id", field="id")
        if not self.group:
            object.__setattr__(self, "group", self.id)

    def to_plain(self) -> dict[str, Any]:
        """The problem as one JSON line has it; what is not set is left out."""
        plain: dict[str, Any] = {"id": self.id, "prompt": self.prompt, "group": self.group}
        if self.thoughts is not None:
            plain["thoughts"] = [list(value) if isinstance(value, tuple) else value for value in self.thoughts]
        for name in ("answer", "condition", "steps"):
            if getattr(self, name) is not None:
                plain[name] = getattr(self, name)
        if self.writes:
            plain["writes"] = list(self.writes)
        if self.meta:
            plain["meta"] = dict(self.meta)
        return plain


def plain_prompt(problem: Mapping[str, Any]) -> str:
    """All that a model is given, earlier episodes first: Unicode composed, runs of white space as one."""
    pieces = [*problem.get("writes", ()), problem["prompt"]]
    return "\n".join(" ".join(unicodedata.normalize("NFC", piece).split()) for piece in pieces)


def shown_prompt(problem: Mapping[str, Any]) -> str:
    """The prompt as tables show it: the earlier episodes of a memory before it."""
    return " / ".join([*problem.get("writes", ()), problem["prompt"]])
