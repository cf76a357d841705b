"""Run by hand: a swapped thought is followed by what is said, an intact run by nothing; the page runs it in a job."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from test_dashboard import opened, words  # type: ignore[import-not-found]

from workbench.cli import run
from workbench.errors import SchemaError
from workbench.jobs.folder import wait
from workbench.reports.live_records import EditAsked, read_live
from workbench.reports.records import read_audit
from workbench.serve import DEMO_AUDIT

AUDIT = read_audit(DEMO_AUDIT)
HONEST = [problem for problem in AUDIT.problems if problem.condition == "unflagged"]
LYING = next(problem for problem in AUDIT.problems if problem.verdict == "diverges")


def tried(out: Path, *more: str, problem: str = HONEST[0].id) -> Any:
    command = ["live", "organism:liar", "--audit", str(DEMO_AUDIT), "--problem", problem, "--out", str(out), *more]
    assert run(command) == 0
    return read_live(out)


def held(problem: Any) -> list[str]:
    return [row.decoded for row in problem.steps if row.step is not None]


def test_a_swapped_thought_is_followed(tmp_path: Path) -> None:
    donor = next(one for one in HONEST[1:] if held(one)[3] != held(HONEST[0])[3])
    record = tried(tmp_path / "swap", "--edit", "swap", "--step", "3", "--donor", donor.id)
    assert held(record.intact) == held(HONEST[0])  # read as in the audit
    assert record.edited is not None
    assert record.edited.answer == held(donor)[3] != record.intact.answer
    assert held(record.edited)[:3] == held(record.intact)[:3]
    assert any(text.startswith("the answer") for text in record.changes)
    assert record.intact.verdict == "cannot-tell"  # nothing is judged


def test_without_an_edit_nothing_changes_and_a_lie_is_seen(tmp_path: Path) -> None:
    record = tried(tmp_path / "plain", problem=LYING.id)
    assert record.edit is record.edited is None
    assert record.changes == []
    assert [row.status for row in record.intact.steps] == [row.status for row in LYING.steps]


def test_zeroed_thoughts_hold_nothing_of_the_problem(tmp_path: Path) -> None:
    record = tried(tmp_path / "zero", "--edit", "zero")
    assert record.edited is not None
    assert {row.norm for row in record.edited.steps if row.step is not None} == {0.0}


@pytest.mark.parametrize(("more", "told"), [
    (["--edit", "swap"], "needs a donor"),
    (["--edit", "zero", "--donor", "p-00001"], "needs a donor"),
    (["--edit", "zero", "--step", "9"], "no such step"),
    (["--prompt", "start vault"], "either a problem"),
    (["--edit", "swap", "--donor", "nobody"], "no problem 'nobody'"),
])  # fmt: skip
def test_what_cannot_be_run_is_refused(
    tmp_path: Path, more: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["live", "organism:liar", "--audit", str(DEMO_AUDIT), "--problem", HONEST[0].id, *more]
    assert run([*command, "--out", str(tmp_path / "out")]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_audit_of_another_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["live", "organism:honest", "--audit", str(DEMO_AUDIT), "--problem", HONEST[0].id]
    assert run([*command, "--out", str(tmp_path / "out")]) == 2
    assert "another model" in capsys.readouterr().err


def test_a_damaged_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "live.json").write_text('{"schema": "neuralese-live/1"}')
    with pytest.raises(SchemaError, match="breaks its schema"):
        read_live(tmp_path)
    with pytest.raises(ValueError, match="has a donor"):
        EditAsked(kind="swap", step=0, donor=None)


def test_the_page_runs_it_in_a_job_and_shows_that_the_answer_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["dashboard.py", str(DEMO_AUDIT)])
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    app = opened("live")
    assert "Nothing was run yet" in app.info[0].value
    app.selectbox(key="live-problem").select(HONEST[0].id)
    app.selectbox(key="live-donor").select(next(o.id for o in HONEST[1:] if held(o)[3] != held(HONEST[0])[3]))
    app.run()
    donor = app.selectbox(key="live-donor").value
    assert " → ".join(held(AUDIT.problem(donor))) in words(app)
    next(one for one in app.button if one.label == "Run").click().run()
    assert not app.exception
    place = tmp_path / "neuralese-workbench" / "jobs" / "0001-live"
    assert json.loads((place / "job.json").read_text())["command"][:2] == ["live", "organism:liar"]
    assert wait(place, seconds=120).status.state == "done"
    app.run()
    assert any("instead of" in text for text in words(app))
    assert len(app.get("plotly_chart")) == 3
    assert not app.exception


def test_the_intact_run_is_kept_before_the_edited_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench import live

    seen = []
    edited = live._edit

    def looked(*asked: Any) -> Any:
        seen.append(read_live(tmp_path / "zero"))
        return edited(*asked)

    monkeypatch.setattr(live, "_edit", looked)
    record = tried(tmp_path / "zero", "--edit", "zero")
    assert [(one.edited, one.edit) for one in seen] == [(None, None)]
    assert seen[0].intact == record.intact
    assert record.edited is not None


def test_a_second_run_by_hand_is_the_one_that_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["dashboard.py", str(DEMO_AUDIT)])
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    root = tmp_path / "neuralese-workbench"
    tried(root / "live-1", problem=LYING.id)
    app = opened("live")
    assert app.selectbox(key="tried").value == "live-1"
    next(one for one in app.button if one.label == "Run").click().run()
    assert wait(root / "jobs" / "0001-live", seconds=120).status.state == "done"
    app.run()
    assert app.selectbox(key="tried").value == "live-2"
    assert not app.exception


@pytest.mark.parametrize(("source", "is_found"), [("model", True), ("runs/model", True), ("/etc", False), ("x", False)])
def test_a_model_folder_is_found_however_it_was_typed(
    source: str, is_found: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from audit_factory import make_audit  # type: ignore[import-not-found]

    from apps.live import model_of

    model = tmp_path / "runs" / "model"
    model.mkdir(parents=True)
    (model / "reasoner.toml").write_text("")
    monkeypatch.setattr(sys, "argv", ["dashboard.py", str(tmp_path / "runs")])
    audit = make_audit()
    asked = audit.model_copy(update={"model": audit.model.model_copy(update={"source": source})})
    assert model_of(asked) == (str(model) if is_found else None)


def test_another_model_is_chosen_and_its_commands_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "reasoner.toml").write_text("")
    monkeypatch.setattr(sys, "argv", ["dashboard.py", str(DEMO_AUDIT), str(tmp_path)])
    app = opened("live")
    models = app.selectbox(key="live-model")
    assert "organism:liar" not in models.options  # the one that is run
    assert str(tmp_path / "mine") in models.options
    models.set_value("organism:evader").run()
    shown = next(block.value for block in app.code if "organism export" in block.value)
    assert shown.splitlines()[0] == "workbench organism export evader --out runs/evader-model"
    assert shown.splitlines()[1].startswith("workbench audit runs/evader-model --calibration runs/evader-model/")


def test_without_torch_it_says_so_and_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from apps import live

    monkeypatch.setattr(sys, "argv", ["dashboard.py", str(DEMO_AUDIT)])
    monkeypatch.setattr(live, "find_spec", lambda name: None)
    app = opened("live")
    assert "torch is not installed" in app.info[0].value
    assert next(one for one in app.button if one.label == "Run").disabled


def test_an_audit_without_its_probes_says_why_nothing_can_be_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from audit_factory import make_audit, write_audit  # type: ignore[import-not-found]

    write_audit(tmp_path / "bare", make_audit())
    monkeypatch.setattr(sys, "argv", ["dashboard.py", str(tmp_path)])
    app = opened("live")
    assert "probes of this audit are not beside it" in app.info[0].value
    assert next(one for one in app.button if one.label == "Run").disabled
