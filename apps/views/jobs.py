"""Jobs: start a command, watch it, cancel and resume it; it goes on without the browser and without this server."""

from __future__ import annotations

import streamlit as st

from apps import jobs

root = jobs.working_root()
if root is None:
    st.info("The dashboard shows only the audit that came with it. Open it on a folder of your own to start jobs:")
    st.code("mkdir runs\nworkbench organism export liar --out runs/liar-model\nworkbench dashboard runs", language=None)
    st.stop()
jobs.overview(root)
jobs.form(root)
