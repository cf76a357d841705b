"""One problem at every site and step, as probes and lenses read it; or a memory, slot by slot."""

from __future__ import annotations

import streamlit as st

from apps import data, grid, readings, slots, widgets

for key, value in st.session_state.pop("to-grid", {}).items():
    st.session_state[key] = value
folders = readings.folders()
memories = {f"slots of {name}": directory for name, directory in data.memories().items()}
found = [*folders, *memories]
if not found:
    st.info("No folder of readings here yet. Capture a model's layers, fit probes, read the run with them and lenses:")
    st.code(grid.MAKE, language=None)
    st.stop()
if folders:
    widgets.start_with("Folder of readings", "readings", found, first=grid.folder_of(folders))
with st.container(horizontal=True, vertical_alignment="center"):
    st.caption("Readings", width=70)
    name = str(widgets.choose("Readings", found, "readings", 300))
if name in memories:
    slots.draw(memories[name])
    st.stop()
problem, rows = grid.chosen(folders[name])
grid.draw(folders[name], problem, rows)
grid.offer_lenses(readings.of_problem(folders[name], problem))
