"""One problem: its hero, and beneath it everything about the step that is picked."""

from __future__ import annotations

import streamlit as st

from apps import data, findings, notices, steps, widgets
from workbench.reports.tables import by_score

audit = data.load(widgets.current_run())
ids = [problem.id for problem in by_score(audit)]
if not ids:
    notices.no_problem()
    st.stop()
problem = audit.problem(widgets.problem_picker(ids))
widgets.problem_header(problem)
step = steps.picker(problem)
widgets.hero_chart(problem, audit, key="trace-hero", step=step, on_point=steps.take_point(problem))
findings.pin(widgets.current_run(), audit, (problem.id, step))
steps.detail(problem, audit, step)
steps.texts(problem)
with st.expander("The same as a table", expanded=False):
    steps.table(problem)
