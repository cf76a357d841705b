"""Sanity and controls of one audit: what its verdicts must be read beside."""

from __future__ import annotations

import streamlit as st

from apps import data, sanity, widgets

directory = widgets.current_run()
audit = data.load(directory)
widgets.verdict_banner(audit)
with st.container(horizontal=True, vertical_alignment="center"):
    sanity.controls_badge(audit)
sanity.reading(audit)
sanity.alarms(directory, audit)
sanity.words_alone(directory, audit)
sanity.causes(directory, audit)
sanity.bits(directory, audit)
sanity.lag(audit)
