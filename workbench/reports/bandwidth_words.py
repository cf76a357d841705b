"""A bandwidth measurement in sentences and rows: what stands on the page and on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from workbench.figures.words import number
from workbench.reports.bandwidth_records import (
    BandwidthRecord,
    ChainRecord,
    CodeRecord,
    DecodableRecord,
    SweepRecord,
)
from workbench.reports.fields import Interval
from workbench.reports.shares import share, span

LARGE_VOCABULARY = 100_000
LARGE_TOKEN_BITS = 16.6
"""log2 of a vocabulary of 100,000, the figure that thoughts are usually compared with."""

COLUMNS = (
    "thoughts", "container", "decodable", "95 % interval", "shuffled", "label entropy", "used, at most",
    "95 % interval", "said text changes", "code",
)  # fmt: skip


def bits_range(interval: Interval) -> str:
    """Both ends, bits."""
    return f"{interval.low:.2f} to {interval.high:.2f}"


def code_words(code: CodeRecord) -> str:
    """A code in words."""
    if code.kind == "named":
        return f"value read, of {code.words}"
    if code.kind == "vector":
        return "one word for all" if code.words == 1 else f"{code.words} words"
    return f"rank {code.rank}, width {number(code.width)}"


def _row(
    record: BandwidthRecord, name: str, read: DecodableRecord | ChainRecord | None, sweep: SweepRecord | None,
    numbers: int,
) -> tuple[str, ...]:  # fmt: skip
    told = ("–",) * 4 if read is None else (
        f"{read.bits:.2f}", bits_range(read.interval), f"{read.shuffled:.2f}", f"{read.entropy:.2f}",
    )  # fmt: skip
    used = None if sweep is None else sweep.used
    sent = ("not tried" if sweep is None else "no code tried will do", "–", "–", "–") if used is None else (
        f"{used.bits:.2f}", bits_range(used.interval),
        f"{share(used.changed)} ({span(used.changed_interval)}, n = {used.n})", code_words(used),
    )  # fmt: skip
    return (name, f"{record.container_bits(numbers):,}", *told, *sent)


def bits_rows(record: BandwidthRecord) -> list[tuple[str, ...]]:
    """One row for each step, and one for all of them; the columns are `COLUMNS`."""
    rows = [_row(record, f"step {row.step}", row.decodable, row.sweep, row.numbers) for row in record.steps]
    return [*rows, _row(record, "all steps", record.chain, record.whole, record.whole.numbers)]


SHORT_COLUMNS = ("thoughts", "container", "decodable (95 %)", "shuffled", "used, at most (95 %)", "said text changes")


def short_rows(record: BandwidthRecord) -> list[tuple[str, ...]]:
    """The same numbers in fewer columns, for a terminal; the columns are `SHORT_COLUMNS`."""
    rows: list[tuple[str, ...]] = []
    for name, container, bits, interval, shuffled, _, used, span_used, changed, _ in bits_rows(record):
        rows.append((name, container, _beside(bits, interval), shuffled, _beside(used, span_used), changed))
    return rows


def _beside(value: str, ends: str) -> str:
    return value if ends == "–" else f"{value} ({ends})"


def headline(record: BandwidthRecord) -> str:
    """The finding in one sentence."""
    whole, n = record.whole, len(record.steps)
    container = record.container_bits(whole.numbers)
    if whole.used is None:
        return f"Of {container:,} bits in {n} thoughts, no code that was tried keeps what is said."
    if whole.used.bits < 0.5 / max(1, n) and whole.erased <= record.settings.changed_at_most:
        return f"Of {container:,} bits in {n} thoughts, none is used: one fixed vector says the same."
    per = whole.used.bits / n
    return (
        f"Of {container:,} bits in {n} thoughts, {whole.used.bits:.1f} are enough to say the same "
        f"({share(whole.used.changed)} of said texts change, up to {share(whole.used.changed_interval.high)}): "
        f"{per:.2f} a thought, {container / n / max(per, 1e-9):,.0f} times fewer than it could hold; "
        f"a token of this model takes {record.token_bits:.1f}, one of a vocabulary of 100,000 takes {LARGE_TOKEN_BITS}."
    )


def notices(record: BandwidthRecord) -> Iterator[str]:
    """What limits the numbers, gravest first."""
    if record.rerun_changed:
        yield (
            f"Without any edit, {share(record.rerun_changed)} of said texts differ between two runs: "
            "changes below that mean nothing."
        )
    broken = [
        f"{name} ({share(sweep.used.changed)}, up to {share(sweep.used.changed_interval.high)})"
        for name, sweep in _sweeps(record)
        if sweep.used is not None and not sweep.used.holds
    ]
    if broken:
        yield f"On problems of its own the code found changes more than was allowed: {', '.join(broken)}."
    none = [name for name, sweep in _sweeps(record) if sweep.used is None]
    if none:
        yield f"No code that was tried keeps what is said: {', '.join(none)}. More problems may help."
    if record.labels in ("said", "mixed"):
        yield "Known values are what the model says, where problems do not tell them: read as trusted, not as truth."
    if record.labels == "none":
        yield "No value is known of any thought: nothing could be decoded."
    if record.whole.used is not None and record.whole.used.bits > record.problem_bits:
        yield (
            f"Naming one of the problems measured takes {record.problem_bits:.1f} bits: so many problems cannot show "
            "that more is needed, only that the code found takes more."
        )


def _sweeps(record: BandwidthRecord) -> Sequence[tuple[str, SweepRecord]]:
    steps = [(f"step {row.step}", row.sweep) for row in record.steps if row.sweep is not None]
    return [*steps, ("all steps", record.whole)]
