"""The page Grid in a real browser: the cell under the pointer is the one that a click picks, on either chart."""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from audit_factory import XSS, liar, make_audit, write_audit  # type: ignore[import-not-found]
from test_browser import (  # type: ignore[import-not-found]  # noqa: F401
    CHROMIUM,
    address,
    chromium,
    new_page,
    press_until_shown,
    pytestmark,
    shown,
)

from workbench.apply import COLUMNS

SMALL, LARGE = (3, 4), (170, 60)
"""Sites and steps: Altair draws the one, ECharts the other."""
READERS = {"small": "logit lens", "large": "lda"}
CHARTS = {"small": "[data-testid=stVegaLiteChart] :is(canvas, svg)", "large": "[data-testid*=echarts i] canvas"}
TIPS = {
    "small": ("document.getElementById('vg-tooltip-element').textContent", r"siteblocks\.(\d+)\.\D*step(\d+)"),
    "large": ("document.body.innerText", r"blocks\.(\d+)\.hook_resid_post, latent step (\d+)\b(?!: reads)"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = tmp_path_factory.mktemp("readings")
    for name, (n_sites, n_steps) in (("small", SMALL), ("large", LARGE)):
        kind = READERS[name]
        rows = [
            ("p-2", "p", f"blocks.{site}.hook_resid_post", step, "thought", kind, XSS, (site * step % 7) / 7, XSS)
            for site in range(n_sites) for step in range(n_steps)
        ]  # fmt: skip
        columns = list(zip(*rows, strict=True))
        arrays = [pa.array(column, field.type) for column, field in zip(columns, COLUMNS, strict=True)]
        (root / name).mkdir()
        pq.write_table(pa.table(arrays, COLUMNS), root / name / "readings.parquet")
    write_audit(root / "audit", make_audit([liar("p-1"), liar("p-2")]))
    return root


def under_the_pointer(page: Any, name: str) -> tuple[str, str]:
    """Site and step that the chart itself says the pointer is on."""
    where, what = TIPS[name]
    found = re.findall(what, page.evaluate(where))
    assert found, "the chart says nothing of the cell under the pointer"
    site, step = found[-1]
    return site, step


@pytest.mark.slow
@pytest.mark.parametrize("name", ["small", "large"])
def test_a_click_picks_the_cell_under_the_pointer(address: str, new_page: Any, name: str) -> None:  # noqa: F811
    page = new_page(height=1200)
    page.goto(f"{address}/grid?readings={name}&probe={READERS[name]}&site=blocks.0.hook_resid_post&step=0")
    shown_at = re.compile(r"^blocks\.0\.hook_resid_post, latent step 0: reads <script>")
    page.get_by_text(shown_at).first.wait_for()
    page.locator(CHARTS[name]).first.wait_for()
    page.wait_for_timeout(2500)
    area = page.locator(CHARTS[name]).first.bounding_box()
    for across, up in ((0.45, 0.25), (0.7, 0.5)):
        x, y = area["x"] + across * area["width"], area["y"] + up * area["height"]
        page.mouse.move(x, y)
        page.mouse.move(x + 1, y)
        page.wait_for_timeout(800)
        site, step = under_the_pointer(page, name)
        page.mouse.click(x + 1, y)
        page.get_by_text(re.compile(rf"^blocks\.{site}\.hook_resid_post, latent step {step}: reads")).first.wait_for()
        page.wait_for_url(re.compile(rf"site=blocks\.{site}\.hook_resid_post.*step={step}|step={step}.*site="))
        page.wait_for_timeout(800)
    assert re.search(rf"probe={READERS[name].replace(' ', '(%20|[+])')}", page.url), "the link keeps who reads"
    page.get_by_text("uncontrolled").first.wait_for()
    assert page.get_by_test_id("stException").count() == 0
    assert page.locator("img[src='x']").count() == 0


@pytest.mark.slow
def test_a_key_leads_from_trace_to_the_grid_at_the_same_step(address: str, new_page: Any) -> None:  # noqa: F811
    page = new_page()
    page.goto(f"{address}/trace?run=audit&problem=p-2&step=2")
    shown(page, "Latent step 2")
    page.wait_for_timeout(1500)
    press_until_shown(page, "g", "Grid")
    page.wait_for_url(re.compile(r"/grid\?.*problem=p-2"))
    page.get_by_text(re.compile(r"^blocks\.0\.hook_resid_post, latent step 2: reads")).first.wait_for()
