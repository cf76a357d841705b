"""The first ten minutes in a real browser: see the worst problem, walk, click a thought, open the grid there, swap a
thought in a running model, pin, hand on, and open what was handed on without a network."""

import re
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_browser import (  # noqa: F401
    CHROMIUM,
    address,
    chromium,
    click_box,
    hero_of,
    new_page,
    open_page,
    press_until_shown,
    pytestmark,
    shown,
)  # fmt: skip

from workbench.apply import COLUMNS
from workbench.findings import read_history
from workbench.reports.live_records import read_live
from workbench.reports.records import read_audit
from workbench.reports.tables import by_score
from workbench.serve import DEMO_AUDIT

AUDIT = read_audit(DEMO_AUDIT)
WORST, SECOND = by_score(AUDIT)[:2]
HELD = [row.decoded for row in WORST.steps]
ALONE = next(row for row in WORST.steps[1:] if row.step and HELD.count(row.decoded) == 1)
"""A thought whose value no other thought holds, so that a click on it picks its step and no other."""
HONEST = [problem for problem in by_score(AUDIT) if problem.verdict == "agrees"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The bundled audit in a folder of one's own, and readings of its worst problem."""
    root = tmp_path_factory.mktemp("runs")
    shutil.copytree(DEMO_AUDIT, root / "liar")
    (root / "readings").mkdir()
    rows = [
        (WORST.id, "p", f"blocks.{layer}.hook_resid_post", row.step, "thought", "multinomial-logistic", row.decoded,
         0.9, row.decoded)
        for layer in (0, 1) for row in WORST.steps if row.step is not None
    ]  # fmt: skip
    columns = zip(*rows, strict=True)
    table = pa.table([pa.array(column, field.type) for column, field in zip(columns, COLUMNS, strict=True)], COLUMNS)
    pq.write_table(table, root / "readings" / "readings.parquet")
    return root


def header(page, problem_id):
    """The name above a hero; the same name in a table is no text of the page."""
    page.get_by_test_id("stText").filter(has_text=re.compile(f"^{problem_id}$")).first.wait_for()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_first_ten_minutes(address, new_page, folder, tmp_path, scheme):  # noqa: F811
    page = new_page(scheme)
    page.goto(f"{address}/")
    header(page, WORST.id)
    hero_of(page)
    grid = page.get_by_test_id("stDataFrame").first.bounding_box()
    page.mouse.click(grid["x"] + 300, grid["y"] + 36 + 35 * 0.5)
    page.wait_for_timeout(600)
    page.keyboard.press("ArrowDown")
    header(page, SECOND.id)

    page.goto(f"{address}/trace?run=liar&problem={WORST.id}")
    shown(page, "Latent step 0")
    page.wait_for_timeout(800)
    click_box(page, ALONE.decoded)
    shown(page, f"Latent step {ALONE.step}")
    page.wait_for_timeout(800)
    press_until_shown(page, "g", "Readings")
    page.get_by_text(re.compile(f"latent step {ALONE.step}: reads {ALONE.decoded} with probability")).wait_for()
    assert f"problem={WORST.id}" in page.url

    page.goto(f"{address}/live?run=liar")
    page.get_by_text("They hold:").wait_for()
    page.get_by_role("combobox", name="Problem").first.click()
    page.get_by_role("combobox", name="Problem").first.fill(HONEST[0].id)
    page.keyboard.press("Enter")
    page.wait_for_timeout(800)
    page.get_by_role("button", name="Run").first.click()
    page.get_by_text(re.compile("^With the thought of step 3 exchanged")).wait_for(timeout=90_000)
    tried = max(folder.glob("live-*/live.json"), key=lambda path: path.stat().st_mtime).parent
    record = read_live(tried)
    assert record.edited is not None
    assert page.get_by_text(f"it answers {record.edited.answer} instead of {record.intact.answer}.").count() == 1

    page.goto(f"{address}/trace?run=liar&problem={SECOND.id if scheme == 'light' else WORST.id}&step=1")
    page.get_by_label("Reviewer").fill("ada")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Pin as finding").click()
    page.get_by_role("button", name="Pinned").wait_for()
    assert read_history(folder / "liar")[-1].author == "ada"

    open_page(page, "Oversee", "Findings")
    page.get_by_text("Hand on these findings").click()
    page.wait_for_url(re.compile("/report"))
    page.get_by_text("How to reproduce").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="One page").click()
    kept = tmp_path / "findings.html"
    download.value.save_as(kept)
    page.context.set_offline(True)
    page.goto(kept.as_uri())
    assert "Pinned by ada" in page.inner_text("body")
    assert page.locator("svg").count() >= 1
    assert page.locator("script").count() == 0
