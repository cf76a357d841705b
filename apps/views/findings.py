"""Findings of one audit: what was pinned, what reviewers say of it, and the files to hand on."""

from __future__ import annotations

import streamlit as st

from apps import data, findings, widgets
from workbench.errors import WorkbenchError
from workbench.findings.export import standing

directory = widgets.current_run()
audit = data.load(directory)
try:
    found = data.findings_of(directory)
except WorkbenchError as error:
    widgets.error_card(error, "The findings")
    st.stop()
stand = standing(found)
findings.reviewer()
if not stand:
    st.info("Nothing is pinned yet. Open a problem, walk to the step, and press F or **Pin as finding**.")
    if data.is_bundled(directory):
        st.caption("Not here: this audit came with the program and stays as it is. Make one of your own:")
        st.code("workbench demo", language=None)
    st.page_link("views/trace.py", label="Open the most divergent problem", icon=":material/arrow_forward:",
                 query_params={"run": str(st.session_state["run"])})  # fmt: skip
    st.stop()
one = findings.chosen(audit, stand)
findings.review(directory, audit, one)
findings.agreement(found)
findings.exports(directory, audit, found)
