"""The two-lane figure: what is planted in a record is found in the drawing, and nothing else."""

import xml.etree.ElementTree as ET

import pytest
from audit_factory import HIDDEN, XSS, honest, hostile, liar, make_audit, mixed, problem_of, step_of, unread
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.figures import causal_by_step, decode_by_step, hero, hero_svg, sentence
from workbench.figures.palette import STATUSES
from workbench.figures.picture import BOXES_UP_TO, picture
from workbench.reports.escape import columns, plotly_text, short, visible
from workbench.reports.records import Interval

SVG = "{http://www.w3.org/2000/svg}"


def bars_of(figure, lane):
    return next(t for t in figure.data if t.type == "bar" and t.customdata is not None and t.customdata[0][0] == lane)


def test_an_honest_problem_has_only_connectors_that_arrive():
    problem = honest("p-1")
    drawn = picture(problem, make_audit([problem]))
    assert [link.status for link in drawn.links] == ["agree"] * 4
    assert not drawn.stubs
    assert not any(bar.above for bar in drawn.bars)


def test_each_planted_divergence_has_its_own_broken_end():
    problem = mixed("p-1")
    drawn = picture(problem, make_audit([problem]))
    assert [(stub.lane, stub.status) for stub in drawn.stubs] == [
        ("thought", "ahead"),
        ("thought", "unsaid"),
        ("claim", "unsupported"),
    ]
    assert sorted(link.status for link in drawn.links) == ["agree", "agree", "conflict"]
    assert [bar.step for bar in drawn.bars if bar.above] == [1, 2, 4]
    claims = [box.status for box in drawn.boxes if box.lane == "claim"]
    assert claims == ["agree", "unsupported", "agree", "conflict"]


def test_connectors_join_the_claim_they_are_matched_with():
    steps = [step_of(0, "a", "a", 2), step_of(1, "b", "b", 0)]
    problem = problem_of("p", steps, ["b", "x", "a"])
    drawn = picture(problem, make_audit([problem]))
    x = {box.index: box.x for box in drawn.boxes if box.lane == "claim"}
    assert [(link.x_thought, link.x_claim) for link in drawn.links] == [(0.0, x[2]), (1.0, x[0])]
    assert next(box.status for box in drawn.boxes if box.lane == "claim" and box.index == 1) is None


def test_a_bar_is_above_only_beyond_the_band_of_its_own_step():
    problem = problem_of("p", [step_of(s, "a", "a", s, divergence_bits=0.2) for s in (0, 1)], ["a", "a"])
    audit = make_audit([problem])
    wide = audit.steps[1].model_copy(update={"band": Interval(low=0.0, high=0.2)})
    audit = audit.model_copy(update={"steps": [audit.steps[0], wide]})
    assert [bar.above for bar in picture(problem, audit).bars] == [True, False]


@pytest.mark.parametrize(
    ("n", "form"), [(3, "words"), (12, "words"), (13, "upright"), (40, "upright"), (60, "compact")]
)
def test_any_length_is_drawn_and_stays_small(n, form):
    problem = liar("p", n)
    audit = make_audit([problem], n_steps=n)
    drawn = picture(problem, audit)
    assert drawn.form == form
    assert len(bars_of(hero(problem, audit), "thought").x) == n
    svg = hero_svg(problem, audit)
    assert len(svg.encode()) < 50_000
    ET.fromstring(svg)


def test_a_very_long_chain_is_grouped_and_its_one_lie_is_not_lost():
    steps = [step_of(s, "a", "a", s) for s in range(500)]
    steps[333] = step_of(333, "b", "a", 333, "conflict")
    problem = problem_of("p", steps, ["a"] * 500)
    drawn = picture(problem, make_audit([problem], n_steps=500))
    thoughts = [box for box in drawn.boxes if box.lane == "thought"]
    assert len(thoughts) <= BOXES_UP_TO
    assert [box.index for box in thoughts if box.status == "conflict"] == [333]
    assert [bar.step for bar in drawn.bars if bar.above] == [333]


def test_a_problem_without_thoughts_or_claims_is_drawn():
    problem = problem_of("p", [], [])
    audit = make_audit([problem])
    assert hero(problem, audit).layout.height > 0
    ET.fromstring(hero_svg(problem, audit))


def test_clicks_carry_the_step_as_nested_lists():
    problem = liar("p")
    figure = hero(problem, make_audit([problem]))
    assert list(bars_of(figure, "thought").customdata) == [["thought", s] for s in range(4)]
    assert list(bars_of(figure, "claim").customdata) == [["claim", s] for s in range(4)]
    assert all(isinstance(point, list) for point in figure.to_plotly_json()["data"][1]["customdata"])


def test_each_thought_bears_the_number_of_its_step():
    steps = [step_of(s, "a", "a", s) for s in (1, 2, 5)]
    problem = problem_of("p", steps, ["a"] * 6)
    figure = hero(problem, make_audit([problem], n_steps=6))
    above = next(trace for trace in figure.data if trace.type == "scatter" and trace.mode == "text")
    assert list(zip(above.text, above.x, strict=True)) == [("step 1", 0.0), ("step 2", 1.0), ("step 5", 2.0)]


def test_every_status_stands_in_the_legend_with_its_own_glyph():
    problem = honest("p")
    glyphs = [t for t in hero(problem, make_audit([problem])).data if t.type == "scatter" and t.name]
    assert len(glyphs) == len(STATUSES)
    assert len({t.marker.symbol for t in glyphs}) == len(STATUSES)


def test_divergence_is_drawn_without_colour_too():
    problem = mixed("p")
    figure = hero(problem, make_audit([problem]))
    thoughts = bars_of(figure, "thought")
    assert [width > 0 for width in thoughts.marker.line.width] == [False, True, True, False, True]
    bars = next(t for t in figure.data if t.yaxis == "y2" and t.customdata is not None)
    assert [bool(shape) for shape in bars.marker.pattern.shape] == [False, True, True, False, True]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_model_text_is_never_markup(theme):
    problem = hostile()
    audit = make_audit([problem])
    plain = hero(problem, audit, theme=theme).to_json()
    svg = hero_svg(problem, audit, theme=theme)
    for text in (plain, svg, sentence(problem)):
        assert "\u202e" not in text
        assert "\x1b" not in text
    for text in (plain, svg):
        assert "<script" not in text
        assert "<img" not in text
        assert "<b>bold" not in text
    assert "&#36;" in plain
    assert "href" not in svg.replace("a href", "")
    tags = {element.tag.removeprefix(SVG) for element in ET.fromstring(svg).iter()}
    assert tags <= {"svg", "title", "desc", "rect", "defs", "pattern", "path", "text"}


def test_sentences_name_where_and_what():
    assert sentence(liar("p", 3)) == (
        "Diverges at steps 0-2: the thoughts hold atrium, bakery, cellar; it says dairy, forge, garden."
    )
    assert sentence(honest("p", 2)) == "Agrees: what is said is what the thoughts hold (atrium, bakery)."
    assert sentence(unread("p")).startswith("Cannot tell: thought 2 looks like")
    text = sentence(mixed("p"))
    assert text.startswith("Diverges at steps 1-2, 4: ")
    for clause in (
        "hold garden; it says forge",
        "cellar and it is never said",
        "dairy before it",
        "says vault with no",
    ):
        assert clause in text
    lone = problem_of("p", [step_of(None, None, "x", 1, "unsupported")], ["y", "x"])
    assert sentence(lone) == "Diverges at claim 1: it says x with no thought behind it."


def test_curves_stand_beside_their_controls():
    audit = make_audit()
    names = [trace.name for trace in decode_by_step(audit).data]
    assert names == [
        "probe (95 %)",
        "shuffled labels",
        "majority",
        "input only",
        "previous step",
        "logit lens",
    ]
    blind = audit.model_copy(update={"steps": [s.model_copy(update={"logit_lens": None}) for s in audit.steps]})
    assert "logit lens" not in [trace.name for trace in decode_by_step(blind).data]
    exchange, placebo, *_ = causal_by_step(audit, theme="dark").data
    assert list(exchange.y) == [0.9] * 5
    assert exchange.error_y.array[0] == pytest.approx(0.04)
    assert list(placebo.y) == [0.01] * 5


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=40))
def test_visible_text_has_nothing_hidden_and_is_stable(text):
    shown = visible(text)
    assert all(char.isprintable() for char in shown)
    assert visible(shown) == shown
    assert columns(short(text)) <= 12
    assert not set(plotly_text(text)) & set("<>$")


def test_ordinary_text_is_left_alone():
    for text in ("start atrium ; east 2", "naïve café", "東京", "x² ≤ 3 → 🎉", "C:\\temp"):
        assert visible(text) == text
    assert visible("a\tb\nc") == "a⇥b⏎c"
    assert visible("a\nb", keep_lines=True) == "a⏎\nb"
    assert visible("e" + "\u0301" * 6) == "e" + "\u0301" * 3 + "\\u0301" * 3
    assert visible(HIDDEN).count("\\u202e") == 1
    assert short(XSS) == "<script>doc…"


@pytest.mark.parametrize("step", [2, 3])
def test_the_column_of_a_picked_step_is_framed_though_its_group_shows_another(step):
    figure = hero(liar("p", 90), make_audit(n_steps=90), step=step)
    assert [(shape.x0, shape.x1) for shape in figure.layout.shapes] == [(0.5, 1.5)]
