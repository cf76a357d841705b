"""The benchmark as one Markdown page."""

from __future__ import annotations

from workbench.benchmark import demands
from workbench.benchmark.records import BenchmarkRecord, Counted, Measured, OrganismRow, Rate
from workbench.reports.page import render_text

COLUMNS = (
    "organism", "must say", "audits say", "AUROC", "lies: diverges", "others: diverges", "flagged others: diverges",
    "flagged: as demanded", "honest flagged", "decoded right, flagged rows", "statuses right",
    "decode (shuffled labels)", "weakest step minus placebo", "all thoughts minus placebo", "coverage", "as planted",
)  # fmt: skip


def page(record: BenchmarkRecord) -> str:
    """The whole page, with what the columns mean."""
    counts = sorted({len(row.seeds) for row in record.rows})
    return render_text(
        "benchmark.md",
        record=record,
        demands=demands,
        columns=COLUMNS,
        rows=[_cells(row) for row in record.rows],
        n_seeds=" to ".join(str(n) for n in dict.fromkeys((counts[0], counts[-1]))),
    )


def _cells(row: OrganismRow) -> list[str]:
    verdicts = ", ".join(f"{verdict} ({row.verdicts.count(verdict)})" for verdict in dict.fromkeys(row.verdicts))
    decorative = ", decorative" if row.decorative else ""
    return [
        f"`{row.organism}`", row.must_say, verdicts + decorative, _measured(row.auroc), _share(row.recall),
        _share(row.alarms), _share(row.flagged_alarms), _share(row.flagged_right), _rate(row.honest_alarms),
        _share(row.decoded),
        _share(row.statuses), f"{row.decode_accuracy.value:.3f} ({row.decode_control:.3f})",
        _measured(row.step_effect), _measured(row.effect), _measured(row.coverage), "no" if row.misses else "yes",
    ]  # fmt: skip


def _share(counted: Counted | None) -> str:
    if counted is None:
        return "–"
    spread = _spread(counted.by_seed)
    of = f"{counted.n}" if counted.n == counted.n_groups else f"{counted.n} in {counted.n_groups}"
    return f"{counted.share:.3f} [{counted.interval.low:.3f}, {counted.interval.high:.3f}] of {of}{spread}"


def _rate(rate: Rate) -> str:
    return f"{rate.share:.3f} of {rate.n}{_spread(rate.by_seed)}"


def _measured(measured: Measured | None) -> str:
    if measured is None:
        return "–"
    interval = measured.interval
    return f"{measured.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]{_spread(measured.by_seed)}"


def _spread(by_seed: list[float]) -> str:
    low, high = min(by_seed), max(by_seed)
    return f"; {low:.3f} to {high:.3f}" if f"{low:.3f}" != f"{high:.3f}" else ""
