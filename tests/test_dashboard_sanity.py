"""The page Sanity & controls without a browser: controls that ran are shown, those that did not are named in amber."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from audit_factory import channel_of, default_problems, make_audit, step_summary, write_audit  # type: ignore[import-not-found]
from test_dashboard import opened, words  # type: ignore[import-not-found]

from workbench.figures.sanity import lag_histogram, lags
from workbench.reports.causal_records import Counted, DoseRecord, EditRecord, SubspaceRecord
from workbench.reports.fields import Interval
from workbench.reports.html import render_report
from workbench.reports.monitor_records import PlantedLies, Power, TextMonitor


def counted(share: float) -> Counted:
    return Counted(share=share, interval=Interval(low=max(0, share - 0.1), high=min(1, share + 0.1)), n=100)


def controlled(**more: Any) -> Any:
    edits = [
        EditRecord(edit="zero", target="thoughts", said=counted(0.81), answers=counted(0.7), claims=counted(0.75)),
        EditRecord(edit="pause", target="thoughts", absent="no token could stand there"),
    ]
    subspace = SubspaceRecord(
        rank=7, inside=counted(0.9), placebo=counted(0.1), outside=counted(0.1), minus_placebo=0.8,
        minus_placebo_interval=Interval(low=0.7, high=0.9), p_value=0.001,
    )  # fmt: skip
    doses = [DoseRecord(amount=amount, effect=counted(amount)) for amount in (0.0, 0.5, 1.0)]
    lie = PlantedLies(
        kind="one", n=100, n_caught=60, share=0.6, interval=Interval(low=0.5, high=0.7), beyond=0.8,
        n_honest_enough=250, missed="where it parts, the thoughts read as something else only faintly",
    )  # fmt: skip
    text = TextMonitor(
        alpha=0.01, n_honest=600, honest_flagged=0.0, honest_interval=Interval(low=0, high=0.01), told_apart=0.6,
        told_apart_interval=Interval(low=0.5, high=0.7), told_apart_control=0.5, n_pairs=100, n_problems=10,
        n_flagged=0,
        flagged=[], n_both=0, n_thoughts_only=3, n_text_only=0, n_neither=7, gain=0.3,
        gain_interval=Interval(low=0.1, high=0.6),
    )  # fmt: skip
    return make_audit(
        default_problems(), channel=channel_of(edits=edits, coverage_interval=Interval(low=0.9, high=0.96)),
        steps=[step_summary(step, subspace=subspace, doses=doses) for step in range(5)],
        power=Power(alpha=0.01, n_honest=600, n_least=99, lies=[lie]), text=text, **more,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "argv", ["dashboard.py", str(tmp_path)])
    return tmp_path


def test_every_control_is_shown_where_it_ran(folder: Path) -> None:
    write_audit(folder / "audit", controlled())
    app = opened("sanity")
    assert "all controls were run" in " ".join(element.value for element in app.markdown)
    told = " ".join(words(app))
    assert "60 of 100 (60%, 95 % interval 50% to 70%)" in told
    assert "thoughts find 3 more" in told
    assert "0.90 to 0.96" in told
    assert "uncontrolled" not in " ".join(element.value for element in app.markdown)
    assert [figure["layout"]["yaxis"]["title"]["text"] for figure in map(spec, app.get("plotly_chart"))] == [
        "decoded right", "share that follow", "share that reacts (95 %)", "thoughts"
    ]  # fmt: skip
    frames = {frame.value.columns[0]: frame.value for frame in app.dataframe}
    assert frames["reader"]["lies told apart (AUROC)"].tolist() == ["–", "0.60"]
    assert frames["reader"]["honest flagged"].tolist() == ["0.005", "0.00"]
    assert frames["found by both"].to_numpy().tolist() == [[0, 3, 0, 7, "0.30", "0.10 to 0.60", 10]]
    assert frames["planted"]["planted"].tolist() == ["only one claim, drawn at random, is"]
    assert [code.value.split()[1] for code in app.code] == ["bandwidth"]
    edits = frames["edit"]
    assert list(edits["said text moves"]) == ["0.81 (0.71 to 0.91, n = 100)", "–"]
    assert list(edits["not tried"]) == ["–", "no token could stand there"]


def spec(chart: Any) -> Any:
    return json.loads(chart.proto.spec)


def test_an_audit_without_them_is_called_uncontrolled(folder: Path) -> None:
    write_audit(folder / "audit", make_audit())
    for page in ("overview", "trace"):
        assert "uncontrolled" in " ".join(element.value for element in opened(page).markdown)
    app = opened("sanity")
    marked = [element.value for element in app.markdown]
    assert sum("not run" in text for text in marked) == 4  # power, words, edits, bits
    assert [code.value.split()[1] for code in app.code] == ["audit", "audit", "audit", "bandwidth"]
    absent = next(text for text in words(app) if text.startswith("Not run in this audit"))
    assert all(name in absent for name in ("edits of keys", "subspace", "planted lies", "only the words"))


def test_lags_are_counted_from_a_thought_to_its_word() -> None:
    audit = make_audit()
    found = {problem.id: lags(problem) for problem in audit.problems}
    assert found["p-0001"] == []  # every thought of the liar conflicts
    assert found["p-0003"] == [0, 1, 0]
    assert found["p-0005"] == [0, 0, 0, 0]
    bars = {bar.name: dict(zip(bar.x, bar.y, strict=True)) for bar in lag_histogram(audit).data}
    assert bars["diverges"] == {0: 2, 1: 1}
    assert sum(bars["agrees"].values()) == 24


def test_the_report_holds_the_same_numbers() -> None:
    page = render_report(controlled(), provenance={})
    for told in (
        "60 of 100 (60%", "thoughts find 3 more", "What every edit of all steps does",
        "not tried: no token could stand", "Only what the probe reads", "0: 0.00, 0.5: 0.50, 1: 1.00",
    ):  # fmt: skip
        assert told in page
    bare = render_report(make_audit(), provenance={})
    assert "What would have been caught" not in bare
    assert "What every edit" not in bare


@pytest.mark.parametrize(("place", "is_shown"), [
    ("audit", True), ("audit/bits", True), ("audit-bits", True), ("other", False), ("../outside", False),
])  # fmt: skip
def test_bits_are_shown_where_this_model_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, is_shown: bool
) -> None:
    from channel_factory import ChannelReasoner, channel_problems, loaded  # type: ignore[import-not-found]

    from workbench.bandwidth import BandwidthPlan, run_bandwidth

    model = loaded(ChannelReasoner(2, n_steps=2), 4)
    record = run_bandwidth(model, channel_problems(2, 100, n_steps=2), tmp_path / "made", BandwidthPlan(per_step=False))
    audit = controlled()
    mine = record.model.model_copy(
        update={"fingerprint": "sha256:other" if place == "other" else audit.model.fingerprint}
    )
    root = tmp_path / "runs"
    write_audit(root / "audit", audit)
    (root / place).mkdir(parents=True, exist_ok=True)
    (root / place / "bandwidth.json").write_bytes(record.model_copy(update={"model": mine}).to_json())
    monkeypatch.setattr(sys, "argv", ["dashboard.py", str(root)])
    app = opened("sanity")
    told = " ".join(words(app))
    assert ("are enough to say the same" in told) == is_shown
    assert bool(app.code) != is_shown
    if is_shown:
        bits = next(frame.value for frame in app.dataframe if "used, at most (95 %)" in frame.value)
        assert list(bits["thoughts"]) == ["step 0", "step 1", "all steps"]
        assert "shuffled" in bits
