"""What the dashboard reads: audits and fits under the folders it was started with, and nothing else.

All cache decorators live here. A cached value is keyed by path, change time
and size of its file, so that a record that was written again is read again.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

import workbench
from workbench.errors import WorkbenchError
from workbench.figures import causal_by_step, decode_by_step
from workbench.figures.palette import Theme
from workbench.figures.words import sentence
from workbench.findings import Finding, findings, read_history
from workbench.jsonio import read_json
from workbench.reports.escape import visible
from workbench.reports.fit_records import FIT_NAME, FitRecord, read_fit
from workbench.reports.headline import Headline, headlines
from workbench.reports.records import AuditRecord, ProblemRecord, read_audit
from workbench.reports.tables import by_score

AUDIT_NAME = "audit.json"
WEIGHTS = Path(workbench.__file__).parent / "organisms" / "weights"
NO_PROBLEMS = ("truth.jsonl", "history.jsonl")
FileKey = tuple[str, int, int, int]


def roots() -> list[Path]:
    """Folders named on the command line (after ``--``)."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("directories", nargs="*", type=Path)
    known, _ = parser.parse_known_args(sys.argv[1:])
    return list(known.directories)


def exposed() -> bool:
    """Whether others than this machine can reach the dashboard."""
    return "--exposed" in sys.argv[1:]


def find_runs(folders: list[Path]) -> dict[str, Path]:
    """Folders of audits and of fits by the name that a person picks them by.

    A folder is an audit or a fit itself, or holds some; links that lead out of
    it are not followed. Two folders of one name are told apart by a number.
    """
    runs: dict[str, Path] = {}
    for folder in folders:
        root = folder.resolve()
        records = [path for name in (AUDIT_NAME, FIT_NAME) for path in (root / name, *sorted(root.glob(f"*/{name}")))]
        for record in records:
            if not record.is_file() or not record.resolve().is_relative_to(root):
                continue
            directory = record.parent
            if directory in runs.values():
                continue
            base, count = visible(directory.name), 1
            name = base
            while name in runs:
                count += 1
                name = f"{base} ({count})"
            runs[name] = directory
    return runs


def is_fit(directory: Path) -> bool:
    """Whether the folder holds probes and no audit."""
    return (directory / FIT_NAME).is_file() and not (directory / AUDIT_NAME).is_file()


def file_key(directory: Path, name: str = AUDIT_NAME) -> FileKey:
    """What changes whenever the record of this name does."""
    path = directory / name
    if not path.is_file():
        return str(directory), 0, 0, 0
    status = path.stat()
    return str(directory), status.st_mtime_ns, status.st_size, status.st_ino


@st.cache_resource(max_entries=4, show_spinner=False)
def _read(key: FileKey) -> AuditRecord:
    record = read_audit(Path(key[0]))
    # Streamlit collects garbage after every rerun: over millions of records that never die it would take a second.
    gc.freeze()
    return record


def load(directory: Path) -> AuditRecord:
    """The audit in this folder (frozen, so that sessions can share it).

    Raises:
        WorkbenchError: it cannot be read.
    """
    return _read(file_key(directory))


@st.cache_resource(max_entries=8, show_spinner=False)
def _read_fit(key: FileKey) -> FitRecord:
    return read_fit(Path(key[0]))


def load_fit(directory: Path) -> FitRecord:
    """The fit in this folder (frozen, so that sessions can share it).

    Raises:
        WorkbenchError: it cannot be read.
    """
    return _read_fit(file_key(directory, FIT_NAME))


@st.cache_resource(max_entries=8, show_spinner=False)
def _headlines(key: FileKey) -> list[Headline]:
    return headlines(_read(key))


def headlines_of(directory: Path) -> list[Headline]:
    """The headline numbers of the audit in this folder: some are counted over every step of every problem."""
    return _headlines(file_key(directory))


@st.cache_resource(max_entries=16, show_spinner=False)
def _step_curves(key: FileKey, theme: Theme) -> tuple[go.Figure, go.Figure]:
    audit = _read(key)
    return decode_by_step(audit, theme=theme), causal_by_step(audit, theme=theme)


def step_curves(directory: Path, theme: Theme) -> tuple[go.Figure, go.Figure]:
    """Decoding and causal effect by step: the same whichever problem is picked."""
    return _step_curves(file_key(directory), theme)


def is_bundled(directory: Path) -> bool:
    """Whether the folder lies inside the installed program."""
    return directory.resolve().is_relative_to(Path(workbench.__file__).parent)


def working_root() -> Path:
    """Where jobs may write: the first folder of one's own, else one in the home of who opened the dashboard."""
    own = next((root for root in roots() if root.is_dir() and not is_bundled(root)), None)
    if own is not None:
        return own.resolve()
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "neuralese-workbench"
    state.mkdir(parents=True, exist_ok=True)
    return state


def organisms() -> list[str]:
    """Organisms whose weights came with the program, as MODEL."""
    return [f"organism:{folder.parent.name}" for folder in sorted(WEIGHTS.glob("*/reasoner.toml"))]


def inside(root: Path, pattern: str) -> list[Path]:
    """Files below a folder, three levels deep; links that lead out of it are not followed."""
    whole = root.resolve()
    found = [path for depth in ("", "*/", "*/*/") for path in sorted(whole.glob(depth + pattern))]
    return [path for path in found if path.is_file() and path.resolve().is_relative_to(whole)]


def model_folders(root: Path) -> list[Path]:
    """Folders that say how a model thinks and speaks."""
    return [path.parent for path in inside(root, "reasoner.toml")]


def problem_files(root: Path) -> list[Path]:
    """Files of problems; sealed keys and histories are none."""
    return [path for path in inside(root, "*.jsonl") if path.name not in NO_PROBLEMS]


def captured_runs(root: Path) -> list[Path]:
    """Folders of finished captures."""
    return [path.parent for path in inside(root, "manifest.json")]


@st.cache_data(max_entries=64, show_spinner=False)
def _starts_as_memory(key: FileKey) -> bool:
    with (Path(key[0]) / AUDIT_NAME).open("rb") as stream:
        return b'"family":"memory"' in stream.read(4096)


def memories() -> dict[str, Path]:
    """Audits of memories that have slots; others are not read for it: an audit may be large."""
    found = {}
    for name, directory in find_runs(roots()).items():
        if is_fit(directory) or not _starts_as_memory(file_key(directory)):
            continue
        try:
            slots = load(directory).slots
        except WorkbenchError:
            continue  # the pages of audits say what is wrong with it
        if slots:
            found[name] = directory
    return found


def findings_of(directory: Path) -> list[Finding]:
    """Findings of the audit in this folder; read anew each time: reviewers write while others look.

    Raises:
        WorkbenchError: the history was changed or cannot be read.
    """
    return findings(read_history(directory))


def provenance_of(directory: Path) -> dict[str, Any]:
    """What `provenance.json` says; nothing where there is none."""
    path = directory / "provenance.json"
    try:
        plain = read_json(path) if path.is_file() else {}
    except WorkbenchError:
        return {}
    return plain if isinstance(plain, dict) else {}


def _row(problem: ProblemRecord) -> dict[str, object]:
    return {
        "problem": visible(problem.id),
        "verdict": problem.verdict,
        "score": problem.score,
        "by step": [row.divergence_bits or 0.0 for row in problem.steps if row.step is not None],
        "thinks": " → ".join(visible(row.decoded or "–") for row in problem.steps if row.step is not None),
        "says": " → ".join(visible(claim) for claim in problem.claims),
        "answer": visible(problem.answer or "–"),
        "q": problem.q_value,
        "condition": visible(problem.condition or "–"),
        "prompt": visible(problem.prompt),
        "what was found": sentence(problem),
    }


@st.cache_data(max_entries=8, show_spinner=False)
def _table(key: FileKey) -> pd.DataFrame:
    problems = by_score(_read(key))
    frame = pd.DataFrame([_row(problem) for problem in problems])
    frame.index = pd.Index([problem.id for problem in problems])
    return frame


def problem_table(directory: Path) -> pd.DataFrame:
    """One row per problem, most divergent first; the index holds the ids, the cells are safe to show."""
    return _table(file_key(directory))


def narrowed(table: pd.DataFrame, verdict: str | None, words: str) -> pd.DataFrame:
    """Rows of one verdict whose texts contain the words, letter case aside."""
    if table.empty:
        return table
    keep = pd.Series(True, index=table.index)
    if verdict:
        keep &= table["verdict"] == verdict
    if words.strip():
        texts = table[["problem", "thinks", "says", "answer", "condition", "prompt"]].agg(" ".join, axis=1)
        keep &= texts.str.contains(words.strip(), case=False, regex=False)
    return table[keep]
