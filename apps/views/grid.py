"""One problem at every site and step, as the probes of a fit read it."""

from __future__ import annotations

import streamlit as st

from apps import grid, widgets

found = grid.folders()
if not found:
    st.info("No folder of readings here yet. Capture a model's layers, fit probes, and read the run with them:")
    st.code(grid.MAKE, language=None)
    st.stop()
with st.container(horizontal=True, vertical_alignment="center"):
    st.caption("Readings", width=70)
    folder = found[str(widgets.choose("Readings", list(found), "readings", 300))]
rows = grid.chosen(folder)
if rows.empty:
    st.info("This problem has no such reading. Choose another label or probe.")
else:
    grid.draw(rows)
