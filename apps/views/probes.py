"""The probes of one fit: the grid of one label beside its control, and everything about the cell that is picked."""

from __future__ import annotations

import streamlit as st

from apps import cells, data, widgets
from workbench.reports.fit_headline import fit_headlines

fit = data.load_fit(widgets.current_run())
cells.banner(fit)
headlines = fit_headlines(fit)
for column, headline in zip(st.columns(len(headlines)), headlines, strict=True):
    with column:
        widgets.metric(headline)
if fit.fits:
    chosen = cells.choices(fit)
    cell = cells.picker(fit, chosen)
    if cell is None:
        st.info("No cell has this label and this probe. Choose another one.")
    else:
        cells.grid_chart(fit, chosen, cell)
        cells.detail(cell)
        with st.expander("All cells of the figure as a table"):
            cells.table(fit, chosen)
cells.text_chart(fit)
