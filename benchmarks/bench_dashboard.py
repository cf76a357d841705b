"""How fast the dashboard is on a long audit: `python -m benchmarks.bench_dashboard`.

The audit is made, not judged (`benchmarks.made_audit`). In the same run stands a trivial Streamlit app, a plain table
of as many rows and a button: what it needs, Streamlit and the machine need. Three things are measured:

- in Chromium, what a person waits for: a first visit with an empty browser cache, and a click until its effect shows;
- without a browser, what the server does (`benchmarks.streamlit_sessions`): from a message of the front end until the
  page has run. In the dashboard a row is picked, so that a new hero is drawn; in the trivial app the button is clicked.
  Each session waits half a second to a second and a half between two interactions, as readers do; the two apps take
  turns. Ten browsers on few cores would measure the browsers;
- resident memory of the server over many picks in one session.

On a busy machine only the ratios mean anything.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks import dashboard_browser as browser
from benchmarks.machine import about_this_machine
from benchmarks.made_audit import write_made_audit
from benchmarks.streamlit_sessions import Server, Session, free_port, serving, session_with

TRIVIAL = """import pandas as pd
import streamlit as st
st.dataframe(pd.DataFrame({{f"column {{k}}": range({rows}) for k in range(8)}}))
if st.button("again"):
    st.session_state["n"] = st.session_state.get("n", 0) + 1
st.text(f"clicked {{st.session_state.get('n', 0)}}")
"""
THINKS = (0.5, 1.5)
"""Seconds that a reader waits before the next interaction, at least and at most."""
Act = Callable[[Session, random.Random], float]


@dataclass(frozen=True, slots=True)
class App:
    """A server that is measured, and what a reader does in it."""

    name: str
    server: Server
    act: Act


def picks(n_rows: int) -> Act:
    """Pick one of the rows of the dashboard's table."""
    return lambda session, rng: session.pick_row(rng.randrange(n_rows))


def clicks(session: Session, rng: random.Random) -> float:
    """Click the trivial app's button."""
    return session.click("again")


def interactions(app: App, n_sessions: int, n_each: int) -> list[float]:
    """Seconds of every interaction of sessions that are open at the same time."""

    def reader(seed: int) -> list[float]:
        rng = random.Random(seed)
        with session_with(app.server) as session:
            session.rerun()
            waited = []
            for _ in range(n_each):
                time.sleep(rng.uniform(*THINKS))
                waited.append(app.act(session, rng))
        return waited

    with ThreadPoolExecutor(n_sessions) as pool:
        return [seconds for waited in pool.map(reader, range(n_sessions)) for seconds in waited]


def rounds(apps: Sequence[App], n_sessions: int, n_each: int, n_rounds: int) -> list[tuple[float, ...]]:
    """For each round p50 and p95 of the first app, then of the second; the apps take turns."""
    found = []
    for _ in range(n_rounds):
        halves = [np.percentile(interactions(app, n_sessions, n_each), (50, 95)) for app in apps]
        found.append(tuple(float(value) for half in halves for value in half))
    return found


def memory(app: App, n_reruns: int) -> list[tuple[int, float]]:
    """(reruns so far, resident MiB) at the start and after a tenth, half and all of them."""
    rng = random.Random(0)
    with session_with(app.server) as session:
        session.rerun()
        found = [(0, app.server.resident_mib())]
        for done in range(1, n_reruns + 1):
            app.act(session, rng)
            if done in {n_reruns // 10, n_reruns // 2, n_reruns}:
                found.append((done, app.server.resident_mib()))
    return found


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"


def waits(dashboard: App, trivial: App, n: int) -> str:
    """What a person waits for, in Chromium: median and worst of `n`."""
    rows: list[list[Any]] = [
        ["server start", f"{dashboard.server.seconds_to_start:.1f} s", f"{trivial.server.seconds_to_start:.1f} s"]
    ]
    with session_with(dashboard.server) as session:
        rows.append(["first session, which reads the audit", f"{session.rerun():.1f} s", "–"])
    with browser.chromium() as chromium:
        visits = [
            (browser.first_hero(chromium, dashboard.server), browser.first_table(chromium, trivial.server))
            for _ in range(n)
        ]
        ours = browser.row_clicks(chromium, dashboard.server, n)
        theirs = browser.button_clicks(chromium, trivial.server, n)
    rows.append(["first visit, empty cache: hero, table", *(_spread(values) for values in zip(*visits, strict=True))])
    rows.append(["row click to hero, button to its effect", _spread(ours), _spread(theirs)])
    return table(["", dashboard.name, trivial.name], rows)


def _spread(values: Sequence[float]) -> str:
    return f"{np.median(values):.2f} s (worst {max(values):.2f} s)"


def load(dashboard: App, trivial: App, sessions: Sequence[int], n_each: int, n_rounds: int) -> str:
    """p50 and p95 of both apps and their ratios, the median of the rounds."""
    rows = []
    for n_sessions in sessions:
        found = np.array(rounds((dashboard, trivial), n_sessions, n_each, n_rounds))
        p50, p95, plain50, plain95 = np.median(found, axis=0)
        half, most = found[:, 0] / found[:, 2], found[:, 1] / found[:, 3]
        ratios = [f"{np.median(ratio):.1f} ({ratio.min():.1f}–{ratio.max():.1f})" for ratio in (half, most)]
        rows.append([n_sessions, n_sessions * n_each * n_rounds, _ms(p50), _ms(plain50), ratios[0], _ms(p95),
                     _ms(plain95), ratios[1]])  # fmt: skip
    heads = ["sessions", "interactions", "p50", "trivial", "ratio", "p95", "trivial", "ratio"]
    return table(heads, rows)


def main() -> None:
    """Measure and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--reruns", type=int, default=1000)
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 5, 10])
    parser.add_argument("--each", type=int, default=20, help="interactions of each session and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--visits", type=int, default=7, help="visits and clicks in Chromium")
    chosen = parser.parse_args()
    with TemporaryDirectory() as scratch:
        folder, script = Path(scratch) / "runs", Path(scratch) / "trivial.py"
        size = (write_made_audit(folder / "made", chosen.problems, chosen.steps) / "audit.json").stat().st_size
        script.write_text(TRIVIAL.format(rows=chosen.problems), encoding="utf-8")
        ours, theirs = free_port(), free_port()
        command = [sys.executable, "-m", "workbench", "dashboard", str(folder), "--port", str(ours), "--no-browser"]
        plain = [sys.executable, "-m", "streamlit", "run", str(script), "--server.port", str(theirs),
                 "--server.address", "127.0.0.1", "--server.headless", "true", "--server.fileWatcherType", "none",
                 "--browser.gatherUsageStats", "false"]  # fmt: skip
        print(
            f"{about_this_machine('streamlit', 'plotly', 'pydantic')}\n{chosen.problems} problems of {chosen.steps} "
            f"steps, made and not judged; audit.json {size / 1e6:.1f} MB\n",
            flush=True,
        )
        with serving(command, ours) as first, serving(plain, theirs) as second:
            dashboard, trivial = App("dashboard", first, picks(chosen.problems)), App("trivial app", second, clicks)
            print(waits(dashboard, trivial, chosen.visits), flush=True)
            print(load(dashboard, trivial, chosen.sessions, chosen.each, chosen.rounds), flush=True)
            rows = [[done, f"{mib:.0f} MiB"] for done, mib in memory(dashboard, chosen.reruns)]
            print(table(["reruns", "resident"], rows))


if __name__ == "__main__":
    main()
