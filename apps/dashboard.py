"""The dashboard's entry: ``streamlit run dashboard.py -- DIR [DIR ...]``. Draws audits and fits; computes none."""

from __future__ import annotations

import streamlit as st

from apps import data, notices, widgets
from workbench.errors import WorkbenchError

st.set_page_config(page_title="Neuralese Workbench", page_icon=widgets.ICON, layout="wide")
runs = data.find_runs(data.roots())
page = st.navigation(
    {
        "Explore": [
            st.Page("views/overview.py", title="Overview", url_path="overview", default=True),
            st.Page("views/trace.py", title="Trace", url_path="trace"),
            st.Page("views/grid.py", title="Grid", url_path="grid"),
            st.Page("views/compare.py", title="Compare", url_path="compare"),
        ],
        "Build": [
            st.Page("views/probes.py", title="Probes", url_path="probes"),
            st.Page("views/jobs.py", title="Jobs", url_path="jobs"),
            st.Page("views/live.py", title="Live", url_path="live"),
        ],
        "Oversee": [
            st.Page("views/findings.py", title="Findings", url_path="findings"),
            st.Page("views/report.py", title="Report", url_path="report"),
            st.Page("views/sanity.py", title="Sanity & controls", url_path="sanity"),
        ],
        "Help": [
            st.Page("views/tour.py", title="Start here", url_path="tour"),
            st.Page("views/glossary.py", title="Glossary", url_path="glossary"),
        ],
    },
    position="top",
)
widgets.page_style()
if data.exposed():
    notices.exposed_banner()
if page.title in ("Grid", "Jobs", "Glossary"):  # they show no audit and no fit
    with st.container(horizontal=True):
        st.title(page.title, anchor=False)
    page.run()
    st.stop()
if not runs:
    notices.empty_state(data.roots())
    st.stop()
only_fits = all(data.is_fit(directory) for directory in runs.values())
if only_fits and page.title == "Overview" and "opened" not in st.session_state:
    # The default page has no address of its own: were it Probes, links to /probes would break.
    st.session_state["opened"] = True
    st.switch_page("views/probes.py", query_params=st.query_params.to_dict())
if len(st.query_params.get_all("run")) > 1:
    # Where a link is clicked, Streamlit puts the parameters of the page's widgets before the link's own.
    st.session_state["run"] = st.query_params["run"]
directory, line = widgets.run_picker(runs, page.title)
is_fit = data.is_fit(directory)
try:
    if is_fit:
        widgets.about_fit(line, data.load_fit(directory))
    else:
        widgets.about(line, data.load(directory))
except WorkbenchError as error:
    notices.error_card(error, "These probes" if is_fit else "This audit")
    st.stop()
if is_fit != (page.title == "Probes"):
    notices.other_kind(is_fit)
    st.stop()
page.run()
