"""What a person waits for, in Chromium: the first hero, and the hero of the next row."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.streamlit_sessions import Server

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync")
_HEADER, _ROW, _ROWS_SHOWN = 36, 35, 4
"""Pixels of a table's header and of one row, and how many rows are in sight."""
_DRAWN = ".js-plotly-plot .barlayer .point path"
_FIGURE = """(() => { const plot = document.querySelector('.js-plotly-plot');
    return plot && plot.data && plot.querySelector('.barlayer .point path')
        ? JSON.stringify(plot.data.map(trace => [trace.hovertext, trace.y])) : null })()"""
"""What the hero shows; two problems of one made audit differ in it."""
_SLOW = 60_000


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser that lies on this machine."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        found = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = driver.chromium.launch(executable_path=found, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


def first_hero(browser: Any, server: Server) -> float:
    """Seconds from an empty browser cache to a hero that is drawn."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    began = time.perf_counter()
    page.goto(server.url)
    page.wait_for_selector(_DRAWN, timeout=_SLOW)
    seconds = time.perf_counter() - began
    context.close()
    return seconds


def row_clicks(browser: Any, server: Server, n_clicks: int) -> list[float]:
    """Seconds from each click on another row of the table to that problem's hero."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto(server.url)
    page.wait_for_selector(_DRAWN, timeout=_SLOW)
    page.wait_for_timeout(2000)
    box = page.get_by_test_id("stDataFrame").first.bounding_box()
    waited = []
    for click in range(n_clicks):
        before = page.evaluate(_FIGURE)
        row = 1 + click % (_ROWS_SHOWN - 1)
        began = time.perf_counter()
        page.mouse.click(box["x"] + 300, box["y"] + _HEADER + _ROW * (row + 0.5))
        changed = f"before => {{ const now = {_FIGURE}; return now !== null && now !== before }}"
        page.wait_for_function(changed, arg=before, timeout=_SLOW)
        waited.append(time.perf_counter() - began)
        page.wait_for_timeout(500)
    context.close()
    return waited


def first_table(browser: Any, server: Server) -> float:
    """Seconds from an empty browser cache to the trivial app's table and text."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    began = time.perf_counter()
    page.goto(server.url)
    page.wait_for_selector("[data-testid=stDataFrame] canvas", timeout=_SLOW)
    page.get_by_text("clicked 0", exact=True).wait_for(timeout=_SLOW)
    seconds = time.perf_counter() - began
    context.close()
    return seconds


def button_clicks(browser: Any, server: Server, n_clicks: int) -> list[float]:
    """Seconds from each click on the trivial app's button until its text has changed."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto(server.url)
    page.get_by_text("clicked 0", exact=True).wait_for(timeout=_SLOW)
    page.wait_for_timeout(2000)
    waited = []
    for click in range(1, n_clicks + 1):
        began = time.perf_counter()
        page.get_by_role("button", name="again").click()
        page.get_by_text(f"clicked {click}", exact=True).wait_for(timeout=_SLOW)
        waited.append(time.perf_counter() - began)
        page.wait_for_timeout(500)
    context.close()
    return waited
