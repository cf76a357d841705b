"""Two problems, two audits of the same problems, or a run by hand intact and edited, on the same steps."""

from __future__ import annotations

import streamlit as st

from apps import compare, data, notices, widgets
from workbench.errors import WorkbenchError

directory = widgets.current_run()
audit = data.load(directory)
kinds = [compare.TWO_PROBLEMS, compare.TWO_AUDITS, compare.INTACT_EDITED]
widgets.start_with("Comparison", "compare", kinds)
kind = st.segmented_control(
    "Compare", kinds, key="compare", bind="query-params", label_visibility="collapsed", required=True
)
if kind == compare.INTACT_EDITED:
    compare.by_hand(directory, audit)
    st.stop()
if kind != compare.TWO_AUDITS:
    compare.problems(audit)
    st.stop()
found = compare.other_audit(data.find_runs(data.roots()), directory)
if found is not None:
    name, folder = found
    try:
        other = data.load(folder)
    except WorkbenchError as error:
        notices.error_card(error, f"The audit {name}")
        st.stop()
    compare.audits(audit, other)
