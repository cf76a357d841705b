"""The least rate at which a model still says the same: codes tried on its thoughts, coarse ones first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from probes import Interval, group_bootstrap, share_by_group
from workbench.bits.bench import Bench
from workbench.bits.known import CONFIRM, SEARCH
from workbench.reports.bandwidth_records import CodeRecord, SweepRecord, TriedRecord, UsedRecord
from workbench.reports.fields import Interval as IntervalRecord

EXPONENTS = (1, 0, -1, -2, -3, -4, -5, -6)
"""Widths of scalar codes, powers of 2 of the first component's deviation, coarse to fine."""
REFINED_TO = 1 / 16
"""Words of the least vector code are found to this share of their number."""


@dataclass(slots=True)
class _Search:
    """Codes tried on the thoughts of one step or of all."""

    bench: Bench
    step: int | None
    allowed: float
    tried: dict[CodeRecord, TriedRecord] = field(default_factory=dict)

    def keeps(self, what: CodeRecord) -> bool:
        """Whether the said text changes for no more problems than allowed."""
        if what not in self.tried:
            heard = self.bench.hear(what, self.step, SEARCH)
            self.tried[what] = TriedRecord(
                **what.model_dump(), bits=float(heard.bits.mean()), changed=float(heard.changed.mean())
            )
        return self.tried[what].changed <= self.allowed

    def vector(self) -> None:
        """Twice as many words until what is said stays, then as few of them as will do."""
        most, words = self.bench.n_fit, 1
        while not self.keeps(_words(words)):
            if words >= most:
                return
            words = min(2 * words, most)
        enough, too_few = words, words // 2
        while enough - too_few > max(1, REFINED_TO * enough):
            middle = (enough + too_few) // 2
            enough, too_few = (middle, too_few) if self.keeps(_words(middle)) else (enough, middle)

    def named(self) -> None:
        """The value that a probe reads, where values are known."""
        n_values = self.bench.n_values(self.step)
        if n_values is not None:
            self.keeps(CodeRecord(kind="named", words=n_values))

    def scalar(self) -> None:
        """For each rank, the coarsest width that will do, if the finest does."""
        for rank in doublings(self.bench.rank(self.step)):
            finest = len(EXPONENTS) - 1
            if not self.keeps(_rounded(rank, EXPONENTS[finest])):
                continue
            enough, too_coarse = finest, -1
            while enough - too_coarse > 1:
                middle = (enough + too_coarse) // 2
                good = self.keeps(_rounded(rank, EXPONENTS[middle]))
                enough, too_coarse = (middle, too_coarse) if good else (enough, middle)

    def kept(self) -> list[TriedRecord]:
        """Codes that keep what is said, least rate first."""
        return sorted((one for one in self.tried.values() if one.changed <= self.allowed), key=lambda one: one.bits)


def _words(n: int) -> CodeRecord:
    return CodeRecord(kind="vector", words=n)


def _rounded(rank: int, exponent: int) -> CodeRecord:
    return CodeRecord(kind="scalar", rank=rank, width=2.0**exponent)


def doublings(most: int) -> Iterator[int]:
    """1, 2, 4, ... and `most` itself."""
    n = 1
    while n < most:
        yield n
        n *= 2
    if most:
        yield most


def sweep(bench: Bench, step: int | None, numbers: int, *, allowed: float) -> SweepRecord:
    """Search the least rate on some problems and measure the code found on others."""
    search = _Search(bench, step, allowed)
    search.keeps(_words(1))
    search.vector()
    search.named()
    search.scalar()
    kept = search.kept()
    ranks = [one.rank for one in kept if one.rank is not None]
    return SweepRecord(
        step=step,
        numbers=numbers,
        erased=search.tried[_words(1)].changed,
        used=_confirmed(bench, kept[0], step, allowed) if kept else None,
        least_vector=min((one.bits for one in kept if one.kind == "vector"), default=None),
        named=min((one.bits for one in kept if one.kind == "named"), default=None),
        least_scalar=min((one.bits for one in kept if one.kind == "scalar"), default=None),
        least_rank=min(ranks, default=None),
        tried=sorted(
            search.tried.values(), key=lambda one: (one.kind, one.words or 0, one.rank or 0, -(one.width or 0))
        ),
    )


def _confirmed(bench: Bench, found: TriedRecord, step: int | None, allowed: float) -> UsedRecord:
    what = CodeRecord(kind=found.kind, words=found.words, rank=found.rank, width=found.width)
    heard = bench.hear(what, step, CONFIRM)
    groups = [bench.sides.groups[place] for place in bench.measured[CONFIRM]]
    mean = float(heard.bits.mean())
    bits = group_bootstrap(heard.bits, groups, seed=bench.seed, bounds=(0.0, max(mean, float(heard.bits.max()))))
    changed = share_by_group(heard.changed, groups)
    return UsedRecord(
        **what.model_dump(),
        bits=mean,
        interval=_record(bits),
        changed=float(heard.changed.mean()),
        changed_interval=_record(changed),
        answers_changed=None if heard.answers_changed is None else float(heard.answers_changed.mean()),
        n=len(heard.changed),
        n_groups=len(set(groups)),
        holds=float(heard.changed.mean()) <= allowed,
    )


def _record(interval: Interval) -> IntervalRecord:
    return IntervalRecord(low=interval.low, high=interval.high)
