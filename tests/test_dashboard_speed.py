"""What makes large audits quick changes nothing of what is read and shown."""

from __future__ import annotations

import gc
import sys
import unicodedata
from pathlib import Path

import pytest
from audit_factory import make_audit, write_audit  # type: ignore[import-not-found]
from hypothesis import given
from hypothesis import strategies as st
from test_dashboard import opened  # type: ignore[import-not-found]

from apps import data
from workbench.errors import SchemaError
from workbench.jsonio import parse_json
from workbench.reports.escape import visible
from workbench.reports.fields import Interval
from workbench.reports.headline import headlines
from workbench.reports.records import read_audit


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "argv", ["dashboard.py", str(tmp_path)])
    return write_audit(tmp_path / "mine", make_audit())  # type: ignore[no-any-return]


def test_curves_by_step_are_drawn_when_they_are_opened(run: Path) -> None:
    app = opened(run="mine")
    assert len(app.get("plotly_chart")) == 1
    app.session_state["by-step"] = True
    app.run()
    assert len(app.get("plotly_chart")) == 3


def test_a_headline_follows_the_file(run: Path) -> None:
    assert data.headlines_of(run) == headlines(read_audit(run))
    write_audit(run, make_audit(decode_accuracy=0.5, decode_interval=Interval(low=0.4, high=0.6)))
    assert data.headlines_of(run)[0].value == "0.50"


def test_garbage_is_collected_again_after_a_read_that_fails(tmp_path: Path) -> None:
    (tmp_path / "audit.json").write_text("{", encoding="utf-8")
    with pytest.raises(SchemaError):
        read_audit(tmp_path)
    assert gc.isenabled()


@pytest.mark.parametrize("half", [r"\ud800", r"\uDfff", r"a\\\udbffz"])
def test_half_a_surrogate_pair_is_refused_wherever_it_stands(half: str) -> None:
    for text in (f'["{half}"]', f'{{"{half}": 1}}', f'{{"a": [0, {{"b": "{half}"}}]}}'):
        with pytest.raises(SchemaError):
            parse_json(text, path="x.json")


@pytest.mark.parametrize("text", ['["\\ud83d\\ude00"]', r'["\\ud800"]'])
def test_whole_pairs_and_plain_backslashes_pass(text: str) -> None:
    assert len(parse_json(text, path="x.json")) == 1


@given(st.text(st.characters(max_codepoint=0x17F)))
def test_what_is_shown_hides_no_character(text: str) -> None:
    shown = visible(text)
    assert all(unicodedata.category(char) not in {"Cc", "Cf", "Zl", "Zp"} for char in shown)
    if all(" " <= char <= "~" for char in text):
        assert shown == text
