"""What several pages draw. Text from a model reaches only `st.text`, `st.code` and cells of tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from apps import data
from workbench.figures import hero, sentence
from workbench.figures.palette import MARKS, Theme
from workbench.figures.words import number
from workbench.reports.escape import visible
from workbench.reports.fit_records import FitRecord
from workbench.reports.headline import Headline, notices, verdict_line
from workbench.reports.limits import uncontrolled
from workbench.reports.records import AuditRecord, ProblemRecord, Verdict

_COLOURS: dict[Verdict, Any] = {"diverges": "orange", "agrees": "blue", "cannot-tell": "gray"}
_ICONS: dict[Verdict, str] = {
    "diverges": ":material/call_split:",
    "agrees": ":material/check:",
    "cannot-tell": ":material/question_mark:",
}
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="6" fill="#0072B2"/>'
    '<rect y="10" width="16" height="6" fill="#D55E00"/></svg>'
)
"""Drawn here: Streamlit fetches page icons that are named from a font server."""
DIVERGENCE = MARKS["conflict"].fill
PROBLEM_LIST = 196
"""Pixels: the row that is cut in half says that there are more."""
PLOT = {"displayModeBar": False, "responsive": True}
PointTaker = Callable[[list[Any]], None]


def page_style() -> None:
    """Less empty space above the first line, one quiet title, and a ring around what the keyboard is on (constant text,
    no model output)."""
    ring = "#0072B2" if theme() == "light" else "#56B4E9"
    st.html(
        "<style>.stMainBlockContainer{padding:4.2rem 3rem 3rem}"
        ".stMainBlockContainer h1{font-size:1.5rem;padding:0;white-space:nowrap}"
        ".stMainBlockContainer h2{font-size:1.4rem}.stMainBlockContainer h3{font-size:1.25rem}"
        # a number, its name and its control in two lines: the picture below them must be seen without scrolling
        "[data-testid=stMetric]>div{display:grid;grid-template-columns:1fr auto;align-items:center;padding:.4rem .7rem}"
        "[data-testid=stMetric]>div>:last-child{grid-column:1/-1}"
        f".stApp :focus-visible{{outline:2px solid {ring} !important;outline-offset:2px}}</style>"
    )


def theme() -> Theme:
    """The theme that the browser shows."""
    return "dark" if st.context.theme.type == "dark" else "light"


def start_with(label: str, key: str, options: Sequence[Any], first: Any = None) -> None:
    """Make one option the choice, unless the session or the address bar already holds a valid one.

    The widgets have no default of their own: a default would vanish from the
    address bar, and the link would mean something else once an audit is added.
    """
    now = st.session_state[key] if key in st.session_state else st.query_params.get(key)
    if now in options or now in [_option(option) for option in options]:
        return
    say_unknown(label, key, options)
    st.session_state[key] = options[0] if first is None else first


def say_unknown(label: str, key: str, options: Sequence[Any]) -> None:
    """Say that the address asks for something that is not here; what it asks for is anyone's text, and not shown."""
    asked = None if key in st.session_state else st.query_params.get(key)
    if asked is not None and asked not in [_option(option) for option in options]:
        st.toast(f"The link names a {label.lower()} that is not here.", icon=":material/link_off:", duration="long")


def choose(label: str, options: Sequence[Any], key: str, width: int) -> Any:
    """One of the options, kept in the address bar under `key`."""
    start_with(label, key, options)
    chosen = st.selectbox(
        label, options, index=None, key=key, bind="query-params", required=True, format_func=_option,
        label_visibility="collapsed", placeholder=label, width=width,
    )  # fmt: skip
    return options[place_of(options, chosen)]


def place_of(options: Sequence[Any], value: Any) -> int:
    """Place of the value; the first where the browser's Back button has left none."""
    return options.index(value) if value in options else 0


def _option(option: Any) -> str:
    return visible(str(option))


def run_picker(runs: Mapping[str, Path], title: str) -> tuple[Path, DeltaGenerator]:
    """The run that is chosen from those that were found, and the line it stands in beside the title of the page."""
    line = st.container(horizontal=True, vertical_alignment="center")
    with line:
        st.title(title, anchor=False, width="content")
        st.caption("Folder", width=56)
        directory = runs[choose("Folder", list(runs), "run", 300)]
    st.session_state["directory"] = directory
    return directory, line


def about(line: DeltaGenerator, audit: AuditRecord) -> None:
    """Which model this is."""
    model = audit.model
    line.text(visible(f"{model.source}  ·  {model.family}, {model.preset}, {model.n_steps} latent steps"))
    if absent := uncontrolled(audit):
        told = f"Not run in this audit: {', '.join(absent)}. The page Sanity & controls says more."
        line.badge("uncontrolled", icon=":material/warning:", color="orange", help=told)


def about_fit(line: DeltaGenerator, fit: FitRecord) -> None:
    """Which probes these are."""
    n_sites, n_steps = len({cell.site for cell in fit.fits}), len({cell.step for cell in fit.fits})
    size = f"{n_sites} site{'s' * (n_sites != 1)}, {n_steps} step{'s' * (n_steps != 1)}"
    line.text(visible(f"{fit.n_cells} probes  ·  {size}  ·  run {fit.run_root[:19]}…"))


def current_run() -> Path:
    """The folder that `run_picker` chose in this rerun."""
    directory = st.session_state["directory"]
    assert isinstance(directory, Path)
    return directory


def badge(verdict: Verdict) -> None:
    """The verdict as a word with sign and colour."""
    st.badge(verdict, color=_COLOURS[verdict], icon=_ICONS[verdict])


def verdict_banner(audit: AuditRecord) -> None:
    """What limits the verdict, then the verdict."""
    found = notices(audit)
    if found:
        with st.container(border=True, gap="small"):
            st.badge("read first", icon=":material/warning:", color="orange")
            for notice in found:
                st.text(visible(notice.text))
    with st.container(horizontal=True, vertical_alignment="center"):
        badge(audit.summary.verdict)
        st.text(verdict_line(audit))


def metric(headline: Headline) -> None:
    """A number with its control beneath it."""
    explained = f"{headline.meaning} 95 % interval {headline.interval}, n = {headline.n}."
    name, value, control = headline.name, headline.value, headline.control
    st.metric(name, value, control, delta_color="off", delta_arrow="off", border=True, help=explained)


def problem_list(table: pd.DataFrame, audit: AuditRecord) -> ProblemRecord:
    """The table of problems; any cell picks its row, and the first row is picked to begin with."""
    top = max(1.0, float(table["score"].max()))
    low = min(0.0, float(table["score"].min()))
    columns = {
        "problem": st.column_config.TextColumn(width="small"),
        "verdict": st.column_config.TextColumn(width="small"),
        "score": st.column_config.ProgressColumn(
            format="%.1f", min_value=low, max_value=top, width="small", color=DIVERGENCE
        ),
        "by step": st.column_config.BarChartColumn(
            "divergence by step",
            y_min=0.0,
            y_max=1.0,
            width=140,
            color=DIVERGENCE,
            help="Bits, 0 to 1, one bar per latent step.",
        ),
        "q": st.column_config.NumberColumn(format="%.2g", width="small", help="Benjamini-Hochberg q-value."),
    }
    rows = sha256("\0".join(table.index).encode()).hexdigest()[:12]
    forget_other_runs()
    asked, first = st.query_params.get("problem"), 0
    if asked is not None:
        say_unknown("Problem", "problem", [visible(one.id) for one in audit.problems])
        first = place_of([visible(one) for one in table.index], asked)
    event = st.dataframe(
        table, hide_index=True, height=PROBLEM_LIST, column_config=columns, on_select="rerun", lazy=False,
        selection_mode="single-cell", selection_default={"selection": {"cells": [(first, "problem")]}},
        key=f"problems-{rows}", alt="Problems of this audit, most divergent first",
    )  # fmt: skip
    place, is_picked = picked_row(event, rows, len(table), first)
    if is_picked:
        keep_in_link(problem=visible(table.index[place]))
    return audit.problem(table.index[place])


def picked_row(event: Any, table: str, n_rows: int, first: int) -> tuple[int, bool]:
    """Row of a table in which a cell is picked, `first` until another was; and whether one was."""
    picked = [row for row, _ in event["selection"]["cells"]]
    memory = st.session_state.setdefault("picked", {})
    if picked and picked[0] < n_rows and (table in memory or picked[0] != first):
        memory[table] = picked[0]
    return memory.get(table, first), table in memory


def forget_other_runs() -> None:
    """Once another run is chosen, the address names no row of the one before."""
    now = st.session_state["directory"]
    if st.session_state.setdefault("rows-of", now) != now:
        st.session_state["rows-of"] = now
        keep_in_link(problem=None, step=None)


def keep_in_link(**parameters: str | None) -> None:
    """Rows of tables have no place in the address bar of their own."""
    for name, value in parameters.items():
        if value is None:
            st.query_params.pop(name, None)
        elif st.query_params.get(name) != value:
            st.query_params[name] = value


def problem_header(problem: ProblemRecord) -> None:
    """Name, verdict and the one sentence."""
    with st.container(horizontal=True, vertical_alignment="center"):
        badge(problem.verdict)
        st.text(visible(problem.id))
        st.text(sentence(problem))
        scores = f"score {number(problem.score)}, p = {number(problem.p_value)}, q = {number(problem.q_value)}"
        st.caption(scores, width="content")


def hero_chart(
    problem: ProblemRecord,
    audit: AuditRecord,
    *,
    key: str,
    step: int | None = None,
    columns: int = 0,
    on_point: PointTaker | None = None,
) -> None:
    """The two-lane figure; a click on a box or bar hands its ``[kind, index]`` to `on_point`."""
    figure = hero(problem, audit, theme=theme(), step=step, columns=columns)
    if on_point is None:  # under one key for all problems a browser changes the figure, and need not make another
        st.plotly_chart(figure, theme=None, key=key, config=PLOT, alt=sentence(problem))
        return
    name = f"{key}-{sha256(problem.id.encode()).hexdigest()[:12]}"

    def clicked() -> None:
        points = st.session_state[name]["selection"]["points"]
        memory = st.session_state.setdefault("last-point", {})
        if points:
            memory[name] = list(points[0]["customdata"])
        if name in memory:
            # A second click on a box deselects it and comes without a point: the same box is meant.
            on_point(memory[name])

    st.plotly_chart(figure, theme=None, key=name, config=PLOT, on_select=clicked, selection_mode="points",
                    alt=sentence(problem))  # fmt: skip


def trace_link(problem_id: str) -> None:
    """To the same problem on the Trace page."""
    parameters = {"run": str(st.session_state["run"]), "problem": visible(problem_id)}
    st.page_link("views/trace.py", label="Step through this problem", icon=":material/arrow_forward:",
                 query_params=parameters)  # fmt: skip


def problem_picker(ids: list[str]) -> str:
    """The problem that is chosen, with buttons to walk through them in the order of their scores."""

    def walk(by: int) -> None:
        now = place_of(ids, st.session_state.get("problem"))
        st.session_state["problem"] = ids[min(max(now + by, 0), len(ids) - 1)]

    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption("Problem", width=56)
        chosen = choose("Problem", ids, "problem", 300)
        place = ids.index(chosen)
        st.button("Previous problem", on_click=walk, args=(-1,), shortcut="K", disabled=place == 0)
        st.button("Next problem", on_click=walk, args=(1,), shortcut="J", disabled=place == len(ids) - 1)
        st.caption(f"{place + 1} of {len(ids)}, most divergent first", width="content")
    return str(chosen)


def step_curves(directory: Path) -> None:
    """Decoding and causal effect by step, each beside its controls."""
    for column, key, figure in zip(
        st.columns(2), ("decode", "causal"), data.step_curves(directory, theme()), strict=True
    ):
        with column:
            st.plotly_chart(figure, theme=None, key=key, config=PLOT)
