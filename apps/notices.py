"""What a page says instead of its content: nothing here, cannot be read, open to others. Each names what to type."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from workbench.errors import WorkbenchError
from workbench.reports.escape import visible

MAKE_AUDIT = "workbench audit MODEL --calibration honest.jsonl --problems problems.jsonl --out runs/mine"
MAKE_FIT = "workbench fit RUN --out runs/probes"


def exposed_banner() -> None:
    """On every page of a server that others can reach."""
    st.warning(
        "This dashboard is exposed: whoever reaches its address reads every run, writes findings and starts jobs.",
        icon=":material/lock_open:",
    )


def empty_state(folders: list[Path]) -> None:
    """What to do when there is nothing to show."""
    with st.container(horizontal=True):
        st.title("No audit and no probes here yet", anchor=False)
    if folders:
        st.write("None of the folders that the dashboard was started with holds an `audit.json` or a `fit.json`:")
        st.code("\n".join(visible(str(folder)) for folder in folders), language=None)
    cards = (
        ("See one in a minute", "Audit the bundled organism, whose truth is known.", "workbench demo"),
        (
            "Audit your model",
            "Trusted problems to calibrate with, and the ones to judge.",
            MAKE_AUDIT,
        ),
        ("Train probes", "On a captured run: every site and step, each probe with its controls.", MAKE_FIT),
        (
            "Open what you have",
            "A folder of audits or probes, or a folder of such folders.",
            "workbench dashboard runs",
        ),
    )
    for column, (title, text, command) in zip(st.columns(4), cards, strict=True):
        with column, st.container(border=True, height="stretch"):
            st.subheader(title, anchor=False)
            st.write(text)
            st.code(command, language=None, wrap_lines=True)


def other_kind(is_fit: bool) -> None:
    """What to do where a fit is chosen on a page of audits, or the other way round."""
    found, page, wanted, command = (
        ("probes", "Probes", "an audit", MAKE_AUDIT) if is_fit else ("an audit", "Overview", "probes", MAKE_FIT)
    )
    st.info(f"This folder holds {found}. Open it on the page {page}, or choose another folder above.")
    view = "views/probes.py" if is_fit else "views/overview.py"
    parameters = {"run": str(st.session_state["run"])}
    st.page_link(view, label=f"Open on {page}", icon=":material/arrow_forward:", query_params=parameters)
    st.caption(
        f"This page shows {wanted}. To make one:" if is_fit else f"This page shows {wanted}. To make some from a run:"
    )
    st.code(command, language=None, wrap_lines=True)


def error_card(error: WorkbenchError, what: str = "This audit") -> None:
    """A clear message instead of a traceback; only the name of the file, not where it lies."""
    st.error(f"{what} cannot be read. Choose another one above, or write it again.", icon=":material/error:")
    plain = error.to_dict()
    plain["path"] = None if error.path is None else Path(error.path).name
    names = ("message", "path", "field", "expected", "found", "hint")
    parts = [f"{name}: {visible(str(plain[name]))}" for name in names if plain[name] is not None]
    st.code("\n".join(parts), language=None, wrap_lines=True)


def no_problem() -> None:
    """What to do with an audit of nothing."""
    st.info("This audit holds no problem. Audit a file that holds some:")
    st.code(MAKE_AUDIT, language=None, wrap_lines=True)
