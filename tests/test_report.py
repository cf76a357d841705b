"""The report: verdict first, limits said, nothing runs and nothing is fetched."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
from audit_factory import (
    channel_of,
    default_problems,
    honest,
    hostile,
    liar,
    make_audit,
    promise_of,
    step_summary,
)

from workbench.reports.headline import headlines, notices, verdict_line
from workbench.reports.html import WORST_DRAWN, render_report
from workbench.reports.limits import limits, uncontrolled
from workbench.reports.records import ConditionRow

PROVENANCE = {"command": ["workbench", "audit", "my model"], "versions": {"torch": "2.13.0"}, "seed": 0}
VOID = {"meta", "br", "path", "rect"}


class Page(HTMLParser):
    """Tags, attributes and text by section; fails on a document that does not nest."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.words, self.open = [], [], [], []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def page(audit, provenance=PROVENANCE):
    return Page(render_report(audit, provenance=provenance))


def test_the_verdict_stands_before_every_number():
    text = page(make_audit()).text
    assert text.index("3 of 10 problems diverge") < text.index("Verdict by condition") < text.index("each beside its")


def test_what_limits_the_verdict_stands_before_it_and_in_order():
    audit = make_audit(
        channel=channel_of(decorative=True, thought_effect=0.01, coverage=0.0),
        status="partial",
        status_reason="stopped by Ctrl-C",
        n_planned=400,
        false_alarm_rate=promise_of(certified=False, n_honest=90, upper95=0.033),
    )
    text = page(audit).text
    marks = [
        "The thoughts are not used",
        "This audit is partial (10 of 400 problems): stopped",
        "is not certified",
        "parts from what its thoughts hold (partial)",
    ]
    places = [text.index(mark) for mark in marks]
    assert places == sorted(places)
    assert [notice.kind for notice in notices(audit)] == ["decorative", "partial", "uncertified"]


def test_a_sound_audit_has_no_notice():
    assert notices(make_audit()) == []
    assert "notice" not in {v for _, name, v in page(make_audit()).attributes if name == "class"}


def test_steps_that_cannot_be_read_or_are_not_used_are_named():
    audit = make_audit(steps=[step_summary(0), step_summary(1, readable=False), step_summary(2, live=False)],
                       channel=channel_of(coverage=0.2))  # fmt: skip
    kinds = {notice.kind: notice.text for notice in notices(audit)}
    assert "only 20%" in kinds["coverage"]
    assert kinds["unreadable"].startswith("Thought of step 1:")
    assert kinds["idle"].startswith("Thought of step 2:")


def test_every_headline_has_a_control_and_a_sample_size():
    for row in headlines(make_audit()):
        assert row.control not in {"", "–"}
        assert int(row.n) > 0


@pytest.mark.parametrize("problems", [[honest("p-1")], default_problems()])
def test_the_verdict_line_counts_right(problems):
    audit = make_audit(problems)
    assert f"{audit.summary.n_diverges} of {len(problems)} problems diverge" in verdict_line(audit)


def test_limits_depend_on_what_the_probes_learned():
    audit = make_audit()
    trusted = audit.model_copy(update={"settings": audit.settings.model_copy(update={"labels": "said"})})
    assert any("blind to the same lie" in text for text in limits(trusted))
    assert not any("blind to the same lie" in text for text in limits(audit))
    assert all(text in page(trusted).text for text in limits(trusted))


def test_limits_name_the_controls_that_were_not_run():
    audit = make_audit()
    assert uncontrolled(audit) == [
        "edits of keys and values", "exchange in the probes' subspace", "planted lies (power)",
        "a monitor that sees only the words",
    ]  # fmt: skip
    told = page(audit).text
    assert all(name in told for name in uncontrolled(audit))
    assert any(text.startswith("No monitor") for text in limits(audit))
    lens = audit.model_copy(update={"settings": audit.settings.model_copy(update={"reader": "lens"})})
    assert not any(text.startswith("The probes are linear") for text in limits(lens))


def test_nothing_runs_and_nothing_is_fetched():
    audit = make_audit([hostile(), *default_problems()], warnings=["<script>alert(1)</script>\u202e"])
    html = render_report(audit, provenance={"command": "<script>x</script>", "note": "<img src=x onerror=1>"})
    found = Page(html)
    assert not {"script", "img", "a", "link", "iframe", "object", "form", "image", "use"} & set(found.tags)
    names = {name for _, name, _ in found.attributes}
    assert not {name for name in names if name.startswith("on")} | names & {
        "href",
        "src",
        "style",
        "xlink:href",
    }
    assert not re.search(r"url\((?!#h[0-9a-f]{8}[a-z]+\))", html)
    assert all(char.isprintable() or char == "\n" for char in html)
    assert "\\u202e" in found.text
    assert "<script>document.title='pwned'</script>" in found.text


def test_the_policy_allows_exactly_this_style_sheet():
    html = render_report(make_audit(), provenance={})
    sheet = re.search(r"<style>(.*?)</style>", html, re.DOTALL).group(1)
    expected = base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode()
    policy = next(
        v for tag, name, v in page(make_audit()).attributes if tag == "meta" and name == "content" and "src" in v
    )
    assert policy == f"default-src 'none'; style-src 'sha256-{expected}'; base-uri 'none'; form-action 'none'"
    assert html.count("<style") == 1
    assert "http" not in re.sub(r"http://www\.w3\.org/2000/svg|http-equiv", "", html)


def test_ids_of_the_drawings_are_unique():
    ids = [value for _, name, value in page(make_audit()).attributes if name == "id"]
    assert ids
    assert len(ids) == len(set(ids))


def test_the_worst_problems_are_drawn_and_all_conditions_listed():
    problems = [honest(f"h-{i + 10}") for i in range(20)] + [liar("p-worst", 6)]
    audit = make_audit(problems)
    found = page(audit)
    assert found.tags.count("svg") == WORST_DRAWN
    assert found.text.index("p-worst diverges") < found.text.index("h-10 agrees")
    for row in audit.summary.conditions:
        assert isinstance(row, ConditionRow)
        assert row.condition in found.text


def test_provenance_is_shown_and_the_page_is_a_pure_function():
    found = page(make_audit())
    assert "workbench audit 'my model'" in found.text
    assert "versions.torch 2.13.0" in found.text
    assert make_audit().run_root in found.text
    assert render_report(make_audit(), provenance=PROVENANCE) == render_report(make_audit(), provenance=PROVENANCE)
