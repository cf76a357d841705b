"""Live: run a problem of the chosen audit, edit a thought, and see whether the answer follows."""

from __future__ import annotations

import streamlit as st

from apps import data, live, notices, widgets

directory = widgets.current_run()
audit = data.load(directory)
if not audit.problems:
    notices.no_problem()
    st.stop()
reason = live.why_not(directory, audit)
if reason is not None:
    st.info(reason)
    st.button("Run", disabled=True, help=reason)
else:
    live.ask(directory, audit)
    live.watch()
live.another_model(audit)
live.show(audit)
