"""Findings of one audit: what was pinned, what reviewers say of it, and the files to hand on."""

from __future__ import annotations

import streamlit as st

from apps import data, findings, notices, widgets
from workbench.errors import WorkbenchError
from workbench.findings.export import standing

directory = widgets.current_run()
audit = data.load(directory)
try:
    found = data.findings_of(directory)
except WorkbenchError as error:
    notices.error_card(error, "The findings")
    st.stop()
stand = standing(found)
findings.reviewer()
if not stand:
    findings.nothing_pinned(directory)
    st.stop()
one = findings.chosen(audit, stand)
findings.review(directory, audit, one)
findings.agreement(found)
findings.report_link()
