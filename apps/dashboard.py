"""The dashboard's entry: ``streamlit run dashboard.py -- DIR [DIR ...]``. Draws audits; computes none."""

from __future__ import annotations

import streamlit as st

from apps import data, widgets
from workbench.errors import WorkbenchError

st.set_page_config(page_title="Neuralese Workbench", page_icon=widgets.ICON, layout="wide")
page = st.navigation(
    [
        st.Page("views/overview.py", title="Overview", url_path="overview", default=True),
        st.Page("views/trace.py", title="Trace", url_path="trace"),
    ],
    position="top",
)
widgets.page_style()
runs = data.find_runs(data.roots())
if not runs:
    widgets.empty_state(data.roots())
    st.stop()
directory, line = widgets.run_picker(runs)
try:
    widgets.about(line, data.load(directory))
except WorkbenchError as error:
    widgets.error_card(error)
    st.stop()
page.run()
