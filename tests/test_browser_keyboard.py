"""The way from the worst problem to a pinned finding without a mouse: everything is reached by Tab, in order, and is
seen to be."""

import re
import shutil

import pytest
from playwright.sync_api import TimeoutError as TimeoutError_
from test_browser import (  # noqa: F401
    CHROMIUM,
    address,
    chromium,
    hero_of,
    new_page,
    pytestmark,
    shown,
)  # fmt: skip

from workbench.findings import read_history
from workbench.reports.records import read_audit
from workbench.reports.tables import by_score
from workbench.serve import DEMO_AUDIT

WORST, SECOND = by_score(read_audit(DEMO_AUDIT))[:2]
AT = """() => {
    const at = document.activeElement;
    const style = getComputedStyle(at);
    const name = at.getAttribute('aria-label') || at.innerText || at.placeholder || at.tagName;
    const ring = style.outlineStyle != 'none' && parseFloat(style.outlineWidth) >= 1 || style.boxShadow != 'none';
    const box = at.getBoundingClientRect();
    return {name: name.trim().slice(0, 60), ring: ring || at.tagName == 'CANVAS', tag: at.tagName, width: box.width};
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    shutil.copytree(DEMO_AUDIT, root / "liar")
    return root


def tab_to(page, name, most=60):
    """Press Tab until the element of this name is reached; every stop on the way, each with a ring around it."""
    stops = []
    for _ in range(most):
        page.keyboard.press("Tab")
        at = page.evaluate(AT)
        if at["tag"] not in ("BODY", "HTML") and at["width"] > 1:
            stops.append(at["name"])
            assert at["ring"], f"nobody sees that {at['name']} is reached"
        if re.search(name, at["name"]):
            return stops
    pytest.fail(f"{name} is not reached by Tab: {stops}")


def press_until_at(page, key, place):
    """A key that is pressed while a page still settles can be lost; it is pressed again only where nothing came."""
    for _ in range(4):
        page.keyboard.press(key)
        try:
            page.wait_for_url(re.compile(place), timeout=8000)
        except TimeoutError_:
            continue
        return
    pytest.fail(f"{key} does not lead to {place}: {page.url}")


def test_the_core_of_the_ten_minutes_needs_no_mouse(address, new_page, folder):  # noqa: F811
    page = new_page()
    page.goto(f"{address}/")
    hero_of(page)
    page.wait_for_timeout(800)
    stops = tab_to(page, "^CANVAS$")
    order = [
        next(i for i, stop in enumerate(stops) if word in stop) for word in ("Explore", "Help", "Folder", "Search")
    ]
    assert order == sorted(order)
    press_until_at(page, "ArrowDown", f"problem={SECOND.id}")
    page.wait_for_selector(".stApp[data-test-script-state=notRunning]")
    page.wait_for_timeout(1000)  # the link is drawn anew for the row that was picked
    tab_to(page, "Step through this problem")
    press_until_at(page, "Enter", "/trace")
    shown(page, "Latent step 0")
    hero_of(page)

    press_until_at(page, "l", "step=[123]")
    page.goto(f"{address}/trace?run=liar&problem={WORST.id}&step=1")
    shown(page, "Latent step 1")
    page.wait_for_timeout(1000)
    press_until_at(page, "j", f"problem={SECOND.id}")
    stops = tab_to(page, "Reviewer|your name")
    order = [next(i for i, stop in enumerate(stops) if word in stop) for word in ("Next problem", "Next step")]
    assert order == sorted(order)
    page.keyboard.type("jill f")  # in a field for text, keys are letters
    page.keyboard.press("Enter")
    page.wait_for_timeout(500)
    assert f"problem={SECOND.id}" in page.url
    tab_to(page, "Pin as finding")
    page.keyboard.press("f")
    page.get_by_role("button", name="Pinned").wait_for()
    pinned = read_history(folder / "liar")
    assert [(one.problem, one.author) for one in pinned] == [(SECOND.id, "jill f")]

    press_until_at(page, "g", "/grid")
    page.get_by_text("workbench apply").first.wait_for()  # nothing was read yet: the page says how

    page.goto(f"{address}/findings?run=liar")
    page.get_by_test_id("stText").filter(has_text=SECOND.id).first.wait_for()  # in the table it is not text
    page.wait_for_timeout(500)
    tab_to(page, "^Severity", most=80)


def test_the_menu_is_walked_by_keys(address, new_page, folder):  # noqa: F811
    page = new_page()
    page.goto(f"{address}/?run=liar")
    hero_of(page)
    page.wait_for_timeout(800)
    tab_to(page, "^Oversee")
    page.keyboard.press("Enter")
    page.get_by_test_id("stTopNavDropdownLink").filter(has_text="Sanity").wait_for()
    for name in ("Findings", "Report", "Sanity"):
        assert page.evaluate(AT)["name"].startswith(name)
        page.keyboard.press("ArrowDown" if name != "Sanity" else "Enter")
    page.wait_for_url(re.compile("/sanity"))
    page.get_by_text("Can the thoughts be read?").wait_for()
