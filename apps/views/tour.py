"""Start here: six looks at the most divergent problem; the address keeps the place."""

from __future__ import annotations

import streamlit as st

from apps import data, notices, tour, widgets

directory = widgets.current_run()
audit = data.load(directory)
problem = tour.the_problem(audit)
if problem is None:
    notices.no_problem()
    st.stop()
titles = [title for title, _ in tour.LOOKS]


def walk(by: int) -> None:
    """To the look before or after."""
    now = widgets.place_of(titles, st.session_state.get("look"))
    st.session_state["look"] = titles[min(max(now + by, 0), len(titles) - 1)]


with st.container(horizontal=True, vertical_alignment="center"):
    look = str(widgets.choose("Look", titles, "look", 320))
    place = titles.index(look)
    st.button("Back", on_click=walk, args=(-1,), shortcut="H", disabled=place == 0)
    st.button("Next", on_click=walk, args=(1,), shortcut="L", disabled=place == len(titles) - 1, type="primary")
    st.caption(f"{place + 1} of {len(titles)}", width="content")
st.header(look, anchor=False)
tour.LOOKS[place][1](directory, audit, problem)
if place == len(titles) - 1:
    st.subheader("Now your model", anchor=False)
    st.code(f"workbench check-model ./my-model\n{notices.MAKE_AUDIT}", language=None)
