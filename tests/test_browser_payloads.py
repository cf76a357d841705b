"""Two hundred payloads in every text of a run, drawn by a real browser: nothing runs, nothing is fetched."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from audit_factory import make_audit, problem_of, step_of, write_audit  # type: ignore[import-not-found]
from payloads import payloads  # type: ignore[import-not-found]
from test_browser import (  # type: ignore[import-not-found]  # noqa: F401
    CHROMIUM,
    address,
    chromium,
    hero_of,
    new_page,
    pytestmark,
)

from workbench.apply import COLUMNS
from workbench.findings import append

PAYLOADS = payloads()
N_STEPS = 40
"""As many as a hero writes texts for: five problems hold all payloads."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hostile")
    problems = []
    for k in range(0, len(PAYLOADS), N_STEPS):
        texts = PAYLOADS[k : k + N_STEPS]
        steps = [step_of(s, text, texts[-1 - s], s, "conflict") for s, text in enumerate(texts)]
        whole = "\n".join(texts)
        problems.append(
            problem_of(f"p-{k}{texts[0]}", steps, texts, prompt=whole, said=whole, answer=texts[1], condition=texts[2])
        )
    audit = make_audit(problems, n_steps=N_STEPS, warnings=PAYLOADS)
    place = write_audit(root / "audit", audit)
    append(place, audit, "pin", (problems[0].id, 0), author="ada")
    for text in PAYLOADS:
        if text.strip() and len(text) <= 100:
            append(place, audit, "comment", (problems[0].id, 0), author=text, comment=text)
    (root / "readings").mkdir()
    rows = [
        (problems[0].id, "p", f"blocks.{k // N_STEPS}.hook_resid_post", k % N_STEPS, text, "lda", text, 0.5, text)
        for k, text in enumerate(PAYLOADS)
    ]
    rows += [(*row[:4], "thought", *row[5:]) for row in rows]
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, COLUMNS, strict=True)]
    pq.write_table(pa.table(arrays, COLUMNS), root / "readings" / "readings.parquet")
    return root


@pytest.mark.slow
def test_no_payload_runs_on_any_page(address: str, new_page: Any) -> None:  # noqa: F811
    """The page that draws them also fails on dialogs, script errors, foreign requests and a changed title."""
    page = new_page()
    page.goto(f"{address}/trace?run=audit&step=3")
    for k in range(len(PAYLOADS) // N_STEPS):
        page.get_by_text(re.compile(f"^{k + 1} of 5, most divergent first")).wait_for()
        hero_of(page)
        page.wait_for_selector(".stApp[data-test-script-state=notRunning]")
        if k < len(PAYLOADS) // N_STEPS - 1:
            page.get_by_role("button", name="Next problem").click()
    for link, text in (
        ("?run=audit", "most divergent first; a click"), ("grid?readings=readings&label=thought", "reads .* with"),
        ("compare?run=audit", "What differs"), ("live?run=audit", "probes of this audit are not beside it"),
        ("findings?run=audit", "Severity"), ("report?run=audit", "What was not tested"),
        ("sanity?run=audit", "Can the thoughts be read"), ("jobs", "Start a job"),
        ("tour?run=audit&look=What+it+thought", "And this is what probes read"),
    ):  # fmt: skip
        page.goto(f"{address}/{link}")
        page.get_by_text(re.compile(text)).first.wait_for()
        page.wait_for_selector(".stApp[data-test-script-state=notRunning]")
        page.wait_for_timeout(500)
        assert page.locator("[data-testid=stException]").count() == 0
        assert (
            page.evaluate("() => document.querySelectorAll('.stMain :is(iframe, object, embed, form[action])').length")
            == 0
        )
