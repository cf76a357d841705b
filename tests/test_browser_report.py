"""Report and Compare in a real browser: chosen by keyboard, restored by links; what is handed on works offline."""

import json
import re

import pytest
from audit_factory import default_problems, honest, hostile, liar, make_audit, write_audit
from test_browser import CHROMIUM, address, chromium, new_page, pytestmark, shown  # noqa: F401

from workbench.cli import run
from workbench.compare import changes_between
from workbench.findings import Labels, append
from workbench.report import FORMATS
from workbench.reports.live_records import EditAsked, LiveRecord

AUDIT = make_audit([hostile(), *default_problems()])
CLIPPED = """() => [...document.querySelectorAll('body *')].filter(one =>
    one.clientWidth > 0 && !one.closest('.scroll') && one.scrollWidth > one.clientWidth + 1)
    .map(one => one.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    mine = write_audit(root / "demo", AUDIT)
    append(
        mine,
        AUDIT,
        "pin",
        ("p-xss", 0),
        author="<script>document.title='pwned'</script>",
        comment="=1+1 ![x](//evil.test)",
    )
    append(mine, AUDIT, "pin", ("p-0001", 2), author="ada")
    append(mine, AUDIT, "label", ("p-0001", 2), author="ada",
           labels=Labels(severity="high", category="says-otherwise", confidence="high"))  # fmt: skip
    intact, edited = honest("p-0005"), liar("p-0005")
    live = LiveRecord(
        model=AUDIT.model, run_root=AUDIT.run_root, probes_root=AUDIT.probes_root, seed=0, intact=intact, edited=edited,
        edit=EditAsked(kind="zero", step=None, donor=None), donor=None, changes=changes_between(intact, edited),
    )  # fmt: skip
    (root / "live-1").mkdir()
    (root / "live-1" / "live.json").write_bytes(live.to_json())
    return root


def taken(page, button, place):
    with page.expect_download() as download:
        page.get_by_role("button", name=button).press("Enter")
    download.value.save_as(place)
    return place


def test_a_label_is_chosen_by_keyboard_and_its_link_restores_it(address, folder, new_page, tmp_path):  # noqa: F811
    page = new_page()
    page.goto(f"{address}/report?run=demo")
    shown(page, "How to reproduce")
    assert page.get_by_role("img").filter(visible=True).count() >= 2
    page.wait_for_timeout(800)
    label = page.get_by_role("combobox", name="Label")
    label.focus()
    label.press("ArrowDown")
    page.keyboard.type("severity")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("labelled=severity"))
    page.get_by_text(re.compile("--label=severity=high")).wait_for()
    fresh = new_page("dark")
    fresh.goto(page.url)
    fresh.get_by_text(re.compile("--label=severity=high")).wait_for()
    fresh.wait_for_timeout(800)
    made = ["report", str(folder / "demo"), "--label=severity=high", "--format=html,json,csv,sarif"]
    assert run([*made, "--out", str(tmp_path)]) == 0
    for kind, one in FORMATS.items():
        name = one.name(of_findings=True)
        given = taken(fresh, one.label, tmp_path / f"{kind}-of-the-button").read_bytes()
        assert given == (tmp_path / name).read_bytes(), kind
    assert [row["problem"] for row in json.loads((tmp_path / "findings.json").read_bytes())["rows"]] == ["p-0001"]


def test_what_is_handed_on_opens_offline_and_hostile_text_does_nothing(address, new_page, tmp_path):  # noqa: F811
    page = new_page()
    page.goto(f"{address}/report?run=demo")
    shown(page, "How to reproduce")
    page.wait_for_timeout(800)
    findings = taken(page, "One page", tmp_path / "findings.html")
    page.get_by_text("the whole audit").click()
    page.wait_for_url(re.compile("hand=the"))
    shown(page, "How to reproduce")
    page.wait_for_timeout(800)
    whole = taken(page, "One page", tmp_path / "report.html")
    assert "pwned" not in page.title()
    for place in (findings, whole):
        for scheme, width in (("light", 1280), ("dark", 1920), ("light", 700)):
            other = new_page(scheme, width=width)
            other.context.set_offline(True)
            asked = []
            other.on("request", lambda request, asked=asked: asked.append(request.url))
            other.goto(place.as_uri())
            assert asked == [place.as_uri()]
            assert other.evaluate(CLIPPED) == []
            assert other.locator("section.problem svg").count() >= 2
            assert "What was not tested" in other.inner_text("main")
            other.emulate_media(media="print")
            assert other.evaluate("document.documentElement.scrollWidth") <= width


def test_a_run_by_hand_leads_to_intact_and_edited_on_the_same_steps(address, new_page):  # noqa: F811
    page = new_page()
    page.goto(f"{address}/live?run=demo")
    page.get_by_text("Compare intact and edited").click()
    shown(page, "What differs in B")
    for part in ("/compare", "run=demo", "compare=intact", "edited=live-1"):
        assert part in page.url
    fresh = new_page("dark", width=1920)
    fresh.goto(page.url)
    shown(fresh, "step 0 goes from agree to conflict")
    fresh.wait_for_function("document.querySelectorAll('.js-plotly-plot .bars').length >= 3")
    fresh.wait_for_timeout(500)
    places = [
        plot.evaluate("plot => plot._fullLayout.xaxis._offset + plot._fullLayout.xaxis.d2p(3)")
        for plot in fresh.locator(".js-plotly-plot").all()
    ]
    assert len(places) == 3
    assert max(places) - min(places) < 1  # pixels: the steps stand beneath each other
