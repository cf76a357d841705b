"""Two hundred payloads in every text of a run: nothing of them becomes markup in report, exports or dashboard."""

from __future__ import annotations

import csv
import io
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from audit_factory import honest, make_audit, problem_of, step_of, write_audit  # type: ignore[import-not-found]
from payloads import payloads  # type: ignore[import-not-found]
from test_dashboard import opened  # type: ignore[import-not-found]

from workbench.findings import append, findings, read_history
from workbench.findings.export import findings_csv, findings_html
from workbench.reports.html import render_report
from workbench.reports.records import AuditRecord
from workbench.reports.tables import problems_csv

PAYLOADS = payloads()
AT_ONCE = 20


def hostile_audit(texts: list[str]) -> AuditRecord:
    """Each text as prompt, said text, value, claim, answer, condition and reason of a problem of its own."""
    problems = []
    for k, text in enumerate(texts):
        steps = [step_of(0, text, text, 0, "conflict"), step_of(1, "vault", text, 1, "conflict")]
        problems.append(
            problem_of(f"p-{k}", steps, [text, text], prompt=text, said=text, condition=text, answer=text,
                       verdict="cannot-tell", reason=text)
        )  # fmt: skip
    return make_audit(problems, n_steps=2, warnings=list(texts))


class Tags(HTMLParser):
    """Every element and attribute of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[tuple[str, str]] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {(tag, name) for name, _ in attrs} | {(tag, "")}


def tags(page: str) -> set[tuple[str, str]]:
    parser = Tags()
    parser.feed(page)
    return parser.found


def test_there_are_two_hundred_of_them() -> None:
    assert len(set(PAYLOADS)) == 200


def test_reports_have_no_element_that_a_harmless_one_has_not() -> None:
    harmless = tags(render_report(hostile_audit(["vault"] * 40), provenance={}))
    for start in range(0, len(PAYLOADS), AT_ONCE):
        texts = PAYLOADS[start : start + AT_ONCE]
        page = render_report(hostile_audit(texts), provenance={"command": texts, "note": texts})
        assert tags(page) <= harmless | {("pre", "")}
        assert not any(hidden in page for hidden in ("\u202e", "\u200b", "\x1b", "\x00", "\u2066", "\ufeff"))


def test_findings_have_none_either_and_their_comments_are_only_text(tmp_path: Path) -> None:
    audit = hostile_audit(PAYLOADS[:5])
    folder = write_audit(tmp_path / "audit", audit)
    append(folder, audit, "pin", ("p-0", 0), author="ada")
    harmless = tags(findings_html(audit, findings(read_history(folder)), provenance={})) | {("b", "")}
    for start in range(0, len(PAYLOADS), AT_ONCE):
        for text in PAYLOADS[start : start + AT_ONCE]:
            if text.strip() and len(text) <= 100:
                append(folder, audit, "comment", ("p-0", 0), author=text[:100], comment=text)
    found = findings(read_history(folder))
    assert tags(findings_html(audit, found, provenance={})) <= harmless
    for row in csv.DictReader(io.StringIO(findings_csv(audit, found))):
        assert not any(cell.lstrip(" ").startswith(tuple("=+-@\t\r\n＝＋－＠")) for cell in row.values())


def test_no_spreadsheet_runs_a_cell() -> None:
    for row in csv.DictReader(io.StringIO(problems_csv(hostile_audit(PAYLOADS)))):
        texts = [cell for name, cell in row.items() if name not in ("score", "p_value", "q_value")]
        assert not any(cell.lstrip(" ").startswith(tuple("=+-@\t\r\n＝＋－＠")) for cell in texts)


@pytest.mark.slow
@pytest.mark.parametrize("page", ["overview", "trace", "compare", "sanity", "findings", "report", "tour"])
def test_no_page_gives_a_payload_to_markdown_or_html(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["dashboard.py", str(tmp_path)])
    for start in range(0, len(PAYLOADS), AT_ONCE * 2):
        texts = PAYLOADS[start : start + AT_ONCE * 2]
        audit = make_audit([*hostile_audit(texts).problems, honest("fine")], n_steps=2, warnings=texts)
        folder = write_audit(tmp_path / "audit", audit)
        if not read_history(folder):
            append(folder, audit, "pin", ("p-0", 0), author="<b>x</b>", comment=texts[0])
        app = opened(page, problem=f"p-{min(3, len(texts) - 1)}")
        assert not app.exception
        kinds = (app.markdown, app.caption, app.info, app.warning, app.error, app.title, app.header, app.subheader)
        marked = [element.value for elements in kinds for element in elements]
        # Short ones, such as a bare word, stand in our own sentences too.
        assert not [text for text in texts if len(text) > 6 and any(text in shown for shown in marked)]
