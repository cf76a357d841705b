"""Jobs from the browser: what the page Jobs draws. Nothing is typed that is a path: everything is chosen from what the
folders of the dashboard hold."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from apps import data
from apps.widgets import say_unknown, start_with
from workbench.errors import WorkbenchError
from workbench.jobs import Job, cancel, jobs_in, resume, start
from workbench.reports.escape import visible, visible_lines

NEEDS: dict[str, tuple[str, ...]] = {
    "audit": ("model", "calibration", "problems"),
    "capture": ("model", "problems"),
    "intervene": ("model", "problems"),
    "bandwidth": ("model", "problems"),
    "fit": ("run",),
}
"""Command -> what has to be chosen for it; the first is its argument, the others are options of their name."""
MAX_NAME = 60
ICONS = {
    "waiting": ":material/hourglass_empty:", "running": ":material/play_arrow:", "done": ":material/check:",
    "failed": ":material/error:", "cancelled": ":material/pause:", "lost": ":material/question_mark:",
}  # fmt: skip


def _choices(root: Path) -> dict[str, list[str]]:
    files = [str(path) for path in data.problem_files(root)]
    return {
        "model": [*map(str, data.model_folders(root)), *data.organisms()], "calibration": files,
        "problems": sorted(files, key=lambda name: not Path(name).name.startswith("problem")),
        "run": [str(path) for path in data.captured_runs(root)],
    }  # fmt: skip


def form(root: Path) -> None:
    """Choose, see the command, start it."""
    st.subheader("Start a job", anchor=False)
    start_with("Kind of job", "job-kind", list(NEEDS))
    kind = st.segmented_control("What to do", list(NEEDS), key="job-kind", required=True, bind="query-params")
    offered = _choices(root)
    needs = NEEDS[str(kind)]
    missing = [name for name in needs if not offered[name]]
    if missing:
        st.info(f"These folders hold no {' and no '.join(_plain(name) for name in missing)}.")
        made = root / "liar-model"
        commands = [["organism", "export", "liar", "--out", made]]
        if "run" in missing:
            commands.append(["capture", made, "--problems", made / "calibration.jsonl", "--out", root / "run"])
        shown = "\n".join(shlex.join(["workbench", *map(str, command)]) for command in commands)
        st.code(visible_lines(shown), language=None, wrap_lines=True)
        return
    columns = st.columns(len(needs) + 1)
    chosen = {
        name: column.selectbox(_plain(name).capitalize(), offered[name], key=f"job-{name}", format_func=_short(root))
        for name, column in zip(needs, columns, strict=False)
    }
    name = columns[-1].text_input("Name of the result", key="job-name", max_chars=MAX_NAME, value=f"{kind}-1")
    command = [str(kind), *_arguments(chosen), "--out", str(root / (name or ""))]
    st.code("workbench " + " ".join(command), language=None, wrap_lines=True)
    wrong = _wrong_name(root, name or "")
    if wrong:
        st.warning(wrong)
    if st.button("Start", type="primary", disabled=wrong is not None, icon=":material/play_arrow:"):
        _try(lambda: start(root, command, title=f"{kind} {name}"))


def _plain(name: str) -> str:
    return {"model": "model", "calibration": "honest problems", "problems": "problems file", "run": "captured run"}[
        name
    ]


def _short(root: Path) -> Any:
    def shown(text: str) -> str:
        path = Path(text)
        return visible(str(path.relative_to(root)) if path.is_relative_to(root) else text)

    return shown


def _arguments(chosen: dict[str, str]) -> list[str]:
    first, *options = chosen.items()
    return [first[1], *(word for name, value in options for word in (f"--{name}", value))]


def _wrong_name(root: Path, name: str) -> str | None:
    """Why a result cannot have this name; it is a name, and never a path."""
    if not name or name in (".", "..", "jobs") or not all(c.isalnum() or c in "-_." for c in name):
        return "Letters, digits, dash, dot and underscore make a name."
    if (root / name).exists():
        return "There is something of this name: the same command goes on with it, another one is refused."
    return None


def _try(action: Any) -> None:
    try:
        action()
    except WorkbenchError as error:
        st.error("That did not work.", icon=":material/error:")
        st.text(visible(f"{error.message}{f' ({error.hint})' if error.hint else ''}"))
    else:
        st.rerun()


def overview(root: Path) -> None:
    """All jobs; looked at anew every second while one works."""
    found = jobs_in(root)
    busy = any(job.alive for job in found)
    st.fragment(_table, run_every="1s" if busy else None)(root, [found], busy)


def _table(root: Path, listed: list[list[Job]], was_busy: bool) -> None:
    found = listed.pop() if listed else jobs_in(root)  # the page has just listed them; later looks are its own
    if was_busy and not any(job.alive for job in found):
        st.rerun()  # the last one ended: stop looking, and show what it left
    if not found:
        st.info("No job was started here yet.")
        return
    st.dataframe(
        pd.DataFrame([_row(job) for job in found]), hide_index=True, alt="Jobs, the latest first",
        column_config={"progress": st.column_config.ProgressColumn(min_value=0.0, max_value=1.0, format="percent")},
    )  # fmt: skip
    names = [job.name for job in found]
    say_unknown("Job", "job", names)
    job = found[names.index(st.selectbox("Job", names, key="job", bind="query-params") or names[0])]
    _one(job)


def _row(job: Job) -> dict[str, Any]:
    status = job.status
    left = "–" if status.seconds_left is None else f"{status.seconds_left:.0f} s"
    return {
        "job": job.name, "what": visible(job.spec.title), "state": status.state, "stage": visible(status.stage or "–"),
        "progress": status.done / status.planned if status.planned else float(status.state == "done"),
        "rate": "–" if status.rate is None else f"{status.rate:g}/s", "left in this stage": left,
        "last word": visible(status.message or "–"), "attempts": status.attempts, "started": status.started or "–",
    }  # fmt: skip


def offer_resume(job: Job) -> None:
    """A button that starts the same command again, where it did not end well."""
    if job.status.state in ("cancelled", "lost", "failed") and st.button("Resume", icon=":material/replay:"):
        _try(lambda: resume(job.folder))


def _one(job: Job) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(job.status.state, icon=ICONS[job.status.state], color="blue" if job.alive else "gray")
        if job.alive:
            if st.button("Cancel", icon=":material/pause:", help="It stops where it can be resumed."):
                _try(lambda: cancel(job.folder))
        else:
            offer_resume(job)
        if job.status.exit_code is not None:
            st.caption(f"exit code {job.status.exit_code}", width="content")
    st.code("workbench " + visible(" ".join(job.spec.command)), language=None, wrap_lines=True)
    with st.expander("Last lines of its log", expanded=job.status.state == "failed"):
        st.code(visible_lines(job.log) or "(nothing yet)", language=None, height=220)
