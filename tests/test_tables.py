"""CSV and verdict table."""

import csv
import io

import pytest
from audit_factory import default_problems, honest, hostile, liar, make_audit, problem_of, step_of

from workbench.reports.escape import csv_cell
from workbench.reports.shares import share
from workbench.reports.tables import VERDICT_COLUMNS, by_score, problems_csv, verdict_table


def rows_of(audit):
    return list(csv.DictReader(io.StringIO(problems_csv(audit))))


def test_csv_holds_every_problem_the_most_divergent_first():
    audit = make_audit([honest("p-1"), liar("p-2", 2), liar("p-3", 4)])
    rows = rows_of(audit)
    assert [row["id"] for row in rows] == ["p-3", "p-2", "p-1"]
    assert rows[1]["decoded"] == "atrium | bakery"
    assert rows[1]["claims"] == "dairy | forge"
    assert rows[1]["statuses"] == "conflict conflict"
    assert float(rows[0]["score"]) == audit.problem("p-3").score


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\r=1", "  =1", "＝1"])
def test_cells_are_no_formulas(start):
    assert csv_cell(start) == "'" + start
    problem = problem_of("p", [step_of(0, start, start, 0)], [start], prompt=start, said=start, group=start)
    row = rows_of(make_audit([problem]))[0]
    for name in ("group", "decoded", "claims", "answer", "said", "prompt"):
        assert row[name] == "'" + start


def test_negative_scores_stay_numbers():
    problem = honest("p", score=-1.5)
    assert rows_of(make_audit([problem]))[0]["score"] == "-1.5"


def test_text_with_quotes_commas_and_lines_comes_back_whole():
    text = 'a "b", c\nd; e'
    assert rows_of(make_audit([honest("p", prompt=text)]))[0]["prompt"] == text
    assert "\u202e" in rows_of(make_audit([hostile()]))[0]["claims"]


def test_verdict_table_adds_up():
    audit = make_audit(default_problems())
    *conditions, total = verdict_table(audit)
    assert tuple(total) == VERDICT_COLUMNS
    for name in ("n", "agrees", "diverges", "cannot tell"):
        assert sum(int(row[name]) for row in conditions) == int(total[name])
    liars = next(row for row in conditions if row["condition"] == "liar")
    assert (liars["diverges"], liars["share diverging"]) == ("3", "1.00")


def test_ties_are_in_the_order_of_ids():
    assert [p.id for p in by_score(make_audit([honest("b"), honest("a")]))] == ["a", "b"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.00"),
        (1.0, "1.00"),
        (0.5, "0.50"),
        (0.012, "0.012"),
        (0.01, "0.01"),
        (0.0004, "0.0004"),
        (0.9999, "0.9999"),
        (None, "–"),
    ],
)
def test_shares_never_round_to_certainty(value, text):
    assert share(value) == text
