"""The Probes page and the report of a fit in a real browser: a click picks a cell, nothing overlaps, nothing runs."""

import re

import pytest
from fit_factory import HOSTILE, cell_of, grid_cells, hostile_fit, make_fit, text_of, undefined_cell, write_fit
from plotly.offline import get_plotlyjs
from test_browser import CHROMIUM, address, chromium, new_page, press_until_shown, pytestmark, shown, texts_of  # noqa: F401

from workbench.figures import confusions, grid, learning_curve, reliability, text_scores
from workbench.reports.fit_html import render_fit_report


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("fits")
    write_fit(root / "probes", make_fit([*grid_cells(6, 4), *grid_cells(6, 4, label="answer")]))
    write_fit(root / "hostile", hostile_fit(HOSTILE[1]))
    return root


def cell_at(page, panel, column, row, n_columns=6, n_rows=4):
    """Middle of a cell of the grid on the screen; rows from the bottom."""
    name = ("xy", "x2y")[panel]
    page.locator(f".js-plotly-plot .draglayer .{name} .nsewdrag").first.wait_for(state="attached")
    area = page.evaluate(
        """name => { const r = document.querySelector(`.js-plotly-plot .draglayer .${name} .nsewdrag`)
            .getBoundingClientRect(); return [r.x, r.y, r.width, r.height]; }""",
        name,
    )
    x, y, width, height = area
    return x + (column + 0.5) / n_columns * width, y + height - (row + 0.5) / n_rows * height


@pytest.mark.parametrize("panel", [0, 1])
def test_a_click_on_a_cell_shows_it(address, new_page, panel):  # noqa: F811
    page = new_page()
    page.goto(f"{address}/probes?run=probes")
    shown(page, "blocks.2.hook_resid_post, step 0, thought, logistic")
    page.wait_for_timeout(1000)
    page.mouse.click(*cell_at(page, panel, 4, 3))
    shown(page, "blocks.3.hook_resid_post, step 4, thought, logistic")
    page.wait_for_url(re.compile("at=4"))
    assert page.get_by_test_id("stException").count() == 0


def test_a_deep_link_opens_a_cell_of_a_label(address, new_page):  # noqa: F811
    page = new_page("dark")
    page.goto(f"{address}/probes?run=probes&label=answer&site=blocks.2.hook_resid_post&at=3")
    shown(page, "blocks.2.hook_resid_post, step 3, answer, logistic")
    page.wait_for_timeout(1000)
    press_until_shown(page, "l", "blocks.2.hook_resid_post, step 4, answer, logistic")


def test_hostile_text_is_shown_and_does_nothing(address, new_page):  # noqa: F811
    page = new_page()
    page.goto(f"{address}/probes?run=hostile")
    page.get_by_text("readable after correction").first.wait_for()
    page.wait_for_timeout(800)
    page.mouse.move(*cell_at(page, 0, 0, 0, n_columns=4, n_rows=1))
    page.locator(".js-plotly-plot .hoverlayer .hovertext").first.wait_for(state="attached")
    assert page.locator("img[src='x'], a[href*='evil']").count() == 0
    assert "pwned" not in page.title()


@pytest.mark.parametrize("width", [1280, 1920])
def test_no_text_of_a_figure_lies_on_another(new_page, tmp_path, width):  # noqa: F811
    fits = [
        make_fit(),
        make_fit(grid_cells(1, 6)),
        make_fit(grid_cells(60, 48), [text_of(step) for step in range(60)]),
        make_fit([undefined_cell(), cell_of("a" * 60, 1)]),
    ]
    figures = [grid(fit) for fit in fits]
    small = [draw(cell_of()) for draw in (reliability, learning_curve, confusions)]
    small += [text_scores(fit) for fit in fits]
    wide = "".join(figure.to_html(full_html=False, include_plotlyjs=False) for figure in figures)
    narrow = "".join(
        f"<div style='width:{(width - 160) // 3}px'>{figure.to_html(full_html=False, include_plotlyjs=False)}</div>"
        for figure in small
    )
    sheet = tmp_path / "fit.html"
    script = f"<script>{get_plotlyjs()}</script>"
    sheet.write_text(f"<!DOCTYPE html><meta charset=utf-8><body style='margin:0 80px'>{script}{wide}{narrow}")
    page = new_page(width=width)
    page.goto(sheet.as_uri())
    page.wait_for_function(f"document.querySelectorAll('.js-plotly-plot .legend').length == {len(figures + small)}")
    for texts in texts_of(page):
        assert len(texts) >= 8
        for place, (text, x, y, w, h) in enumerate(texts):
            assert x >= 0, text
            assert x + w <= width, text
            for other, x2, y2, w2, h2 in texts[place + 1 :]:
                apart = x + w <= x2 + 1 or x2 + w2 <= x + 1 or y + h <= y2 + 3 or y2 + h2 <= y + 3
                assert apart, (text, other)


def test_the_report_runs_and_fetches_nothing(new_page, tmp_path):  # noqa: F811
    report = tmp_path / "report.html"
    for fit in (make_fit(), *(hostile_fit(text) for text in HOSTILE[:6])):
        report.write_text(render_fit_report(fit), encoding="utf-8")
        for scheme in ("light", "dark"):
            page = new_page(scheme, width=1000)
            refused = []
            page.on("console", lambda message, refused=refused: refused.append(message.text))
            page.goto(report.as_uri())
            ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(14, 17, 23)"}[scheme]
            assert page.evaluate("document.documentElement.scrollWidth") <= 1000
            assert refused == []
