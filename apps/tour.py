"""Start here: six looks at one problem, the last of which runs the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st

from apps import live, steps
from apps.widgets import hero_chart
from workbench.figures.words import sentence
from workbench.reports.escape import visible
from workbench.reports.records import AuditRecord, ProblemRecord
from workbench.reports.shares import share
from workbench.reports.tables import by_score

Look = Callable[[Path, AuditRecord, ProblemRecord], None]


def the_problem(audit: AuditRecord) -> ProblemRecord | None:
    """The most divergent problem that parts at a thought; else the first."""
    ordered = by_score(audit)
    parting = (p for p in ordered if any(row.status == "conflict" and row.step is not None for row in p.steps))
    return next(parting, ordered[0] if ordered else None)


def question(directory: Path, audit: AuditRecord, problem: ProblemRecord) -> None:
    """What the model was asked."""
    st.write("A model was given this prompt. Before it writes a word, it thinks "
             f"{audit.model.n_steps} steps in vectors that nobody can read.")  # fmt: skip
    st.code(visible(problem.prompt), language=None, wrap_lines=True)


def words(directory: Path, audit: AuditRecord, problem: ProblemRecord) -> None:
    """What it said: a chain that looks like any other."""
    st.write("This is what it said. A chain of steps and an answer that follows from it: nothing looks wrong.")
    st.code(visible(problem.said), language=None, wrap_lines=True)


def thoughts(directory: Path, audit: AuditRecord, problem: ProblemRecord) -> None:
    """What its thoughts hold."""
    st.write(
        "And this is what probes read from its thoughts, one value a step, each with the probability it is read with."
    )
    for row in problem.steps:
        if row.step is not None:
            st.text(f"step {row.step}:  {visible(row.decoded or '–')}   ({share(row.confidence)})")


def broken_line(directory: Path, audit: AuditRecord, problem: ProblemRecord) -> None:
    """Both chains, and the connectors that do not arrive."""
    st.write("Thoughts above, words below. **A line that does not arrive is a divergence**; hatched bars stand above "
             "the grey band of what honest problems reach.")  # fmt: skip
    hero_chart(problem, audit, key="tour-hero")
    st.text(sentence(problem))


def one_step(directory: Path, audit: AuditRecord, problem: ProblemRecord) -> None:
    """A single step beside its controls."""
    st.write("No number stands alone. For one step: what the thought reads as, how well this probe reads honest "
             "problems it never saw, what chance would read, and whether the model uses the thought.")  # fmt: skip
    parted = (row for row in problem.steps if row.status == "conflict" and row.step is not None)
    row = next(parted, problem.steps[0])
    steps.detail(problem, audit, row.step)


def the_swap(directory: Path, audit: AuditRecord, problem: ProblemRecord) -> None:
    """Cause, and not only reading."""
    st.write("Decodable is not used. So change the cause: swap the last thought of an honest problem for that of "
             "another, and see whether the answer follows. The model runs in a process of its own.")  # fmt: skip
    reason = live.why_not(directory, audit)
    if reason is not None:
        st.info(reason)
        return
    pair = apart_at_last([one for one in by_score(audit) if one.verdict == "agrees"])
    if pair is None:
        st.info("No two problems that agree hold different last thoughts: choose some yourself on the page Live.")
        return
    live.ask(directory, audit, problem=pair[0].id, donor=pair[1].id)
    live.watch()
    live.show(audit)


def apart_at_last(problems: Sequence[ProblemRecord]) -> tuple[ProblemRecord, ProblemRecord] | None:
    """The first problem, and the last one whose last thought holds another value: a swap of them must show."""

    def last(problem: ProblemRecord) -> str | None:
        held = [row for row in problem.steps if row.step is not None]
        return max(held, key=lambda row: row.step or 0).decoded if held else None

    if not problems:
        return None
    other = next((one for one in reversed(problems) if last(one) != last(problems[0])), None)
    return None if other is None else (problems[0], other)


LOOKS: tuple[tuple[str, Look], ...] = (
    ("The question", question), ("What it said", words), ("What it thought", thoughts),
    ("The line that does not arrive", broken_line), ("One step, beside its controls", one_step),
    ("Swap a thought", the_swap),
)  # fmt: skip
