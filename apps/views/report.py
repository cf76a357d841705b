"""Report of one audit: choose findings or the whole of it, look at what is handed on, and take the files."""

from __future__ import annotations

import streamlit as st

from apps import data, findings, notices, report, widgets
from workbench.errors import ConfigError, WorkbenchError
from workbench.findings.export import standing

directory = widgets.current_run()
audit = data.load(directory)
try:
    found = data.findings_of(directory)
except WorkbenchError as error:
    notices.error_card(error, "The findings")
    found = []
choice = report.choice(found)
try:
    chosen = None if choice is None else choice.of(found)
except ConfigError as error:
    st.info(f"{error.message[0].upper()}{error.message[1:]}. Choose another label, or clear the findings.")
    st.stop()
if choice is not None and not standing(found):
    findings.nothing_pinned(directory)
    st.stop()
report.files(directory, audit, chosen)
report.look(directory, audit, chosen)
report.untested(audit)
report.again(directory, audit, choice)
