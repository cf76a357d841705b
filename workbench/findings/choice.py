"""Which findings are handed on: all that stand, those of one label, or those that are named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workbench.errors import ConfigError
from workbench.findings.export import standing
from workbench.findings.records import Finding


def name_of(one: Finding) -> str:
    """``PROBLEM@STEP``, or ``PROBLEM`` where the finding is about the whole problem."""
    return one.problem if one.step is None else f"{one.problem}@{one.step}"


def labels_of(found: Sequence[Finding]) -> list[str]:
    """``FIELD=VALUE`` of every label that a reviewer gave to a finding that stands, sorted."""
    return sorted({label for one in standing(found) for label in _labels(one)})


def _labels(one: Finding) -> set[str]:
    return {f"{field}={value}" for labels in one.labels.values() for field, value in labels.model_dump().items()}


@dataclass(frozen=True, slots=True)
class Choice:
    """What to hand on of the findings that stand; everything, unless something is named."""

    label: str | None = None
    """``FIELD=VALUE``: a reviewer's last word on the finding."""
    names: tuple[str, ...] = ()
    """As `name_of` gives them; all if empty."""

    def of(self, found: Sequence[Finding]) -> list[Finding]:
        """The chosen findings, in the order they were pinned.

        Raises:
            ConfigError: a label or a name that no standing finding has, or nothing that has both.
        """
        stand = standing(found)
        if self.label is not None and self.label not in labels_of(stand):
            raise ConfigError(
                "no finding has this label", field="--label", expected=", ".join(labels_of(stand)) or "no label yet",
                found=self.label,
            )  # fmt: skip
        known = [name_of(one) for one in stand]
        if unknown := [name for name in self.names if name not in known]:
            raise ConfigError(
                "no such finding stands", field="--finding", expected=", ".join(known[:8]) or "none is pinned",
                found=", ".join(unknown),
            )  # fmt: skip
        kept = [one for one in stand if self.label is None or self.label in _labels(one)]
        chosen = [one for one in kept if not self.names or name_of(one) in self.names]
        if stand and not chosen:
            raise ConfigError("no finding named has this label", field="--finding", found=", ".join(self.names))
        return chosen

    def arguments(self) -> list[str]:
        """The same choice as words of `workbench report`."""
        label = [] if self.label is None else [f"--label={self.label}"]
        return ["--findings", *label, *(f"--finding={name}" for name in self.names)]
