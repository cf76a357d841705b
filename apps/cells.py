"""What the Probes page draws: choices, the grid, and everything about the cell that is picked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import pandas as pd
import streamlit as st

from apps.widgets import PLOT, choose, place_of, theme
from workbench.figures import confusions, grid, learning_curve, reliability, text_scores
from workbench.figures.probes_curves import text_sites
from workbench.figures.probes_grid import SCORES, ScoreName, labels_of, probes_of
from workbench.figures.words import number
from workbench.reports.escape import visible
from workbench.reports.fit_headline import fit_line, fit_notices, place, scored
from workbench.reports.fit_records import CellRecord, FitRecord, Standing
from workbench.reports.fit_words import CONTROLS, STANDINGS, control, not_run
from workbench.reports.shares import share, span

_COLOURS: dict[Standing, Any] = {
    "readable": "blue", "input": "orange", "chance": "gray", "uncorrected": "orange", "undefined": "gray",
}  # fmt: skip
_ICONS: dict[Standing, str] = {
    "readable": ":material/check:",
    "input": ":material/radio_button_unchecked:",
    "chance": ":material/close:",
    "uncorrected": ":material/warning:",
    "undefined": ":material/question_mark:",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """What the grid shows."""

    label: str
    probe: str
    score: ScoreName
    beside: str
    """Field of the control in the second panel."""


def banner(fit: FitRecord) -> None:
    """What limits the fit, then the fit in one sentence."""
    found = fit_notices(fit)
    if found:
        with st.container(border=True, gap="small"):
            st.badge("read first", icon=":material/warning:", color="orange")
            for notice in found:
                word = "uncontrolled: " if notice.kind == "uncontrolled" else ""
                st.text(visible(word + notice.text))
    st.text(visible(fit_line(fit)))


def choices(fit: FitRecord) -> Choice:
    """Label, kind of probe, score and control, kept in the address bar."""
    scores = {score.name: field for field, score in SCORES.items()}
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption("Label", width=40)
        label = choose("Label", labels_of(fit), "label", 200)
        st.caption("Probe", width=40)
        probe = choose("Probe", probes_of(fit), "probe", 140)
        st.caption("Score", width=40)
        score = scores[choose("Score", list(scores), "score", 150)]
        st.caption("Beside", width=48)
        fields = {name: field for field, name in SCORES[score].beside.items()}
        beside = fields[choose("Beside", list(fields), "beside", 250)]
    return Choice(label, probe, score, beside)


def picker(fit: FitRecord, chosen: Choice) -> CellRecord | None:
    """The cell that is picked by site and step; None where the fit has none of this label and probe."""
    cells = [cell for cell in fit.fits if (cell.label, cell.probe) == (chosen.label, chosen.probe)]
    if not cells:
        return None
    sites = list(dict.fromkeys(cell.site for cell in cells))
    if "site" not in st.session_state and "site" not in st.query_params:
        best = next((c for c in scored(fit) if (c.label, c.probe) == (chosen.label, chosen.probe)), cells[0])
        st.session_state["site"], st.session_state["at"] = best.site, best.step

    def walk(by: int) -> None:
        now = place_of(steps, st.session_state.get("at"))
        st.session_state["at"] = steps[min(max(now + by, 0), len(steps) - 1)]

    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption("Cell", width=40)
        site = choose("Site", sites, "site", 300)
        steps = sorted({cell.step for cell in cells if cell.site == site})
        step = choose("Step", steps, "at", 100)
        st.button("Previous step", on_click=walk, args=(-1,), shortcut="H", disabled=step == steps[0])
        st.button("Next step", on_click=walk, args=(1,), shortcut="L", disabled=step == steps[-1])
        st.caption("or click a cell in the figure", width="content")
    return next(cell for cell in cells if (cell.site, cell.step) == (site, step))


def grid_chart(fit: FitRecord, chosen: Choice, picked: CellRecord | None) -> None:
    """The grid beside its control; a click picks a cell."""
    figure = grid(
        fit, chosen.score, beside=chosen.beside, label=chosen.label, probe=chosen.probe, theme=theme(),
        picked=None if picked is None else picked.key,
    )  # fmt: skip
    parts = (fit.probes_root, chosen.label, chosen.probe, chosen.score, chosen.beside)
    name = "grid-" + sha256("\0".join(parts).encode()).hexdigest()[:12]

    def clicked() -> None:
        for point in st.session_state[name]["selection"]["points"][:1]:
            _, index = point["customdata"]
            st.session_state["site"], st.session_state["at"] = fit.fits[index].site, fit.fits[index].step

    st.plotly_chart(figure, theme=None, key=name, config=PLOT, on_select=clicked, selection_mode="points",
                    alt=fit_line(fit))  # fmt: skip


def _facts(cell: CellRecord) -> list[tuple[str, str, str]]:
    """Name, value, and what it must be compared with."""
    interval = "–" if cell.interval is None else span(cell.interval)
    sample = f"n = {cell.n} in {cell.n_groups} groups, {cell.n_classes} values"
    refits = f"97.5 % below {share(cell.shuffled_high)}, {cell.n_shuffles} refits"
    facts = [
        ("accuracy", share(cell.accuracy), f"95 % interval {interval}; {sample}"),
        ("shuffled labels", share(cell.shuffled), refits),
        ("p against shuffled labels", number(cell.selectivity_p), f"corrected for the grid {number(cell.corrected_p)}"),
    ]
    before = ("previous_step", "position_0")
    for field, name in list(CONTROLS.items())[2:]:
        value = control(cell, field)
        text = "none before step 0" if value is None and cell.step == 0 and field in before else "not run"
        facts.append((name, text, "–") if value is None else (name, share(value), _apart(cell, value)))
    selectivity = "not run" if cell.selectivity is None else f"{cell.selectivity:.3f}"
    auroc = "AUROC not measured" if cell.auroc is None else f"AUROC {share(cell.auroc)}, where chance is 0.5"
    ended = {True: "converged", False: "NOT converged", None: "closed form"}[cell.converged]
    solver = f"{ended}, {number(cell.n_iter)} iterations, gradient {number(cell.gradient)}"
    return [
        *facts,
        ("selectivity", selectivity, f"accuracy minus control task {share(cell.control_task)}"),
        ("code length (bits)", number(cell.mdl_bits), f"without the vectors {number(cell.mdl_plain_bits)}"),
        ("log loss (nats)", number(cell.log_loss), auroc),
        ("rows learned from", str(cell.n_fit), solver),
    ]


def _apart(cell: CellRecord, value: float) -> str:
    gain = (cell.accuracy or 0.0) - value
    return f"accuracy is {abs(gain):.3f} {'below' if gain < 0 else 'above'} it"


def detail(cell: CellRecord) -> None:
    """What may be said of the cell, its figures and its numbers."""
    missing = not_run(cell) if cell.accuracy is not None else []
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(STANDINGS[cell.standing], color=_COLOURS[cell.standing], icon=_ICONS[cell.standing])
        if missing:
            st.badge("uncontrolled", color="orange", icon=":material/warning:")
        st.text(place(cell))
    if cell.accuracy is None:
        st.text(f"Undefined: {visible(cell.undefined_because or '')}")
        return
    if missing:
        st.text(f"Controls not run: {', '.join(missing)}.")
    figures = (
        ("How often it is right, by how sure it is", reliability),
        ("How much it needs to learn from", learning_curve),
        ("What it takes for what", confusions),
    )
    for column, (title, draw) in zip(st.columns(3), figures, strict=True):
        with column:
            st.caption(title)
            st.plotly_chart(draw(cell, theme=theme()), theme=None, key=title, config=PLOT, alt=title)
    facts = pd.DataFrame(_facts(cell), columns=["about this cell", "value", "beside"])
    st.dataframe(facts, hide_index=True, height="content", alt="Numbers of this cell beside their controls")


def text_chart(fit: FitRecord) -> None:
    """Text probes beside lenses and shuffled texts, one site at a time."""
    sites = text_sites(fit)
    if not sites:
        return
    st.subheader("From thoughts to words", anchor=False)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption("Site", width=40)
        site = choose("Text site", sites, "text", 300)
    figure = text_scores(fit, site=site, theme=theme())
    st.plotly_chart(figure, theme=None, key="text-scores", config=PLOT, alt="Whole texts read right by step")
    rows = [
        {
            "step": row.step,
            "whole text": _or_why(row.exact_match, row.undefined_because),
            "95 % interval": "–" if row.interval is None else span(row.interval),
            "shuffled texts": share(row.shuffled),
            "p": number(row.p_value),
            "logit lens": "not run" if row.logit_lens is None else share(row.logit_lens),
            "tuned lens": "not run" if row.tuned_lens is None else share(row.tuned_lens),
            "variance explained": number(row.variance_explained),
            "by a shuffled text": number(row.variance_explained_shuffled),
            "n": row.n,
        }
        for row in fit.text
        if row.site == site
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, alt="Text probes of this site beside their controls")


def _or_why(value: float | None, reason: str | None) -> str:
    return f"undefined: {visible(reason or '')}" if value is None else share(value)


def table(fit: FitRecord, chosen: Choice) -> None:
    """The cells of the grid in reading order, for keyboards and screen readers."""
    cells: Sequence[CellRecord] = fit.fits
    rows = [
        {
            "site": visible(cell.site),
            "step": cell.step,
            "accuracy": _or_why(cell.accuracy, cell.undefined_because),
            "95 % interval": "–" if cell.interval is None else span(cell.interval),
            "shuffled labels": share(cell.shuffled),
            "corrected p": number(cell.corrected_p),
            "majority": share(cell.majority),
            "input only": share(cell.input_only),
            "n": cell.n,
            "what may be said": STANDINGS[cell.standing],
            "not run": ", ".join(not_run(cell)) if cell.accuracy is not None else "–",
        }
        for cell in cells
        if (cell.label, cell.probe) == (chosen.label, chosen.probe)
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, alt="All cells of the figure, in reading order")
