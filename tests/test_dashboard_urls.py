"""Every page by its address, full and empty: what a link asks for is shown; what is not here harms nothing and is
said."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from audit_factory import default_problems, hostile, make_audit, write_audit  # type: ignore[import-not-found]
from fit_factory import make_fit, write_fit  # type: ignore[import-not-found]
from streamlit.testing.v1 import AppTest
from test_dashboard import ENTRY, opened, words  # type: ignore[import-not-found]

from workbench.findings import append
from workbench.reports.escape import visible
from workbench.reports.records import read_audit

VIEWS = Path(__file__).resolve().parents[1] / "apps" / "views"
PAGES = sorted(path.stem for path in VIEWS.glob("*.py") if path.stem != "__init__")
WITHOUT_RUN = ("grid", "jobs", "glossary")
"""Pages that show no audit and no fit."""
BAD = ("no", "../../etc/passwd", "<script>document.title='pwned'</script>", "![x](http://evil.test)", "-1", "9" * 5000)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "argv", ["dashboard.py", "--", str(tmp_path)])
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


def commands(app: Any) -> list[str]:
    return [line for block in app.code for line in block.value.splitlines() if line.startswith("workbench ")]


def full(folder: Path) -> None:
    audit = make_audit([*default_problems(), hostile()])
    write_audit(folder / "demo", audit)
    append(folder / "demo", audit, "pin", ("p-0002", 1), author="ada")
    append(folder / "demo", audit, "pin", ("p-0003", None), author="ada")
    write_fit(folder / "probes", make_fit())


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_full_and_has_one_title(page: str, folder: Path) -> None:
    full(folder)
    app = opened(None if page == "overview" else page, run="probes" if page == "probes" else "demo")
    assert len(app.title) == 1
    assert not app.error
    assert not app.toast
    drawn = [*app.dataframe, *app.metric, *app.get("plotly_chart"), *app.button, *app.code]
    assert drawn


@pytest.mark.parametrize("page", PAGES)
def test_without_runs_every_page_holds_a_command(page: str, folder: Path) -> None:
    app = opened(None if page == "overview" else page)
    assert not app.error
    assert commands(app) or page == "glossary"


@pytest.mark.parametrize("page", PAGES)
def test_with_probes_alone_every_page_of_audits_says_how_to_make_one(page: str, folder: Path) -> None:
    write_fit(folder / "probes", make_fit())
    app = opened(None if page == "overview" else page, run="probes")
    assert not app.error
    if page not in (*WITHOUT_RUN, "overview", "probes"):
        assert any(command.startswith("workbench audit ") for command in commands(app))


@pytest.mark.parametrize("page", PAGES)
def test_an_audit_without_problems_says_what_to_do(page: str, folder: Path) -> None:
    write_audit(folder / "empty", make_audit([]))
    app = opened(None if page == "overview" else page, run="empty")
    assert not app.error
    if page in ("overview", "trace", "compare", "live", "tour"):
        assert any(command.startswith("workbench audit ") for command in commands(app))


@pytest.mark.parametrize("page", PAGES)
def test_an_audit_that_cannot_be_read_is_a_card_on_every_page(page: str, folder: Path) -> None:
    write_audit(folder / "demo", make_audit())
    (folder / "broken").mkdir()
    (folder / "broken" / "audit.json").write_text('{"schema": "neuralese-audit/4", "verdict": ')
    app = opened(None if page == "overview" else page, run="broken")
    shown = [error.value for error in app.error]
    assert shown == (
        [] if page in WITHOUT_RUN else ["This audit cannot be read. Choose another one above, or write it again."]
    )
    for block in app.code:
        assert str(folder) not in block.value or page == "jobs"


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("value", BAD, ids=range(len(BAD)))
def test_what_a_link_asks_for_in_vain_harms_nothing_and_is_said(page: str, value: str, folder: Path) -> None:
    full(folder)
    names = ("run", "problem", "step", "verdict", "find", "second", "with", "compare", "label", "probe", "score",
             "site", "at", "look", "job", "job-kind", "readings", "cell", "tried", "live-problem", "live-step",
             "live-edit", "live-donor")  # fmt: skip
    asked = dict.fromkeys(names, value) | ({"run": "probes"} if page == "probes" else {})
    app = AppTest.from_file(str(ENTRY), default_timeout=30)
    app.switch_page(f"views/{page}.py")  # before the first run: the browser was nowhere before
    for name, text in asked.items():
        app.query_params[name] = text
    app.run()
    assert not app.exception
    assert not app.error
    told = [toast.value for toast in app.toast]
    assert told or page in ("glossary", "grid")
    texts = [*told, *(e.value for kind in (app.markdown, app.caption, app.info, app.warning) for e in kind)]
    assert not [text for text in texts if len(value) > 2 and value in text]


def test_links_restore_what_was_chosen(folder: Path) -> None:
    full(folder)
    app = opened(run="demo", problem="p-0003", verdict="cannot-tell")
    assert "p-0003" not in words(app)  # another verdict was asked for as well: it holds no such row
    app = opened(run="demo", problem="p-0003")
    assert "p-0003" in words(app)
    app = opened("findings", run="demo", problem="p-0003")
    assert "p-0003" in words(app)
    app = opened("findings", run="demo", problem="p-0002", step="1")
    assert "p-0002" in words(app)
    hostile_name = visible(hostile().id)
    app = opened("trace", run="demo", problem=hostile_name, step="2")
    assert not app.toast
    assert app.selectbox(key="problem").value == hostile().id
    app = opened("jobs", **{"job-kind": "capture"})
    assert app.session_state["job-kind"] == "capture"
    app = opened("tour", run="demo", look="What it thought")
    assert app.header[0].value == "What it thought"


def test_a_picked_row_is_kept_in_the_link(folder: Path) -> None:
    full(folder)
    app = opened(run="demo")
    assert "problem" not in app.query_params
    app.session_state[app.dataframe[0].key] = {"selection": {"rows": [], "columns": [], "cells": [(2, "says")]}}
    app.run()
    assert app.query_params["problem"] == app.dataframe[0].value["problem"].iloc[2]
    app = opened("findings", run="demo")
    app.session_state["findings"] = {"selection": {"rows": [], "columns": [], "cells": [(1, "said")]}}
    app.run()
    assert app.query_params["problem"] == "p-0003"
    assert "step" not in app.query_params


def test_the_page_jobs_lists_its_folder_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from apps import jobs

    looked: list[Path] = []
    monkeypatch.setattr(jobs, "jobs_in", lambda root: looked.append(root) or [])
    app = opened("jobs")
    looked.clear()
    app.run()
    assert len(looked) == 1


def test_every_page_has_its_picture_in_the_documents() -> None:
    from benchmarks.make_screenshots import OUT, shots
    from workbench.serve import DEMO_AUDIT

    named = {shot.name for shot in shots(read_audit(DEMO_AUDIT))}
    assert named == {*PAGES, "empty"}
    pictures = [VIEWS.parents[1] / OUT / f"page-{name}.png" for name in named]
    assert all(10_000 < picture.stat().st_size < 150_000 for picture in pictures)
