"""The step that is picked on the Trace page, and everything known about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import streamlit as st

from apps.widgets import choose, place_of
from workbench.figures.words import number
from workbench.reports.escape import visible
from workbench.reports.records import AuditRecord, ProblemRecord, ProblemStep
from workbench.reports.shares import share, span


def _steps(problem: ProblemRecord) -> list[int]:
    return sorted({row.step for row in problem.steps if row.step is not None})


def picker(problem: ProblemRecord) -> int | None:
    """The latent step that is chosen, with buttons to walk; None for a problem without thoughts."""
    known = _steps(problem)
    if not known:
        return None

    def walk(by: int) -> None:
        now = place_of(known, st.session_state.get("step"))
        st.session_state["step"] = known[min(max(now + by, 0), len(known) - 1)]
        st.session_state.pop("claim", None)

    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption("Step", width=56)
        step = choose("Step", known, "step", 120)
        place = known.index(step)
        st.button("Previous step", on_click=walk, args=(-1,), shortcut="H", disabled=place == 0)
        st.button("Next step", on_click=walk, args=(1,), shortcut="L", disabled=place == len(known) - 1)
        st.caption("or click a box or bar in the figure", width="content")
        if st.button("Open Grid at this step", shortcut="G", help="Every site at every step, as probes read it."):
            # Parameters that are bound to widgets of this page cannot be set from here: the page Grid takes them over.
            st.session_state["to-grid"] = {"problem": problem.id, "step": step}
            st.switch_page("views/grid.py", query_params={})
    return int(step)


def take_point(problem: ProblemRecord) -> Callable[[list[Any]], None]:
    """What a click on the hero does: a thought, a bar, or a claim against a thought picks that step."""

    def take(point: list[Any]) -> None:
        kind, index = point
        st.session_state.pop("claim", None)
        if kind == "thought":
            st.session_state["step"] = index
            return
        against = [row.step for row in problem.steps if row.claim_index == index and row.step is not None]
        if against:
            st.session_state["step"] = against[0]
        else:
            st.session_state["claim"] = (problem.id, index)

    return take


def _candidates(row: ProblemStep) -> None:
    frame = pd.DataFrame(
        {"reads as": [visible(top.value) for top in row.top], "p": [top.probability for top in row.top]}
    )
    column = st.column_config.ProgressColumn("probability", min_value=0.0, max_value=1.0, format="%.3f")
    st.dataframe(frame, hide_index=True, column_config={"p": column}, alt="What this thought reads as")


def _facts(row: ProblemStep, audit: AuditRecord) -> list[tuple[str, str, str]]:
    """Name, value, and what it must be compared with."""
    summary = next((summary for summary in audit.steps if summary.step == row.step), None)
    bits = "no honest band" if summary is None else f"honest problems {span(summary.band)}"
    facts = [
        ("divergence (bits)", number(row.divergence_bits), bits),
        ("conformal p", number(row.p_value), f"alpha {number(audit.settings.alpha)}"),
        ("margin (nats)", number(row.margin), "0 where thought and words are the same"),
        ("unseen p", number(row.unseen_p), "small where the value is one that the probe knows"),
        ("norm of the thought", number(row.norm), "–"),
    ]
    if summary is not None:
        read = "" if summary.readable else "; NOT readable"
        used = "" if summary.live else "; NOT used"
        facts += [
            (
                "decoded right at this step",
                f"{share(summary.decode_accuracy)} ({span(summary.decode_interval)})",
                f"shuffled labels {share(summary.control)}, input only {share(summary.input_only)}{read}",
            ),
            (
                f"said text {summary.measure} when exchanged",
                f"{share(summary.causal_effect)} ({span(summary.causal_interval)})",
                f"placebo {share(summary.placebo_effect)} ({span(summary.placebo_interval)}){used}",
            ),
        ]
    return facts


def detail(problem: ProblemRecord, audit: AuditRecord, step: int | None) -> None:
    """Candidates and facts of the chosen step, or of a claim that no thought stands against."""
    claim = st.session_state.get("claim")
    lone = claim[1] if claim and claim[0] == problem.id and claim[1] < len(problem.claims) else None
    if lone is not None:
        row = next((row for row in problem.steps if row.claim_index == lone), None)
        st.subheader(f"Claim {lone}", anchor=False)
        st.text(f"Said: {visible(problem.claims[lone])}")
        st.text("No thought was compared with it." if row is None else f"{row.status}: no thought stands against it.")
        return
    for row in (row for row in problem.steps if row.step is not None and row.step == step):
        st.subheader(f"Latent step {step}", anchor=False)
        said = "nothing was said against it" if row.said is None else f"said: {visible(row.said)}"
        st.text(f"{row.status}. Reads as: {visible(row.decoded or '–')}; {said}")
        left, right = st.columns([2, 3])
        with left:
            _candidates(row)
        with right:
            facts = pd.DataFrame(_facts(row, audit), columns=["about this step", "value", "beside"])
            st.dataframe(facts, hide_index=True, alt="Numbers of this step beside their controls")


def texts(problem: ProblemRecord) -> None:
    """Prompt and said text as they are, hidden characters written out."""
    left, right = st.columns(2)
    for column, title, text in ((left, "Prompt", problem.prompt), (right, "Said", problem.said)):
        with column:
            st.caption(title)
            st.code(visible(text, keep_lines=True), language=None, wrap_lines=True)


def table(problem: ProblemRecord) -> None:
    """Every row of the figure in reading order, for keyboards and screen readers."""
    rows = [
        {
            "step": "–" if row.step is None else str(row.step),
            "thinks": visible(row.decoded or "–"),
            "confidence": number(row.confidence),
            "claim": "–" if row.claim_index is None else str(row.claim_index),
            "says": visible(row.said or "–"),
            "status": row.status,
            "divergence (bits)": number(row.divergence_bits),
            "p": number(row.p_value),
            "unseen p": number(row.unseen_p),
        }
        for row in problem.steps
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, alt="All rows of the figure, in reading order")
