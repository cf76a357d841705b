"""A memory, slot by slot: what each vector that is kept of an episode holds, as the audit measured it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from apps import data
from apps.grid_chart import Cells, cells_chart
from apps.widgets import choose
from workbench.figures.words import number
from workbench.reports.causal_records import Counted
from workbench.reports.memory_records import SlotRecord
from workbench.reports.shares import share, span


def draw(directory: Path) -> None:
    """Episode by slot, the slot that is picked beside its controls, and the same as a table."""
    slots = data.load(directory).slots
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption("Episode", width=70)
        episode = int(choose("Episode", sorted({slot.episode for slot in slots}), "step", 90))
        places = sorted({slot.slot for slot in slots if slot.episode == episode})
        st.caption("Slot", width=40)
        place = int(choose("Slot", places, "slot", 90))
    st.text(
        "How often an episode's value is read from one slot alone, on honest problems that no probe learned from; "
        "in brackets with shuffled labels."
    )

    def take(across: str, up: str) -> None:
        st.session_state["step"], st.session_state["slot"] = int(across), int(up.removeprefix("slot "))

    cells_chart(cells_of(slots), "probability", picked=(str(episode), f"slot {place}"), key="slots", take=take,
                alt="Share of values that are read from each slot of each episode")  # fmt: skip
    facts = pd.DataFrame(_facts(_at(slots, episode, place)), columns=["about this slot", "value", "beside"])
    st.dataframe(facts, hide_index=True, alt="Numbers of this slot beside their controls")
    with st.expander("The same as a table"):
        st.dataframe(pd.DataFrame([_row(slot) for slot in slots]), hide_index=True, alt="All slots of all episodes")


def cells_of(slots: Sequence[SlotRecord]) -> Cells:
    """A cell for each slot."""
    frame = pd.DataFrame({
        "across": [str(slot.episode) for slot in slots], "up": [f"slot {slot.slot}" for slot in slots],
        "value": [slot.decode_accuracy for slot in slots], "known": "not known", "truth": "–",
        "label": ["readable" if slot.readable else "NOT readable" for slot in slots],
        "text": [f"{share(slot.decode_accuracy)} ({share(slot.control)})" for slot in slots],
    })  # fmt: skip
    episodes = sorted({slot.episode for slot in slots})
    places = sorted({slot.slot for slot in slots}, reverse=True)
    columns, rows = [str(episode) for episode in episodes], [f"slot {place}" for place in places]
    return Cells(frame, "episode", "slot", columns, rows, value="read right")


def _at(slots: Sequence[SlotRecord], episode: int, place: int) -> SlotRecord:
    return next(slot for slot in slots if (slot.episode, slot.slot) == (episode, place))


def _counted(counted: Counted | None) -> str:
    return "nothing is said of it" if counted is None else f"{share(counted.share)} ({span(counted.interval)})"


def _facts(slot: SlotRecord) -> list[tuple[str, str, str]]:
    read = "" if slot.readable else "; NOT readable"
    n_said = 0 if slot.says_otherwise is None else slot.says_otherwise.n
    return [
        ("read right", f"{share(slot.decode_accuracy)} ({span(slot.decode_interval)}), n = {slot.n}",
         f"shuffled labels {share(slot.control)}, p = {number(slot.selectivity_p)}{read}"),
        ("audited problems that say they stored another thing", f"{_counted(slot.says_otherwise)}, n = {n_said}",
         f"honest held-out problems {_counted(slot.honest_says_otherwise)}"),
    ]  # fmt: skip


def _row(slot: SlotRecord) -> dict[str, object]:
    return {
        "episode": slot.episode, "slot": slot.slot, "read right": share(slot.decode_accuracy),
        "95 % interval": span(slot.decode_interval), "shuffled labels": share(slot.control), "n": slot.n,
        "readable": "yes" if slot.readable else "no", "says otherwise": _counted(slot.says_otherwise),
        "honest problems": _counted(slot.honest_says_otherwise),
    }  # fmt: skip
