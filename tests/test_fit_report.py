"""The report of a fit: what limits it first, every score beside its control, nothing runs, nothing is fetched."""

import base64
import hashlib
import re

import pytest
from fit_factory import (
    HOSTILE,
    cell_of,
    grid_cells,
    hostile_fit,
    make_fit,
    text_of,
    undefined_cell,
    undefined_text,
)
from test_report import Page

from workbench.reports.escape import visible
from workbench.reports.fit_headline import controls_table, fit_headlines, fit_line, fit_notices, scored
from workbench.reports.fit_html import CELLS_DRAWN, CELLS_LISTED, GRIDS_DRAWN, render_fit_report
from workbench.reports.fit_records import NearDuplicates
from workbench.reports.fit_words import not_run


def page(fit):
    return Page(render_fit_report(fit))


def kinds(fit):
    return [notice.kind for notice in fit_notices(fit)]


def sound(n_cells=3):
    cells = [cell_of(step=step, previous_step=0.4 if step else None) for step in range(n_cells)]
    return make_fit(cells)


def test_a_sound_fit_has_no_notice_and_says_how_much_is_readable():
    fit = sound()
    assert kinds(fit) == []
    assert fit_line(fit).startswith("3 of 3 scored cells are readable after correction. The best is")
    assert "notice" not in {v for _, name, v in page(fit).attributes if name == "class"}
    assert "uncontrolled" not in page(fit).text


def test_nothing_planted_nothing_is_said_to_be_readable():
    fit = make_fit([cell_of(step=step, accuracy=0.13) for step in range(4)], [])
    assert fit_line(fit) == "0 of 4 scored cells are readable after correction."
    assert fit_headlines(fit)[0].value == "0 of 4"
    assert page(fit).text.count("not above chance after correction") >= 4


def test_what_limits_a_fit_stands_before_its_numbers_the_gravest_first():
    cells = [cell_of(corrected_p=None, twin=None, converged=False), undefined_cell("too few rows", step=1)]
    near = NearDuplicates(n_pairs=7, n_rows=5, threshold=0.9)
    fit = make_fit(cells, status="partial", n_cells=9, near_duplicates=near, correction=None)
    assert kinds(fit) == ["partial", "uncorrected", "near-duplicates", "undefined", "uncontrolled", "unconverged"]
    text = page(fit).text
    marks = ["2 of 9 cells are done", "not corrected for the size", "5 held-out rows are nearly", "1 × too few rows",
             "random twin in 1 of 1 cells", "each beside its control"]  # fmt: skip
    places = [text.index(mark) for mark in marks]
    assert places == sorted(places)
    assert "1 of 2 are undefined (partial: 2 of 9 cells done)" in text


def test_controls_that_were_not_run_are_amber_words():
    fit = make_fit([cell_of(step=1, twin=None, previous_step=None), cell_of(step=0)])
    assert not_run(fit.fits[0]) == ["previous step", "random twin"]
    assert not_run(fit.fits[1]) == []
    found = page(fit)
    assert "uncontrolled: previous step, random twin" in found.text
    assert ("span", "class", "amber") in found.attributes
    rows = {row[0]: row[1:] for row in controls_table(fit.fits)}
    assert rows["random twin"] == ("1 of 2", "0.22", True)
    assert rows["logit lens"] == ("0 of 2", "not run", False)


def test_the_best_cell_leads_and_every_headline_has_a_control_and_a_sample_size():
    cells = [cell_of(step=0, accuracy=0.8), cell_of(step=1, accuracy=0.99, readable=False), cell_of(step=2)]
    fit = make_fit(cells)
    assert [cell.step for cell in scored(fit)] == [2, 0, 1]
    for row in fit_headlines(fit):
        assert row.control not in {"", "–"}
        assert int(row.n) > 0
    assert {row.name: row.value for row in fit_headlines(fit)}["Best cell"] == "0.97"


def test_undefined_is_written_out_and_is_no_zero():
    fit = make_fit([undefined_cell("one value only")], [undefined_text()])
    found = page(fit)
    assert "one value only" in found.text
    assert "undefined: no token stands for a value" in found.text
    assert not {"0.00", "0.0", ".00"} & set(found.text.split())


def test_text_probes_stand_beside_lenses():
    found = page(make_fit([], [text_of(0, logit_lens=None), text_of(1)]))
    assert "From thoughts to words" in found.text
    assert "not run" in found.text
    assert "text probe (95 %)" in found.text
    assert "From thoughts" not in page(make_fit(text=[])).text


def test_a_large_fit_is_cut_and_says_so():
    cells = [cell for k in range(GRIDS_DRAWN + 2) for cell in grid_cells(4, 6, label=f"label {k}")]
    found = page(make_fit(cells))
    assert f"{GRIDS_DRAWN} of {GRIDS_DRAWN + 2} pairs of label and probe are drawn" in found.text
    assert f"{CELLS_LISTED} of {len(cells)} cells with a score" in found.text
    assert found.tags.count("svg") == GRIDS_DRAWN + 3 * CELLS_DRAWN + 1


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_text_and_does_nothing(text):
    html = render_fit_report(hostile_fit(text))
    found = Page(html)
    assert not {"script", "img", "a", "link", "iframe", "object", "form", "image", "use", "b\u200bold"} & set(
        found.tags
    )
    names = {name for _, name, _ in found.attributes}
    assert not {name for name in names if name.startswith("on")}
    assert not names & {"href", "src", "style", "xlink:href"}
    assert "url(" not in html
    assert all(char.isprintable() or char == "\n" for char in html)
    shown = " ".join(visible(text).split())
    assert found.text.count(shown) >= 8
    assert html.count("<style") == 1


def test_the_policy_allows_exactly_this_style_sheet():
    html = render_fit_report(make_fit())
    sheet = re.search(r"<style>(.*?)</style>", html, re.DOTALL).group(1)
    expected = base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode()
    assert f"content=\"default-src 'none'; style-src 'sha256-{expected}'; base-uri 'none'; form-action 'none'\"" in html
    assert "http" not in re.sub(r"http://www\.w3\.org/2000/svg|http-equiv", "", html)


def test_the_page_is_a_pure_function_and_shows_where_it_comes_from():
    assert render_fit_report(make_fit()) == render_fit_report(make_fit())
    text = page(make_fit()).text
    for part in (make_fit().run_root, make_fit().probes_root, "plan.held_out 0.5", "correction.n_permutations 100"):
        assert part in text
    assert "0 of 0 scored cells" in page(make_fit([], [])).text
