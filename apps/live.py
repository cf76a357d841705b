"""Running a problem by hand: what the page Live draws. The model runs in a job of its own, never in the page."""

from __future__ import annotations

import shlex
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import streamlit as st

from apps import beside, data, jobs
from apps.widgets import choose, hero_chart, start_with
from workbench.errors import WorkbenchError
from workbench.jobs import Job, jobs_in, start
from workbench.reports.escape import visible, visible_lines
from workbench.reports.live_records import NAME, LiveRecord
from workbench.reports.records import AuditRecord
from workbench.reports.tables import by_score

NOTHING, ZERO, SWAP = "leave them as they are", "zero", "swap in another problem's"
ALL_STEPS = "all steps"
TYPED = "a prompt of my own"
MAX_PROMPT = 4000
BY_HAND = "workbench live MODEL --audit runs/mine --problem ID --edit swap --step 0 --donor ID --out runs/live-1"
LINKED: Any = {"bind": "query-params"}
"""Kept in the address bar; a prompt that was typed is not."""


def why_not(directory: Path, audit: AuditRecord) -> str | None:
    """Why nothing can be run on this audit; None where it can."""
    if find_spec("torch") is None:
        return "torch is not installed here: models cannot run. Everything else works. `pip install torch` brings it."
    if not (directory / "probes" / "probes.safetensors").is_file():
        return "The probes of this audit are not beside it: nothing could read the thoughts."
    if model_of(audit) is None:
        return "Its model is no bundled organism, and lies in none of the folders the dashboard was started with."
    return None


def model_of(audit: AuditRecord) -> str | None:
    """The audited model as MODEL: a bundled organism, or a folder below those the dashboard was started with.

    A record has the folder as it was typed, perhaps from elsewhere: it is looked for from here and from those folders.
    """
    if audit.model.source in data.organisms():
        return audit.model.source
    roots = [root.resolve() for root in data.roots()]
    found = ((base / audit.model.source).resolve() for base in (Path.cwd(), *roots, *(root.parent for root in roots)))
    allowed = _model_folders()
    return next((str(folder) for folder in found if folder in allowed), None)


def _model_folders() -> list[Path]:
    return [folder.resolve() for root in data.roots() for folder in data.model_folders(root)]


def another_model(audit: AuditRecord) -> None:
    """Which models could be run beside this one, and the commands that make the audit whose probes read them."""
    mine = model_of(audit)
    others = [name for name in (*data.organisms(), *map(str, _model_folders())) if name != mine]
    with st.expander("Another model"):
        st.write("What runs is the model of the audit that is chosen above: its probes read the thoughts. "
                 "For another model, make an audit of it first (Jobs starts it too), then choose that.")  # fmt: skip
        name = st.selectbox("Model", others, key="live-model", format_func=visible)
        organism = name.removeprefix("organism:")
        bundled = organism != name
        made = f"runs/{organism}-model" if bundled else name
        commands = [["organism", "export", organism, "--out", made]] if bundled else []
        commands.append(["audit", made, "--calibration", f"{made}/calibration.jsonl", "--problems",
                         f"{made}/problems.jsonl", "--out", f"runs/{Path(organism).name}"])  # fmt: skip
        shown = "\n".join(shlex.join(["workbench", *command]) for command in commands)
        st.code(visible_lines(shown), language=None, wrap_lines=True)


def ask(directory: Path, audit: AuditRecord, *, problem: str | None = None, donor: str | None = None) -> None:
    """Problem, edit, and the button that runs them; `problem` and `donor` are what is chosen to begin with."""
    ids = [one.id for one in by_score(audit)]
    offered = ids if audit.model.family == "memory" else [*ids, TYPED]
    start_with("Problem", "live-problem", offered, problem)
    left, middle, right = st.columns([2, 2, 1], vertical_alignment="bottom")
    with left:
        wanted = st.selectbox("Problem", offered, key="live-problem", format_func=visible, **LINKED)
        prompt = st.text_area("Prompt", max_chars=MAX_PROMPT, key="live-prompt") if wanted == TYPED else None
    start_with("Edit", "live-edit", [NOTHING, ZERO, SWAP], SWAP)
    kind = middle.selectbox("Its thoughts", [NOTHING, ZERO, SWAP], key="live-edit", **LINKED)
    steps = [ALL_STEPS, *range(audit.model.n_steps)]
    start_with("Step", "live-step", steps, steps[-1])
    step = right.selectbox("Step", steps, key="live-step", disabled=kind == NOTHING, **LINKED)
    donors = [name for name in ids if name != wanted]
    giving = None
    if kind == SWAP:
        if donors:
            start_with("Donor", "live-donor", donors, donor if donor in donors else donors[-1])
        giving = st.selectbox("Whose thoughts", donors, key="live-donor", format_func=visible, **LINKED)
        if giving is not None:
            st.caption("They hold:")
            held = [row.decoded or "–" for row in audit.problem(giving).steps if row.step is not None]
            st.text(visible(" → ".join(held)))
    ready = wanted is not None and (wanted != TYPED or bool((prompt or "").strip()))
    if st.button("Run", type="primary", icon=":material/play_arrow:", shortcut="Enter", disabled=not ready):
        _run(directory, audit, wanted, prompt, kind, step, giving)


def _run(
    directory: Path, audit: AuditRecord, wanted: str | None, prompt: str | None, kind: str, step: Any, donor: str | None
) -> None:
    root = data.working_root()
    taken = {job.spec.title for job in jobs_in(root)} | {path.name for path in root.glob("live-*")}
    number = next(number for number in count(1) if f"live-{number}" not in taken)
    out = root / f"live-{number}"
    command = ["live", model_of(audit) or audit.model.source, "--audit", str(directory.resolve()), "--out", str(out)]
    command.append(f"--prompt={prompt}" if wanted == TYPED else f"--problem={wanted}")
    if kind != NOTHING:
        command += ["--edit", "zero" if kind == ZERO else "swap"]
        command += [] if step == ALL_STEPS else ["--step", str(step)]
        command += [f"--donor={donor}"] if kind == SWAP else []
    try:
        job = start(root, command, title=out.name)
    except WorkbenchError as error:
        st.error("That could not be started.", icon=":material/error:")
        st.text(visible(error.message))
        return
    st.session_state["live-job"] = job.name
    st.session_state["live-new"] = out.name


def watch() -> None:
    """The job that runs, until it ends; what it wrote is shown as soon as its intact half is there."""
    if st.session_state.get("live-new") in kept():
        st.session_state["tried"] = st.session_state.pop("live-new")
    name = st.session_state.get("live-job")
    found = [job for job in jobs_in(data.working_root()) if job.name == name]
    if found:
        st.fragment(_watched, run_every="0.5s" if found[0].alive else None)(found[0].name, found[0].alive)


def _watched(name: str, was_alive: bool) -> None:
    job = next((one for one in jobs_in(data.working_root()) if one.name == name), None)
    if job is None:
        return
    if (was_alive and not job.alive) or st.session_state.get("live-new") in kept():
        st.rerun()
    if job.alive:
        st.progress(min(0.9, 0.1 + 0.4 * job.status.done), text="The model runs in a process of its own …")
    elif job.status.state != "done":
        _failed(job)


def _failed(job: Job) -> None:
    st.error("The run did not end well.", icon=":material/error:")
    st.code(visible_lines(job.log), language=None, height=160)
    jobs.offer_resume(job)


def kept() -> dict[str, Path]:
    """Runs by hand that are kept, the latest first."""
    folders = [path.parent for path in data.working_root().glob(f"live-*/{NAME}")]
    return {folder.name: folder for folder in sorted(folders, key=lambda one: -one.stat().st_mtime)}


def show(audit: AuditRecord) -> None:
    """One kept run: intact above edited, and what followed."""
    found = kept()
    if not found:
        st.info("Nothing was run yet. Choose a problem and press **Run**: its thoughts and words appear here. Or type:")
        st.code(BY_HAND, language=None, wrap_lines=True)
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption("Run by hand", width=84)
        name = str(choose("Run by hand", list(found), "tried", 200))
    try:
        record = beside.load_live(found[name])
    except WorkbenchError as error:
        st.error("This run cannot be read.", icon=":material/error:")
        st.text(visible(error.message))
        return
    if record.probes_root != audit.probes_root:
        st.caption("This run was read with the probes of another audit.")
    followed(record)
    if record.edited is not None:
        compare_link(name)
        with st.expander(f"Everything that changed ({len(record.changes)})"):
            for change in record.changes:
                st.text(visible(change))
    for mark, one in (("intact", record.intact), ("edited", record.edited), ("donor", record.donor)):
        if one is not None:
            with st.container(border=True):
                st.caption(mark)
                st.text(visible(one.said))
                hero_chart(one, audit, key=f"live-{mark}-{one.id}")


def compare_link(name: str) -> None:
    """To intact and edited on the same steps."""
    parameters = {"run": str(st.session_state["run"]), "compare": "intact and edited", "edited": name}
    st.page_link("views/compare.py", label="Compare intact and edited, step by step", icon=":material/compare_arrows:",
                 query_params=parameters)  # fmt: skip


def followed(record: LiveRecord) -> None:
    """The answer before and after, in one line."""
    if record.edit is None or record.edited is None:
        st.text(f"It answers {visible(record.intact.answer or 'nothing')}.")
        return
    before, after = record.intact.answer or "nothing", record.edited.answer or "nothing"
    where = "all thoughts" if record.edit.step is None else f"the thought of step {record.edit.step}"
    did = "zeroed" if record.edit.kind == "zero" else f"exchanged for that of {record.edit.donor}"
    moved = "the answer stays" if before == after else "the answer follows"
    st.badge(moved, icon=":material/call_split:" if before != after else ":material/check:",
             color="orange" if before != after else "blue")  # fmt: skip
    st.text(visible(f"With {where} {did}, it answers {after} instead of {before}." if before != after
                    else f"With {where} {did}, it still answers {after}."))  # fmt: skip
