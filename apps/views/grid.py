"""One problem at every site and step, as the probes of a fit read it; or a memory, slot by slot."""

from __future__ import annotations

import streamlit as st

from apps import data, grid, slots, widgets

for key, value in st.session_state.pop("to-grid", {}).items():
    st.session_state[key] = value
readings = grid.folders()
memories = {f"slots of {name}": directory for name, directory in data.memories().items()}
found = [*readings, *memories]
if not found:
    st.info("No folder of readings here yet. Capture a model's layers, fit probes, and read the run with them:")
    st.code(grid.MAKE, language=None)
    st.stop()
if readings:
    widgets.start_with("Folder of readings", "readings", found, first=grid.folder_of(readings))
with st.container(horizontal=True, vertical_alignment="center"):
    st.caption("Readings", width=70)
    name = str(widgets.choose("Readings", found, "readings", 300))
if name in memories:
    slots.draw(memories[name])
    st.stop()
rows = grid.chosen(readings[name])
if rows.empty:
    st.info("This problem has no such reading. Choose another label or probe.")
else:
    grid.draw(rows, data.reading_family(readings[name]))
