"""Dashboard and report in a real browser: click paths, both themes, nothing runs, nothing leaves."""

import re
import shutil
import sys
from pathlib import Path

import pytest
from audit_factory import default_problems, hostile, liar, make_audit, mixed, write_audit
from playwright.sync_api import TimeoutError as TimeoutError_
from plotly.offline import get_plotlyjs

from benchmarks.streamlit_sessions import free_port, serving
from workbench.figures import hero
from workbench.reports.html import render_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    # Playwright's driver leaves pipes to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
ROOT = Path(__file__).resolve().parents[1]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SLOW = 30_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    write_audit(root / "demo", make_audit([hostile(), *default_problems()]))
    return root


@pytest.fixture(scope="module")
def address(folder):
    port = free_port()
    command = [sys.executable, "-m", "apps", "--port", str(port), "--headless", "--", str(folder)]
    with serving(command, port, folder=ROOT) as server:
        yield server.url


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def new_page(chromium):
    """Pages in fresh contexts; after the test: no script error, no foreign request, no planted script ran."""
    opened, errors, foreign = [], [], []

    def make(scheme="light", width=1280, height=900):
        context = chromium.new_context(color_scheme=scheme, viewport={"width": width, "height": height})
        page = context.new_page()
        page.set_default_timeout(SLOW)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("dialog", lambda dialog: errors.append("dialog"))
        page.on("request", lambda request: foreign.append(request.url) if is_foreign(request.url) else None)
        opened.append((context, page))
        return page

    yield make
    titles = [page.title() for _, page in opened]
    for context, _ in opened:
        context.close()
    assert errors == []
    assert foreign == []
    assert not any("pwned" in title for title in titles)


def is_foreign(url):
    return not re.match(r"(https?|wss?)://127\.0\.0\.1[:/]|data:|blob:|file:|about:", url)


def hero_of(page):
    page.wait_for_selector(".js-plotly-plot .barlayer .point path")
    return page.locator(".js-plotly-plot").first


def texts_of(page):
    """Texts of each hero on the page, as (text, x, y, width, height) on the screen."""
    return page.evaluate(
        """() => [...document.querySelectorAll('.js-plotly-plot')].map(plot =>
            [...plot.querySelectorAll('svg text')]
                .filter(t => t.textContent.trim() && t.getClientRects().length)
                .map(t => [t, t.getBoundingClientRect()])
                .map(([t, r]) => [t.textContent, r.x, r.y, r.width, r.height]))"""
    )


def click_box(page, label):
    """Click the box of the hero that carries this text."""
    hero = hero_of(page)
    box = hero.locator(".barlayer text", has_text=re.compile(f"^{re.escape(label)}$")).first.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] + 6)


def open_page(page, section, name):
    """Through the menu at the top."""
    page.get_by_test_id("stTopNavSection").filter(has_text=section).click()
    page.get_by_test_id("stTopNavDropdownLink").filter(has_text=name).click()


def press_until_shown(page, key, text):
    """A key that is pressed while a page still settles can be lost; it is pressed again only where nothing came."""
    for _ in range(4):
        page.keyboard.press(key)
        try:
            page.get_by_text(text, exact=True).first.wait_for(timeout=6000)
        except TimeoutError_:
            continue
        return
    shown(page, text)


def shown(page, text):
    page.get_by_text(text, exact=True).first.wait_for()


def test_the_overview_shows_the_worst_and_a_row_shows_its_hero(address, new_page):
    page = new_page()
    page.goto(f"{address}/?run=demo")
    shown(page, "Decoded right")
    hero_of(page)
    assert "<script>doc…" in [text for text, *_ in texts_of(page)[0]]
    grid = page.get_by_test_id("stDataFrame").first
    box = grid.bounding_box()
    page.mouse.click(box["x"] + 300, box["y"] + 36 + 35 * 1.5)
    held, said = "atrium, bakery, cellar, dairy", "dairy, forge, garden, library"
    shown(page, f"Diverges at steps 0-3: the thoughts hold {held}; it says {said}.")
    page.locator("a[href*='problem=p-0001']").first.wait_for()  # the link is drawn after the hero
    page.get_by_text("Step through this problem").click()
    page.wait_for_url(re.compile(r"/trace\?(?!.*run=.*run=)(?=.*run=demo).*problem=p-0001"))
    shown(page, "Latent step 0")


def test_a_click_on_a_thought_a_bar_or_a_claim_moves_the_detail(address, new_page):
    page = new_page()
    page.goto(f"{address}/trace?run=demo&problem=p-0003")
    shown(page, "Latent step 0")
    page.wait_for_timeout(800)
    click_box(page, "cellar")
    shown(page, "Latent step 2")
    shown(page, "unsaid. Reads as: cellar; nothing was said against it")
    page.wait_for_url(re.compile("step=2"))
    click_box(page, "vault")
    shown(page, "Claim 1")
    click_box(page, "garden")
    shown(page, "Latent step 4")


def test_keys_walk_through_steps_and_problems(address, new_page):
    page = new_page()
    page.goto(f"{address}/trace?run=demo&problem=p-0001&step=1")
    shown(page, "Latent step 1")
    hero_of(page)
    page.wait_for_timeout(1000)
    press_until_shown(page, "l", "Latent step 2")
    page.keyboard.press("j")
    page.wait_for_url(re.compile("problem=p-0002"))


def test_a_deep_link_works_in_a_fresh_context_and_both_themes(address, new_page):
    grounds = {}
    for scheme in ("light", "dark"):
        page = new_page(scheme)
        page.goto(f"{address}/trace?run=demo&problem=p-0002&step=3")
        shown(page, "Latent step 3")
        hero_of(page)
        grounds[scheme] = page.evaluate("getComputedStyle(document.querySelector('.stApp')).backgroundColor")
        ink = page.evaluate("document.querySelector('.js-plotly-plot .legendtext').style.fill")
        assert ink == {"light": "rgb(26, 28, 34)", "dark": "rgb(242, 243, 245)"}[scheme]
    assert grounds == {"light": "rgb(255, 255, 255)", "dark": "rgb(14, 17, 23)"}


def test_the_back_button_breaks_no_page(address, new_page):
    page = new_page()
    page.goto(f"{address}/?run=demo")
    hero_of(page)
    page.get_by_text("Step through this problem").click()
    page.get_by_text(re.compile(r"^Latent step \d+$")).first.wait_for()
    page.get_by_text("Next problem").click()
    open_page(page, "Explore", "Overview")
    page.get_by_text("Step through this problem").wait_for(timeout=20_000)
    page.go_back()
    page.get_by_text(re.compile(r"^Latent step \d+$")).first.wait_for()
    assert page.get_by_test_id("stException").count() == 0


@pytest.mark.parametrize("width", [1280, 1920])
def test_no_text_of_the_hero_lies_on_another(new_page, tmp_path, width):
    chains = [liar(f"p-{n}", n) for n in (3, 7, 12, 13, 20, 40, 60)]
    audit = make_audit([mixed("p-mixed"), hostile(), *chains], n_steps=60)
    figures = [hero(problem, audit).to_html(full_html=False, include_plotlyjs=False) for problem in audit.problems]
    script = f"<script>{get_plotlyjs()}</script>"
    sheet = tmp_path / "heroes.html"
    body = f"<body style='margin:0 80px'>{script}{''.join(figures)}"
    sheet.write_text(f"<!DOCTYPE html><meta charset=utf-8>{body}", encoding="utf-8")
    page = new_page(width=width)
    page.goto(sheet.as_uri())
    page.wait_for_function(f"document.querySelectorAll('.js-plotly-plot .legend').length == {len(figures)}")
    for problem, texts in zip(audit.problems, texts_of(page), strict=True):
        assert len(texts) >= 15
        for place, (text, x, y, w, h) in enumerate(texts):
            assert x >= 0
            assert x + w <= width, text
            for other, x2, y2, w2, h2 in texts[place + 1 :]:
                apart = x + w <= x2 + 1 or x2 + w2 <= x + 1 or y + h <= y2 + 2 or y2 + h2 <= y + 2
                assert apart, (problem.id, text, other)


def test_hostile_text_is_shown_and_does_nothing(address, new_page):
    page = new_page()
    for path in ("", "trace"):
        page.goto(f"{address}/{path}?run=demo&problem=p-xss")
        shown(page, "p-xss")
        hero_of(page)
        hero_of(page).locator(".barlayer .point").first.hover(force=True)
        page.wait_for_timeout(500)
        assert page.locator("img[src='x'], a[href*='evil']").count() == 0
        assert "pwned" not in page.title()
    assert page.get_by_text("<script>document.title='pwned'</script>").count() >= 1


def test_the_report_runs_and_fetches_nothing(folder, new_page, tmp_path):
    report = tmp_path / "report.html"
    audit = make_audit([hostile(), *default_problems()])
    report.write_text(render_report(audit, provenance={"command": "workbench demo"}), encoding="utf-8")
    for scheme in ("light", "dark"):
        page = new_page(scheme, width=1000)
        refused = []
        page.on("console", lambda message, refused=refused: refused.append(message.text))
        page.goto(report.as_uri())
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(14, 17, 23)"}[scheme]
        assert page.locator("section.problem svg").count() == 8
        assert page.evaluate("document.documentElement.scrollWidth") <= 1000
        assert refused == []
