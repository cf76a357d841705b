"""Do reviewers agree? Share of equal labels and Cohen's kappa, for every pair of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from workbench.findings.records import Finding
from workbench.reports.fields import Interval

FIELDS = ("severity", "category", "confidence")


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two reviewers, one label, over the findings that both have labelled."""

    first: str
    second: str
    label: str
    n: int
    share: float
    """Findings that both gave the same."""
    interval: Interval
    """Exact, of the share."""
    kappa: float | None
    """Cohen's: 1 is full agreement, 0 what chance gives; absent where both always gave one and the same."""


def agreements(found: Sequence[Finding]) -> list[Agreement]:
    """A row for every pair of reviewers with a finding in common, and every label."""
    from sklearn.metrics import cohen_kappa_score  # slow to load: only who compares reviewers waits for it

    from probes import exact_share

    standing = [one for one in found if not one.withdrawn]
    authors = sorted({author for one in standing for author in one.labels})
    rows = []
    for first, second in combinations(authors, 2):
        both = [(one.labels[first], one.labels[second]) for one in standing if {first, second} <= one.labels.keys()]
        for label in FIELDS if both else ():
            mine, theirs = ([getattr(pair[k], label) for pair in both] for k in (0, 1))
            same = sum(a == b for a, b in zip(mine, theirs, strict=True))
            interval = exact_share(same, len(both))
            varied = len({*mine, *theirs}) > 1
            rows.append(
                Agreement(
                    first, second, label, len(both), same / len(both),
                    Interval(low=interval.low, high=interval.high),
                    float(cohen_kappa_score(mine, theirs)) if varied else None,
                )
            )  # fmt: skip
    return rows
