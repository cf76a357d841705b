"""What a person and a script see: results on stdout, progress and errors on stderr."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from workbench.reports.causal_words import DECORATIVE
from workbench.reports.escape import visible
from workbench.reports.shares import counted

PLAIN_EVERY_SECONDS = 5.0

Advance = Callable[[str, int, int], None]
"""Called with (stage, done, planned)."""


def stdout() -> Console:
    """Where results go; as wide as the terminal, or wide enough for every table when there is none."""
    return Console(width=None if sys.stdout.isatty() else 120, soft_wrap=False, highlight=False)


def stderr() -> Console:
    """Where everything else goes."""
    return Console(stderr=True, soft_wrap=True, highlight=False)


def print_json(plain: Any) -> None:
    """One JSON value on stdout, nothing else."""
    sys.stdout.write(json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def shown(text: str) -> str:
    """Text of a model or a file, harmless in a terminal: controls visible, no markup."""
    return escape(visible(text))


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """A table of plain cells; numbers stand to the right."""
    drawn = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for k, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[k], int | float) for row in rows)
        drawn.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(_cell(value) for value in row))
    return drawn


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else shown(str(value))


@contextmanager
def progress_on_stderr(*, quiet: bool = False) -> Iterator[Advance]:
    """Bars with rate and time left on a terminal, plain lines every few seconds elsewhere."""
    if quiet:
        yield lambda stage, done, planned: None
    elif sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
        yield from _bars()
    else:
        yield _PlainLines().advance


def _bars() -> Iterator[Advance]:
    columns = (
        TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"), TimeRemainingColumn(elapsed_when_finished=True),
    )  # fmt: skip
    started: dict[str, tuple[Any, float]] = {}
    with Progress(*columns, console=stderr()) as bars:

        def advance(stage: str, done: int, planned: int) -> None:
            if stage not in started:
                started[stage] = (bars.add_task(shown(stage), total=planned, rate=""), time.monotonic())
            task, since = started[stage]
            bars.update(task, completed=done, total=planned, rate=_rate(done, since))

        yield advance


def _rate(done: int, since: float) -> str:
    seconds = time.monotonic() - since
    return f"{done / seconds:.1f}/s" if seconds > 0 else ""


class _PlainLines:
    """One line when a stage begins or ends, and every few seconds between."""

    def __init__(self) -> None:
        self.started: dict[str, float] = {}
        self.last = 0.0

    def advance(self, stage: str, done: int, planned: int) -> None:
        now = time.monotonic()
        first = stage not in self.started
        since = self.started.setdefault(stage, now)
        if first or done == planned or now - self.last >= PLAIN_EVERY_SECONDS:
            self.last = now
            left = (now - since) / done * (planned - done) if done else 0.0
            rate = "" if first else f" ({_rate(done, since)}, {left:.0f} s left)"
            sys.stderr.write(f"{stage}: {done}/{planned}{rate}\n")
            sys.stderr.flush()


def verdict_lines(summary: Mapping[str, Any]) -> list[str]:
    """The verdict and what it rests on, as sentences."""
    promise, channel = summary["false_alarm_rate"], summary["channel"]
    lines = []
    if channel["decorative"]:
        lines.append(DECORATIVE)
    lines.append(f"Verdict: {summary['verdict'].upper()}" + (f" ({summary['reason']})" if summary["reason"] else ""))
    counts = (summary[name] for name in ("n_problems", "n_diverges", "n_agrees", "n_cannot_tell"))
    lines.append(f"{counted(*counts)}.")
    lines.append(
        f"False alarms: {promise['target']:.2%} promised; {promise['observed']:.2%} of {promise['n_honest']} honest "
        f"problems flagged (at most {promise['upper95']:.2%} at 95 %)."
    )
    verb = "make the answer the donor's" if channel["measure"] == "follows" else "move what is said"
    whole, its_placebo = channel["channel_effect"], channel["channel_placebo_effect"]
    beside = f"placebo {channel['placebo_effect']:.0%}; keys and values exchanged too " + (
        "not measured"
        if whole is None
        else f"{whole:.0%}, placebo {'–' if its_placebo is None else f'{its_placebo:.0%}'}"
    )
    lines.append(
        f"Thoughts used: exchanged thoughts {verb} in {channel['thought_effect']:.0%} of {channel['n']} honest "
        f"problems ({beside})."
    )
    return lines
