"""Start here and Glossary without a browser: every look draws, the last one runs the model, words are explained."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from audit_factory import make_audit, write_audit  # type: ignore[import-not-found]
from test_dashboard import opened, words  # type: ignore[import-not-found]

from apps.glossary import WORDS
from apps.tour import LOOKS
from workbench.figures.palette import STATUSES
from workbench.jobs.folder import wait
from workbench.serve import DEMO_AUDIT


@pytest.mark.parametrize("look", [title for title, _ in LOOKS])
def test_every_look_of_the_tour_draws(look: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["dashboard.py", str(DEMO_AUDIT)])
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    app = opened("tour", look=look)
    assert not app.exception
    assert app.header[0].value == look
    assert bool(app.get("plotly_chart")) == (look == "The line that does not arrive")
    assert any(one.label == "Run" for one in app.button) == (look == "Swap a thought")


def test_the_tour_walks_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["dashboard.py", str(DEMO_AUDIT)])
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    app = opened("tour")
    for title, _ in LOOKS:
        assert app.header[0].value == title
        after = next(one for one in app.button if one.label == "Next")
        if not after.disabled:
            after.click().run()
    assert next(one for one in app.button if one.label == "Next").disabled
    assert any("check-model" in block.value for block in app.code)


def test_the_swap_of_the_tour_flips_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["dashboard.py", str(DEMO_AUDIT)])
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    app = opened("tour", look="Swap a thought")
    next(one for one in app.button if one.label == "Run").click().run()
    assert wait(tmp_path / "neuralese-workbench" / "jobs" / "0001-live", seconds=120).status.state == "done"
    app.run()
    assert any("it answers" in text and "instead of" in text for text in words(app))
    assert not app.exception


def test_an_audit_without_problems_has_no_tour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_audit(tmp_path / "empty", make_audit([]))
    monkeypatch.setattr(sys, "argv", ["dashboard.py", str(tmp_path)])
    app = opened("tour")
    assert "no problem" in app.info[0].value


def test_every_word_that_a_verdict_uses_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    explained = {word for words_ in WORDS.values() for word in words_}
    assert {*STATUSES, "diverges", "agrees", "cannot-tell", "coverage", "decorative", "live", "power"} <= explained
    monkeypatch.setattr(sys, "argv", ["dashboard.py", str(tmp_path)])
    app = opened("glossary")  # needs no run
    assert len(app.dataframe) == len(WORDS)
    assert words(app) == []
