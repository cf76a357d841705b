"""The dashboard without a browser: routing, deep links, tables, empty and error states."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from audit_factory import channel_of, default_problems, honest, hostile, liar, make_audit, mixed, write_audit
from streamlit.testing.v1 import AppTest

from apps import data
from workbench.errors import SchemaError

ROOT = Path(__file__).resolve().parents[1]
ENTRY = ROOT / "apps" / "dashboard.py"


@pytest.fixture
def runs(tmp_path, monkeypatch):
    write_audit(tmp_path / "first", make_audit([*default_problems(), hostile()]))
    write_audit(tmp_path / "second", make_audit([liar("q-1", 3), mixed("q-2")], channel=channel_of(decorative=True)))
    monkeypatch.setattr(sys, "argv", ["dashboard.py", str(tmp_path)])
    return tmp_path


def opened(page=None, **parameters):
    app = AppTest.from_file(str(ENTRY), default_timeout=30)
    for name, value in parameters.items():
        app.query_params[name] = value
    if page is not None:
        app.run()
        app.switch_page(f"views/{page}.py")
        for name, value in parameters.items():
            app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def words(app):
    return [element.value for element in app.text]


def figure_of(app):
    charts = app.get("plotly_chart")
    return json.loads(charts[0].proto.spec)


def test_overview_opens_with_the_worst_problem(runs):
    app = opened(run="first")
    assert app.dataframe[0].value["problem"].iloc[0] == "p-xss"
    assert "p-xss" in words(app)
    assert [metric.value for metric in app.metric][:2] == ["0.97", "0.93"]
    assert all(metric.delta for metric in app.metric)


def test_a_picked_cell_changes_the_hero(runs):
    app = opened(run="first")
    app.session_state[app.dataframe[0].key] = {"selection": {"rows": [], "columns": [], "cells": [(1, "says")]}}
    app.run()
    assert not app.exception
    assert "p-0001" in words(app)
    assert figure_of(app)["data"]


def test_a_row_of_one_audit_is_not_looked_for_in_the_next(runs):
    app = opened(run="first")
    app.session_state[app.dataframe[0].key] = {"selection": {"rows": [], "columns": [], "cells": [(1, "says")]}}
    app.run()
    assert app.query_params["problem"] == "p-0001"
    app.selectbox(key="run").set_value("second").run()
    assert "problem" not in app.query_params
    assert not app.toast


def test_search_and_verdict_narrow_the_table(runs):
    app = opened(run="first")
    app.text_input[0].set_value("P-0003").run()
    assert list(app.dataframe[0].value["problem"]) == ["p-0003"]
    app.text_input[0].set_value("no such thing").run()
    assert app.info[0].value.startswith("No problem fits")
    app = opened(run="first", verdict="cannot-tell")
    assert list(app.dataframe[0].value["problem"]) == ["p-0004"]


def test_what_limits_the_verdict_is_said_on_the_first_page(runs):
    app = opened(run="second")
    assert words(app)[1].startswith("The thoughts are not used")


def test_a_deep_link_opens_problem_and_step(runs):
    app = opened("trace", run="first", problem="p-0003", step="2")
    assert app.subheader[0].value == "Latent step 2"
    assert "unsaid. Reads as: cellar; nothing was said against it" in words(app)
    facts = app.dataframe[1].value.set_index("about this step")
    assert facts.loc["decoded right at this step", "beside"].startswith("shuffled labels 0.13")
    assert facts.loc["said text follows when exchanged", "beside"].startswith("placebo 0.01")


@pytest.mark.parametrize("value", ["no", "../../etc/passwd", "-1", "<script>", "9" * 5000])
def test_invalid_parameters_are_ignored(runs, value):
    app = opened("trace", run=value, problem=value, step=value)
    assert [box.value for box in app.selectbox] == ["first", "p-xss", 0]


def test_buttons_walk_through_problems_and_steps(runs):
    app = opened("trace", run="first", problem="p-0001", step="0")

    def press(label):
        next(button for button in app.button if button.label == label).click().run()
        assert not app.exception

    press("Next step")
    assert app.subheader[0].value == "Latent step 1"
    press("Next problem")
    assert app.selectbox[1].value == "p-0002"
    press("Previous problem")
    press("Previous problem")
    assert app.selectbox[1].value == "p-xss"


def test_a_claim_that_no_thought_stands_against_has_a_page_of_its_own(runs):
    app = opened("trace", run="first", problem="p-0003", step="0")
    assert app.subheader[0].value == "Latent step 0"
    app.session_state["claim"] = ("p-0003", 1)
    app.run()
    assert app.subheader[0].value == "Claim 1"
    assert "Said: vault" in words(app)
    app.selectbox[1].set_value("p-0001").run()
    assert app.subheader[0].value == "Latent step 0"


def test_model_text_is_never_markdown(runs):
    for app in (opened(run="first"), opened("trace", run="first", problem="p-xss")):
        for element in [*app.markdown, *app.caption, *app.subheader, *app.info, *app.error]:
            assert "pwned" not in element.value
            assert "red[vault]" not in element.value
        shown = json.dumps([*words(app), *[code.value for code in app.code], figure_of(app)["data"]])
        assert "\\\\u202e" in shown
        assert "\\u202e" not in shown.replace("\\\\u202e", "")
        assert "<script" not in json.dumps(figure_of(app)["data"])


def test_without_an_audit_the_page_says_what_to_type(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["dashboard.py", str(tmp_path)])
    app = opened()
    commands = [code.value for code in app.code]
    assert "workbench demo" in commands
    assert any(command.startswith("workbench audit") for command in commands)


def test_a_broken_audit_is_a_card_and_the_others_still_open(runs):
    (runs / "broken").mkdir()
    (runs / "broken" / "audit.json").write_text('{"schema": "neuralese-audit/9"}')
    app = opened(run="broken")
    assert app.error[0].value.startswith("This audit cannot be read")
    assert "found: neuralese-audit/9" in app.code[0].value
    assert str(runs) not in app.code[0].value
    app.selectbox[0].set_value("first").run()
    assert not app.error
    assert app.metric


def test_an_audit_that_was_written_again_is_read_again(runs):
    before = data.load(runs / "first")
    assert data.load(runs / "first") is before
    write_audit(runs / "first", make_audit([honest("new-1")]))
    os.utime(runs / "first" / "audit.json", ns=(1, 1))
    assert [problem.id for problem in data.load(runs / "first").problems] == ["new-1"]
    assert list(data.problem_table(runs / "first")["problem"]) == ["new-1"]


def test_only_audits_under_the_given_folders_are_found(tmp_path):
    outside = write_audit(tmp_path / "outside" / "secret", make_audit([honest("p")]))
    inside = tmp_path / "inside"
    write_audit(inside / "good", make_audit([honest("p")]))
    (inside / "link").symlink_to(outside)
    (inside / "file").mkdir()
    (inside / "file" / "audit.json").symlink_to(outside / "audit.json")
    assert data.find_runs([inside]) == {"good": (inside / "good").resolve()}
    assert list(data.find_runs([inside / "good", inside])) == ["good"]
    assert data.find_runs([tmp_path / "absent"]) == {}


def test_two_audits_of_one_name_are_told_apart(tmp_path):
    for parent in ("a", "b"):
        write_audit(tmp_path / parent / "demo", make_audit([honest("p")]))
    found = data.find_runs([tmp_path / "a", tmp_path / "b"])
    assert list(found) == ["demo", "demo (2)"]
    assert len(set(found.values())) == 2


def test_an_absent_audit_is_a_clear_error(tmp_path):
    with pytest.raises(SchemaError, match="no such file"):
        data.load(tmp_path)


def test_the_dashboard_starts_without_torch(tmp_path):
    write_audit(tmp_path / "run", make_audit())
    code = (
        "import sys; sys.argv = ['dashboard.py', sys.argv[1]]\n"
        "from streamlit.testing.v1 import AppTest\n"
        f"app = AppTest.from_file({str(ENTRY)!r}, default_timeout=60).run()\n"
        "assert not app.exception and app.metric\n"
        "app.switch_page('views/trace.py').run()\n"
        "assert not app.exception and app.subheader\n"
        "heavy = {'torch', 'transformers', 'transformer_lens', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_pages_are_thin():
    for page in (ROOT / "apps" / "views").glob("*.py"):
        assert len(page.read_text().splitlines()) <= 60
