"""All problems of one audit, the most divergent first, and the hero of the one that is picked."""

from __future__ import annotations

import streamlit as st

from apps import data, notices, widgets

directory = widgets.current_run()
audit = data.load(directory)
widgets.verdict_banner(audit)
for column, headline in zip(st.columns(5), data.headlines_of(directory), strict=True):
    with column:
        widgets.metric(headline)

if not audit.problems:
    notices.no_problem()
    st.stop()
# The table's own buttons float above its right end: nothing stands there.
narrow, search, _ = st.columns([7.2, 3, 1.4], vertical_alignment="center")
verdicts = ["all", "diverges", "cannot-tell", "agrees"]
widgets.say_unknown("Verdict", "verdict", verdicts)
with narrow, st.container(horizontal=True, vertical_alignment="center"):
    verdict = st.segmented_control(
        "Verdict",
        verdicts,
        default="all",
        key="verdict",
        bind="query-params",
        required=True,
        label_visibility="collapsed",
    )
    counted = st.empty()
words = search.text_input(
    "Search",
    key="find",
    bind="query-params",
    label_visibility="collapsed",
    max_chars=200,
    type="search",
    placeholder="problem, value or words",
)
table = data.narrowed(data.problem_table(directory), None if verdict == "all" else verdict, words or "")
counted.caption(
    f"{len(table)} of {len(audit.problems)} problems, most divergent first; a click shows one below", width="content"
)
if table.empty:
    st.info("No problem fits. Clear the search or choose another verdict.")
    st.stop()
chosen = widgets.problem_list(table, audit)
widgets.problem_header(chosen)
widgets.hero_chart(chosen, audit, key="overview-hero")
widgets.trace_link(chosen.id)
by_step = st.expander("By latent step: can it be read, is it used?", key="by-step", on_change="rerun")
if by_step.open:  # two figures that a browser would draw unseen
    with by_step:
        widgets.step_curves(directory)
