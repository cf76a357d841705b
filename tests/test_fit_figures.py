"""Figures of a fit: planted cells stand out, their control beside them, and what is missing is a gap and a word."""

import json
import xml.etree.ElementTree as ET
from itertools import pairwise

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

from workbench.errors import ConfigError
from workbench.figures import (
    confusions,
    confusions_svg,
    grid,
    grid_svg,
    learning_curve,
    learning_curve_svg,
    reliability,
    reliability_svg,
    text_scores,
    text_scores_svg,
)
from workbench.figures.probes_curves import confusion_bars, learning_chart, reliability_chart, text_chart, text_sites
from workbench.figures.probes_grid import GRID_MARKS, cell_lines, cell_number, grid_picture
from workbench.reports.fit_records import Confusion

SVG = "{http://www.w3.org/2000/svg}"


def panels_of(figure):
    return [trace for trace in figure.data if trace.type == "heatmap"]


def marks_of(figure):
    """Plotly symbol -> number of marks that are drawn over the score."""
    drawn = [trace for trace in figure.data if trace.type == "scatter" and not trace.name and trace.hoverinfo == "skip"]
    return {trace.marker.symbol: sum(x is not None for x in trace.x) for trace in drawn}


def words_of(svg):
    return [element.text for element in ET.fromstring(svg).iter(f"{SVG}text")]


def notes_of(figure):
    return [note.text for note in figure.layout.annotations]


def svgs_of(fit):
    cell = fit.fits[0]
    drawn = [draw(cell) for draw in (reliability_svg, learning_curve_svg, confusions_svg)]
    return [grid_svg(fit), *drawn, text_scores_svg(fit)]


def figures_of(fit, theme="light"):
    cell = fit.fits[0]
    drawn = [draw(cell, theme=theme) for draw in (reliability, learning_curve, confusions)]
    return [grid(fit, theme=theme), *drawn, text_scores(fit, theme=theme)]


def test_a_planted_cell_stands_out_beside_its_control():
    cells = [cell_of(f"blocks.{layer}.x", step, 0.97 if (layer, step) == (1, 2) else 0.13)
             for layer in range(3) for step in range(4)]  # fmt: skip
    left, right = panels_of(grid(make_fit(cells)))
    assert [[value > 0.5 for value in row] for row in left.z] == [[False] * 4, [False, False, True, False], [False] * 4]
    assert {value for row in right.z for value in row} == {0.12}
    assert (left.zmin, left.zmax) == (right.zmin, right.zmax) == (0, 1)


def test_layers_rise_and_steps_run_to_the_right_whatever_their_order():
    cells = [cell_of(f"blocks.{layer}.x", step) for layer in (10, 2, 0) for step in (11, 2, 0)]
    drawn = grid_picture(make_fit([*cells, cell_of("thought", 0)]))
    assert drawn.rows == ("blocks.0.x", "blocks.2.x", "blocks.10.x", "thought")
    assert drawn.steps == (0, 2, 11)
    assert {(c.cell.site, c.cell.step): (c.row, c.column) for c in drawn.cells}["blocks.2.x", 11] == (1, 2)


def test_what_may_be_said_is_a_mark_and_not_only_a_colour():
    cells = [
        cell_of(step=0),
        cell_of(step=1, readable=False),
        cell_of(step=2, accuracy=0.13),
        cell_of(step=3, corrected_p=None),
        undefined_cell(step=4),
    ]
    fit = make_fit(cells)
    figure = grid(fit)
    assert marks_of(figure) == {mark.symbol: 1 for mark in GRID_MARKS.values() if mark.symbol}
    assert all(trace.name.endswith("(1)") for trace in figure.data if trace.name)
    assert len({trace.name for trace in figure.data if trace.name}) == len(GRID_MARKS)
    shown = " ".join(words_of(grid_svg(fit)))
    assert all(f"{mark.legend} (1)" in shown for mark in GRID_MARKS.values())
    assert len({mark.symbol for mark in GRID_MARKS.values()}) == len(GRID_MARKS)


def test_what_is_missing_is_a_gap_and_never_zero():
    fit = make_fit([undefined_cell(step=0), cell_of(step=1, twin=None)])
    left, right = panels_of(grid(fit, beside="twin"))
    assert [list(left.z[0]), list(right.z[0])] == [[None, 0.97], [None, None]]
    assert "not run" in notes_of(grid(fit, beside="twin"))
    assert "not run" in words_of(grid_svg(fit, beside="twin"))
    assert "undefined" in notes_of(grid(make_fit([undefined_cell()])))
    assert "no cell" in notes_of(grid(make_fit([], [])))
    assert words_of(grid_svg(make_fit([], []))).count("no cell") == 2


def test_each_score_has_its_own_control_beside_it():
    fit = make_fit([cell_of()])
    left, right = panels_of(grid(fit, "selectivity"))
    assert (left.z[0][0], right.z[0][0]) == (pytest.approx(0.77), 0.2)
    left, right = panels_of(grid(fit, "mdl_bits"))
    assert (left.z[0][0], right.z[0][0], left.zmax) == (210, 900, 900)
    assert left.reversescale
    _, right = panels_of(grid(fit, beside="input_only"))
    assert right.z[0][0] == 0.31


@pytest.mark.parametrize("wrong", [{"label": "x"}, {"probe": "x"}, {"beside": "accuracy"}])
def test_a_choice_that_the_fit_does_not_have_is_refused(wrong):
    with pytest.raises(ConfigError, match="no such"):
        grid(make_fit(), **wrong)


def test_labels_and_probes_are_kept_apart():
    cells = [cell_of(accuracy=0.9), cell_of(label="other", accuracy=0.5), cell_of(probe="lda", accuracy=0.7)]
    fit = make_fit(cells)

    def value_of(figure):
        ((value,),) = panels_of(figure)[0].z
        return value

    assert value_of(grid(fit)) == 0.9
    assert value_of(grid(fit, label="other")) == 0.5
    assert value_of(grid(fit, probe="lda")) == 0.7


def test_a_click_carries_the_cell_and_the_picked_cell_is_framed():
    fit = make_fit([cell_of(label="other"), cell_of(step=3)])
    figure = grid(fit, label="thought", picked=fit.fits[1].key)
    clicked = [trace.customdata for trace in figure.data if trace.type == "scatter" and trace.customdata is not None]
    assert [list(points) for points in clicked] == [[["cell", 1]]] * 2
    assert len(figure.layout.shapes) == 2
    assert not grid(fit, label="other", picked=fit.fits[1].key).layout.shapes


@pytest.mark.parametrize(("n_steps", "n_layers", "most"), [(1, 1, 6_000), (12, 4, 20_000), (60, 48, 250_000)])
def test_any_size_is_drawn_and_stays_small(n_steps, n_layers, most):
    fit = make_fit(grid_cells(n_steps, n_layers))
    svg = grid_svg(fit)
    ET.fromstring(svg)
    assert len(svg) < most
    numbers = [text for text in words_of(svg) if text and text.startswith(".")]
    assert bool(numbers) == (n_steps <= 12)
    assert len(panels_of(grid(fit))[0].z) == n_layers


def test_reliability_shows_rows_and_chance():
    cell = cell_of()
    score, chance, ideal = reliability(cell).data
    assert list(score.y) == [part.right for part in cell.reliability]
    assert set(chance.y) == {0.12}
    assert list(ideal.x) == list(ideal.y)
    assert [text for _, text in reliability_chart(cell).counts] == ["20", "20", "20", "320"]
    narrow = [cell.reliability[0].model_copy(update={"low": k / 50, "high": (k + 1) / 50}) for k in range(50)]
    places = [x for x, _ in reliability_chart(cell_of(reliability=narrow)).counts]
    assert all(b - a >= 0.089 for a, b in pairwise(places))
    assert len(places) == 10


def test_learning_curve_stands_beside_its_controls():
    cell = cell_of()
    score, *controls = learning_curve(cell).data
    assert list(score.x) == [30, 75, 150, 300]
    assert [set(control.y) for control in controls] == [{0.12}, {0.15}, {0.31}]
    lean = learning_chart(cell_of(input_only=None))
    assert lean.note == "not run: input only"
    assert "input only" not in [series.name for series in lean.series]


def test_the_commonest_confusions_stand_beside_an_even_spread():
    rows = [Confusion(value=f"v{k}", read="w", n=k) for k in range(1, 21)]
    bars = confusion_bars(cell_of(accuracy=0.3, n=300, n_classes=8, confusions=rows))
    assert bars.counts == tuple(range(20, 8, -1))
    assert bars.names[0] == "v20 → w"
    assert bars.even == pytest.approx(210 / 56)
    assert confusion_bars(cell_of(accuracy=1.0, confusions=[])).note == "nothing was read as another value"
    assert confusion_bars(cell_of(accuracy=0.9, confusions=[])).note == "confusions were not counted"


def test_text_probes_stand_beside_lenses_and_shuffled_texts():
    rows = [text_of(0, logit_lens=None), undefined_text(1), text_of(2, logit_lens=None), text_of(0, "other")]
    fit = make_fit([], rows)
    names = {trace.name: list(trace.y) for trace in text_scores(fit, site="thought").data}
    assert names == {
        "text probe (95 %)": [0.98, None, 0.98],
        "shuffled texts": [0.08, None, 0.08],
        "tuned lens": [0.95, None, 0.95],
    }
    assert text_chart(fit, "thought").note == "not run: logit lens"
    assert text_sites(fit) == ["thought", "other"]
    bare = text_of(0, "a", logit_lens=None, tuned_lens=None)
    assert text_sites(make_fit([], [bare, *rows])) == ["thought", "other", "a"]
    assert text_chart(fit, "absent").note == "no text probe was fitted"
    assert text_chart(make_fit([], [undefined_text()])).note == "undefined: no token stands for a value"


def test_an_undefined_cell_says_why_instead_of_a_figure():
    fit = make_fit([undefined_cell("one value only")], [])
    for figure in figures_of(fit)[1:4]:
        assert notes_of(figure) == ["undefined: one value only"]
        assert not figure.data
    for svg in svgs_of(fit)[1:4]:
        assert words_of(svg) == ["undefined: one value only"]


def test_numbers_in_cells_never_round_up_to_certainty():
    values = (None, 0.0, 0.004, 0.5, 0.996, 1.0, -0.07, 7.25, 210.4)
    assert [cell_number(value) for value in values] == ["–", ".00", "<.01", ".50", ".99", "1.0", "-.07", "7.2", "210"]


def test_a_cell_says_every_control_when_pointed_at():
    text = "\n".join(cell_lines(cell_of(step=1, twin=None)))
    for part in ("0.97 (0.94 to 1.00)", "n = 300 in 290 groups", "shuffled labels 0.12", "majority 0.15",
                 "input only 0.31", "previous step 0.42", "control task 0.20", "not run: random twin"):  # fmt: skip
        assert part in text
    assert cell_lines(undefined_cell("why not"))[1] == "undefined: why not"


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_the_record_is_never_markup(text):
    fit = hostile_fit(text)
    for theme in ("light", "dark"):
        for figure in figures_of(fit, theme):
            plain = json.loads(figure.to_json())
            assert "pwned'</script" not in json.dumps(plain)
            for shown in (*notes_of(figure), *(figure.layout.yaxis.ticktext or ())):
                assert not set("<>$") & set(shown.removeprefix("<b>").removesuffix("</b>"))
                assert all(char.isprintable() for char in shown)
            for trace in figure.data:
                for shown in trace.hovertext or ():
                    assert not set("<>$") & set(shown.replace("<br>", ""))
    for svg in svgs_of(fit):
        tags = {element.tag.removeprefix(SVG) for element in ET.fromstring(svg).iter()}
        assert tags <= {"svg", "title", "rect", "path", "text"}
        assert all(char.isprintable() for char in svg)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_both_themes_draw_the_same_numbers(theme):
    for light, other in zip(figures_of(make_fit([cell_of()])), figures_of(make_fit([cell_of()]), theme), strict=True):
        for a, b in zip(light.data, other.data, strict=True):
            assert (a.y == b.y) if a.type != "heatmap" else (a.z == b.z)
    for draw in (reliability_svg, learning_curve_svg, confusions_svg):
        ET.fromstring(draw(cell_of(), theme=theme))
