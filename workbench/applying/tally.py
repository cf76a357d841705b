"""How one reader did on a run with what it was asked for, added up shard by shard."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from probes import share_by_group
from workbench.applying.readers import Asked
from workbench.reports.apply_records import Applied
from workbench.reports.fields import Interval


@dataclass(slots=True)
class Tally:
    """What one reader read so far."""

    asked: Asked
    kind: str
    n_read: int = 0
    right: list[bool] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    reads: Counter[str] = field(default_factory=Counter)
    knowns: Counter[str] = field(default_factory=Counter)

    def score(self, read: str, known: str, group: str) -> None:
        """Count a row whose value is known and that nothing was learned from."""
        self.right.append(read == known)
        self.groups.append(group)
        self.reads[read] += 1
        self.knowns[known] += 1

    def applied(self) -> Applied:
        """The scores of all rows that were counted."""
        n, asked = len(self.right), self.asked
        beside: dict[str, Any] = {
            "name": asked.name, "kind": self.kind, "n_read": self.n_read, "shuffled": asked.shuffled,
            "fitted": asked.fitted,
        }  # fmt: skip
        if not n:
            return Applied(n=0, n_groups=0, accuracy=None, interval=None, majority=None, **beside)
        ends = share_by_group(np.array(self.right), self.groups)
        return Applied(
            n=n, n_groups=len(set(self.groups)), accuracy=float(np.mean(self.right)),
            interval=Interval(low=ends.low, high=ends.high), majority=max(self.knowns.values()) / n,
            mismatched=sum(count * self.knowns[read] for read, count in self.reads.items()) / n**2, **beside,
        )  # fmt: skip
