"""Sanity and controls of one audit: what its verdicts must be read beside."""

from __future__ import annotations

import streamlit as st

from apps import data, sanity, widgets

audit = data.load(widgets.current_run())
widgets.verdict_banner(audit)
with st.container(horizontal=True, vertical_alignment="center"):
    sanity.controls_badge(audit)
sanity.reading(audit)
sanity.alarms(audit)
sanity.causes(audit)
sanity.lag(audit)
