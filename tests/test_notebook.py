"""An audit in a notebook: small, static, offline, in any theme; the document's code runs."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from random import Random

import pytest
from audit_factory import XSS, default_problems, hostile, liar, make_audit, problem_of, step_of, write_audit  # type: ignore[import-not-found]
from conftest import ROOT  # type: ignore[import-not-found]
from payloads import payloads  # type: ignore[import-not-found]

import workbench as wb
from workbench.errors import SchemaError
from workbench.figures.palette import INKS, MARKS
from workbench.notebook import LIMIT, AuditView
from workbench.reports.records import AuditRecord, StepStatus

STATUSES: tuple[StepStatus, ...] = ("conflict", "ahead", "unsaid", "agree")


class Page(HTMLParser):
    """Elements and attributes of a cell."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.names: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.names |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def view(audit: AuditRecord) -> AuditView:
    return AuditView(audit, "mine")


@pytest.mark.parametrize("n", [0, 1, 3, 12, 13, 40, 41, 60, 500])
@pytest.mark.parametrize(
    "text", ["atrium", "<&'\"" * 20, "東京" * 60, "\u202e\u200b" * 30], ids=["words", "markup", "wide", "hidden"]
)
def test_a_cell_is_small_however_long_the_chain_and_whatever_is_said(n: int, text: str) -> None:
    steps = [step_of(k, text, f"{text}{k}", k, STATUSES[k % 3] if n < 500 else "conflict") for k in range(n)]
    problem = problem_of(f"p{text}" * 3, steps, [f"{text}{k}" for k in range(n)], prompt=text * 900, said=text * 900)
    audit = view(make_audit([problem] * 1, n_steps=max(1, n)))
    assert LIMIT <= 50_000
    for shown in (audit[0]._repr_html_(), audit._repr_html_()):
        assert len(shown.encode()) < LIMIT


def test_a_cell_without_room_for_the_connectors_says_so_and_still_shows_the_lie() -> None:
    order = list(range(2003))
    Random(0).shuffle(order)
    rows = [(k, "conflict" if k == 9 or k % 2 else "agree") for k in order]
    steps = [step_of(k, "a", "b", order[k], status, confidence=k % 7 / 7) for k, status in rows]
    shown = view(make_audit([problem_of("p", steps, ["b"] * 2003)], n_steps=2003))[0]._repr_html_()
    assert len(shown.encode()) < LIMIT
    assert "Too many connectors" in shown
    assert shown.count(MARKS["conflict"].fill) >= 2  # the box, and the bar beneath it
    assert "Too many" not in view(make_audit([liar("p", 60)], n_steps=60))[0]._repr_html_()


def test_nothing_in_a_cell_runs_or_is_fetched() -> None:
    plain = Page(view(make_audit([liar("p-1", 4)]))[0]._repr_html_())
    texts = payloads()
    for start in range(0, len(texts), 20):
        steps = [step_of(k, text, text, k, "conflict") for k, text in enumerate(texts[start : start + 20])]
        problem = problem_of(texts[start] or "p", steps, texts[start : start + 20], prompt=XSS, said=XSS)
        shown = view(make_audit([problem], n_steps=20))
        cell = Page(shown[0]._repr_html_())
        assert cell.tags <= plain.tags
        assert cell.names <= plain.names | {"transform"}
        assert not {"script", "img", "a", "link", "iframe", "object", "foreignobject", "use"} & cell.tags
        whole = Page(shown._repr_html_())
        assert whole.tags <= {"div", "style", "p", "table", "tr", "td", "th"}
        assert not {name for name in whole.names if name.startswith("on")} | whole.names - {"class"}
        assert all(char.isprintable() or char == "\n" for char in cell.text + whole.text)
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", shown[0]._repr_html_().split("<title>")[0])


def test_both_themes_are_in_a_cell_and_each_front_end_has_its_own_word_for_them() -> None:
    cell = view(make_audit())[0]._repr_html_()
    assert all(f"--wb-ground:{INKS[theme].ground}" in cell for theme in ("light", "dark"))
    assert "prefers-color-scheme:dark" in cell
    for host in ("data-jp-theme-light=false", ".vscode-dark", "html[theme=dark]"):
        assert host in cell


def test_an_audit_is_read_by_place_and_by_id_and_as_a_table(tmp_path: Path) -> None:
    folder = write_audit(tmp_path / "mine", make_audit([*default_problems(), hostile()]))
    audit = wb.load(folder)
    assert len(audit) == len(list(audit)) == 11
    assert audit[0].record.id == "p-xss"
    assert repr(audit["p-0005"]).startswith("p-0005: Agrees")
    assert audit["p-0001"].link("http://127.0.0.1:9") == "http://127.0.0.1:9/trace?run=mine&problem=p-0001"
    assert len(audit[0].hero().data) > 3
    table = audit.steps()
    assert len(table) == sum(len(one.record.steps) for one in audit)
    apart = table[table["divergence_bits"] > table["band_high"]]
    assert set(apart["status"]) == {"conflict", "ahead", "unsaid"}
    assert table["step"].isna().sum() == 1
    assert set(table["control"].dropna()) == {0.13}


def test_a_sound_audit_tells_of_no_missing_control_and_an_empty_one_is_shown() -> None:
    assert "Uncontrolled" in view(make_audit())._repr_html_()
    assert "Uncontrolled" not in wb.load("demo")._repr_html_()
    empty = view(make_audit([]))
    assert "0 of 0 problems" in empty._repr_html_()
    assert empty.steps().empty


def test_a_folder_without_an_audit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SchemaError):
        wb.load(tmp_path)


def test_the_code_in_the_document_runs() -> None:
    code = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "notebook.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(code) == 1
    done = subprocess.run([sys.executable, "-c", code[0]], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("http://127.0.0.1:8501/trace?run=demo_audit&problem=")


def test_importing_the_package_loads_no_figure() -> None:
    code = "import sys, workbench; sys.exit('plotly' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
