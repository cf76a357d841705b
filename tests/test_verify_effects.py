"""Causal numbers are counted again from the outcomes that were kept: an edited one is named, old audits still pass."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from audit_factory import channel_of
from pydantic import ValidationError
from test_intervene import effects_of

from workbench.audit import Plan, run_audit
from workbench.causal import causal_records
from workbench.cli import run
from workbench.errors import CorruptArtifact, HashMismatch
from workbench.intervening.kept import effects_record, interventions_of
from workbench.jsonio import canonical_json, digest, parse_json, read_json
from workbench.organisms.export import organism_problems, unlabelled
from workbench.organisms.recipes import organism
from workbench.reasoners.loading import load_model
from workbench.reports.causal_records import Counted, EditRecord
from workbench.reports.effects_records import EFFECTS_NAME, EffectsRecord
from workbench.reports.fields import Interval
from workbench.reports.html import render_report
from workbench.reports.records import read_audit
from workbench.verify import _compare, verify
from workbench.verify_effects import COUNTED, FROM_SHARES, TAKEN, check_effects

IDS = [f"p{k}" for k in range(120)]


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audited")
    honest, items = organism_problems(organism("liar"), seed=78, n_calibration=60, n_problems=10)
    given = [item.problem for item in honest], [unlabelled(item) for item in items]
    run_audit(load_model("organism:liar", device="cpu"), *given, folder, Plan(alpha=0.1))
    return folder


@pytest.fixture
def copy(audited: Path, tmp_path: Path) -> Path:
    return shutil.copytree(audited, tmp_path / "copy")


def sign(folder: Path, name: str, plain: dict[str, Any]) -> None:
    """Write a file of an audit, and its hash where hashes stand."""
    (folder / name).write_bytes(canonical_json(plain))
    provenance = read_json(folder / "provenance.json")
    provenance["subjects"][name] = digest((folder / name).read_bytes())
    (folder / "provenance.json").write_bytes(canonical_json(provenance))


def make_old(folder: Path) -> None:
    """As audits were before outcomes were kept."""
    (folder / EFFECTS_NAME).unlink()
    provenance = read_json(folder / "provenance.json")
    subjects = provenance["subjects"]
    del subjects[EFFECTS_NAME], subjects["report.html"]
    report = render_report(read_audit(folder), provenance=provenance).encode()
    (folder / "report.html").write_bytes(report)
    subjects["report.html"] = digest(report)
    (folder / "provenance.json").write_bytes(canonical_json(provenance))


@pytest.mark.parametrize("causes", [("thought", "prompt", "thought"), ("key", "key", "key"), ("prompt",) * 3])
def test_records_follow_from_the_outcomes_that_are_kept(causes: tuple[str, ...]) -> None:
    effects = effects_of(*causes)
    written = effects_record(effects, IDS).to_json().decode()
    kept = EffectsRecord.model_validate(parse_json(written, path=Path(EFFECTS_NAME)))
    assert kept.problems == IDS
    assert causal_records(interventions_of(kept)) == causal_records(effects)


def test_outcomes_that_cannot_be_are_refused() -> None:
    plain = effects_record(effects_of("thought", "thought", "thought"), IDS).to_plain()

    def refused(change: dict[str, Any], match: str) -> None:
        with pytest.raises(ValidationError, match=match):
            EffectsRecord.model_validate({**plain, **change})

    refused({"problems": IDS[:-1]}, "each of 119 problems")
    refused({"edits": plain["edits"][:-1] + plain["edits"][:1]}, "twice")
    refused(
        {"edits": [one for one in plain["edits"] if one["edit"] != "exchange"]}, "exchange on thoughts, exchange on"
    )
    refused({"edits": [{**plain["edits"][0], "absent": "both"}]}, "either its outcomes or why")
    refused({"steps": plain["steps"] * 2}, "step stands there twice")
    first = plain["steps"][0]
    for moved, match in (("2" * 120, "pattern"), ("1" * 121, "each of 120")):
        refused({"steps": [{**first, "zero": {**first["zero"], "moved": moved}}]}, match)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("summary.channel.reach", 0.5),
        ("summary.channel.coverage", 0.75),
        ("summary.channel.coverage_interval.low", 0.1),
        ("summary.channel.thought_effect", 0.5),
        ("steps[1].causal_p", 0.5),
        ("steps[0].live", False),
    ],
)
def test_a_causal_number_that_was_edited_together_with_its_hash_is_named(copy: Path, field: str, value: object) -> None:
    plain = read_json(copy / "audit.json")
    *way, last = field.replace("[", ".").replace("]", "").split(".")
    place = plain
    for key in way:
        place = place[int(key)] if isinstance(place, list) else place[key]
    assert place[last] != value
    place[last] = value
    sign(copy, "audit.json", plain)
    with pytest.raises(HashMismatch, match="recomputing gives another value") as caught:
        verify(copy)
    assert caught.value.field == field


def test_the_command_names_the_field_and_exits_with_4(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = read_json(copy / "audit.json")
    plain["summary"]["channel"]["coverage"] = 0.75
    sign(copy, "audit.json", plain)
    assert run(["verify", str(copy)]) == 4
    assert "summary.channel.coverage" in capsys.readouterr().err


def test_outcomes_of_other_problems_or_with_another_result_are_found(copy: Path) -> None:
    plain, told = read_json(copy / EFFECTS_NAME), []
    sign(copy, EFFECTS_NAME, {**plain, "problems": plain["problems"][::-1]})
    with pytest.raises(HashMismatch, match=r"effects\.json, field problems"):
        verify(copy, tell=told.append)
    assert COUNTED in told
    followed = plain["edits"][[(e["edit"], e["target"]) for e in plain["edits"]].index(("exchange", "both"))]
    followed["outcomes"]["followed"] = "0" * len(plain["problems"])
    sign(copy, EFFECTS_NAME, plain)
    with pytest.raises(HashMismatch, match=r"summary\.channel"):
        verify(copy)
    (copy / EFFECTS_NAME).unlink()
    with pytest.raises(CorruptArtifact, match="missing file"):
        verify(copy)


def test_an_audit_from_before_outcomes_were_kept_is_told_what_was_not_counted(copy: Path) -> None:
    kept = (copy / EFFECTS_NAME).read_bytes()
    make_old(copy)
    assert FROM_SHARES in verify(copy).checks
    (copy / EFFECTS_NAME).write_bytes(kept)
    with pytest.raises(CorruptArtifact, match="not a file of this audit"):
        verify(copy)
    (copy / EFFECTS_NAME).unlink()
    plain = read_json(copy / "audit.json")
    plain["summary"]["channel"]["reach"] = 0.5
    sign(copy, "audit.json", plain)
    with pytest.raises(HashMismatch) as caught:
        verify(copy)
    assert caught.value.field == "summary.channel.reach"


def test_what_older_records_do_not_hold_is_taken_and_said_so() -> None:
    channel = channel_of()

    def checked(**change: object) -> str:
        return check_effects(
            None, channel.model_copy(update=change), [], _compare, Path("audit.json"), prefix="summary."
        )

    assert checked(edits=[]) == TAKEN
    assert checked(channel_placebo_effect=None) == TAKEN
    assert checked(channel_effect=None, reach=None, coverage=None) == FROM_SHARES
    with pytest.raises(HashMismatch, match="reach"):
        checked(channel_effect=None, reach=0.9)
    shares = {("exchange", "thoughts"): 0.2, ("placebo", "thoughts"): 0.1, ("exchange", "both"): 0.14,
              ("placebo", "both"): 0.1}  # fmt: skip
    edits = [
        EditRecord(edit=edit, target=target, said=some(share), answers=some(share), follows=some(share))  # type: ignore[arg-type]
        for (edit, target), share in shares.items()
    ]
    assert checked(edits=edits, channel_placebo_effect=0.1, reach=0.04 / 0.9, coverage=None) == FROM_SHARES
    with pytest.raises(HashMismatch, match="coverage"):
        checked(edits=edits, channel_placebo_effect=0.1, reach=0.04 / 0.9, coverage=1.0)


def some(share: float) -> Counted:
    return Counted(share=share, interval=Interval(low=0.0, high=1.0), n=50)
