"""Findings: the history only grows and shows when it was changed; reviewers are compared; exports hold what is seen."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from audit_factory import HIDDEN, XSS, default_problems, hostile, make_audit, write_audit  # type: ignore[import-not-found]

from workbench.errors import ConfigError, CorruptArtifact, HashMismatch, StoreBusy
from workbench.findings import Labels, agreements, append, findings, read_history
from workbench.findings.export import findings_csv, findings_html, findings_json, findings_rows
from workbench.store.locking import FolderLock

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
GRAVE = Labels(severity="high", category="says-otherwise", confidence="high")
MILD = Labels(severity="low", category="says-otherwise", confidence="low")
PROVENANCE = {"command": ["workbench", "audit", "organism:liar", "--out", "runs/x"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_audit(tmp_path / "audit", make_audit([*default_problems(), hostile()]))


AUDIT = make_audit([*default_problems(), hostile()])


def reviewed(folder: Path) -> None:
    append(folder, AUDIT, "pin", ("p-0001", 1), author="ada", now=NOON)
    append(folder, AUDIT, "label", ("p-0001", 1), author="ada", labels=GRAVE, now=NOON + timedelta(minutes=1))
    append(folder, AUDIT, "label", ("p-0001", 1), author="bo", labels=MILD, comment="not sure", now=NOON)
    append(folder, AUDIT, "pin", ("p-0002", None), author="bo", now=NOON)
    append(folder, AUDIT, "label", ("p-0002", None), author="bo", labels=GRAVE, now=NOON)
    append(folder, AUDIT, "label", ("p-0002", None), author="ada", labels=GRAVE, now=NOON)


def test_nothing_is_found_where_nothing_was_pinned(folder: Path) -> None:
    assert read_history(folder) == []
    assert findings([]) == []


def test_a_finding_stands_at_what_was_last_said_of_it(folder: Path) -> None:
    reviewed(folder)
    append(folder, AUDIT, "label", ("p-0001", 1), author="bo", labels=GRAVE, now=NOON)
    first, second = findings(read_history(folder))
    assert (first.problem, first.step, first.pinned_by, first.pinned_at) == (
        "p-0001", 1, "ada", "2026-01-02T12:00:00+00:00"
    )  # fmt: skip
    assert dict(first.labels) == {"ada": GRAVE, "bo": GRAVE}
    assert [event.comment for event in first.comments] == ["not sure"]
    assert second.step is None
    assert len(read_history(folder)) == 7  # the label that was replaced is still there


def test_what_was_taken_back_can_be_pinned_again(folder: Path) -> None:
    append(folder, AUDIT, "pin", ("p-0001", None), author="ada")
    append(folder, AUDIT, "withdraw", ("p-0001", None), author="ada", comment="a slip")
    assert findings(read_history(folder))[0].withdrawn
    with pytest.raises(ConfigError, match="was not pinned"):
        append(folder, AUDIT, "label", ("p-0001", None), author="ada", labels=GRAVE)
    append(folder, AUDIT, "pin", ("p-0001", None), author="bo")
    assert not findings(read_history(folder))[0].withdrawn


@pytest.mark.parametrize("damage", ["change", "remove", "swap", "tear", "other"])
def test_a_history_that_was_changed_is_refused(folder: Path, damage: str) -> None:
    reviewed(folder)
    path = folder / "findings" / "history.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    if damage == "change":
        lines[1] = lines[1].replace("high", "none")
    elif damage == "remove":
        del lines[2]
    elif damage == "swap":
        lines[2], lines[3] = lines[3], lines[2]
    elif damage == "tear":
        lines[-1] = lines[-1][:40]
    else:
        lines.append('{"schema": "other/1"}\n')
    path.write_text("".join(lines))
    with pytest.raises((HashMismatch, CorruptArtifact)) as caught:
        read_history(folder)
    assert caught.value.path == str(path)
    assert (caught.value.field or "").startswith("line ")
    before = path.read_bytes()
    with pytest.raises((HashMismatch, CorruptArtifact)):
        append(folder, AUDIT, "pin", ("p-0003", None), author="ada")
    assert path.read_bytes() == before


@pytest.mark.parametrize(("action", "key", "more", "field"), [
    ("pin", ("nobody", None), {}, "problem"),
    ("pin", ("p-0001", 99), {}, "problem"),
    ("pin", ("p-0001", 1), {"author": "  "}, "author"),
    ("pin", ("p-0001", 1), {"author": "x" * 101}, "author"),
    ("comment", ("p-0002", None), {"comment": " "}, "action"),
    ("comment", ("p-0002", None), {"comment": "x" * 4001}, "comment"),
    ("label", ("p-0002", None), {}, "action"),
    ("label", ("p-0003", None), {"labels": GRAVE}, "action"),
])  # fmt: skip
def test_what_cannot_be_is_refused_and_nothing_is_written(
    folder: Path, action: str, key: tuple[str, int | None], more: dict[str, object], field: str
) -> None:
    append(folder, AUDIT, "pin", ("p-0002", None), author="ada")
    before = (folder / "findings" / "history.jsonl").read_bytes()
    with pytest.raises(ConfigError) as caught:
        append(folder, AUDIT, action, key, **({"author": "ada"} | more))  # type: ignore[arg-type]
    assert caught.value.field == field
    assert (folder / "findings" / "history.jsonl").read_bytes() == before


def test_two_reviewers_cannot_write_at_once(folder: Path) -> None:
    append(folder, AUDIT, "pin", ("p-0001", None), author="ada")
    lock = FolderLock(folder / "findings")
    lock.acquire()
    with pytest.raises(StoreBusy):
        append(folder, AUDIT, "pin", ("p-0002", None), author="bo")
    lock.release()
    append(folder, AUDIT, "pin", ("p-0002", None), author="bo")


def test_agreement_counts_what_both_have_labelled(folder: Path) -> None:
    reviewed(folder)
    rows = {row.label: row for row in agreements(findings(read_history(folder)))}
    assert (rows["severity"].n, rows["severity"].share) == (2, 0.5)
    assert rows["category"].share == 1.0
    assert rows["category"].kappa is None  # both always said the same: chance alone would
    assert rows["severity"].kappa == pytest.approx(0.0)
    assert rows["severity"].interval.low < 0.5 < rows["severity"].interval.high


def test_exports_hold_what_is_shown(folder: Path) -> None:
    reviewed(folder)
    append(folder, AUDIT, "pin", ("p-0003", None), author="ada")
    append(folder, AUDIT, "withdraw", ("p-0003", None), author="ada")
    found = findings(read_history(folder))
    rows = findings_rows(AUDIT, found)
    assert [row["problem"] for row in rows] == ["p-0001", "p-0002"]
    table = list(csv.DictReader(io.StringIO(findings_csv(AUDIT, found))))
    assert table == rows
    plain = json.loads(findings_json(AUDIT, found, provenance=PROVENANCE))
    assert plain["rows"] == rows
    assert len(plain["events"]) == 6
    labels = [event["labels"] for event in plain["events"] if event["labels"]]
    allowed = plain["label_schema"]["properties"]
    assert labels
    assert all(label[name] in allowed[name]["enum"] for label in labels for name in plain["label_schema"]["required"])
    assert plain["command"] == "workbench audit organism:liar --out runs/x"
    page = findings_html(AUDIT, found, provenance=PROVENANCE)
    assert "p-0003" not in page
    for row in rows:
        assert all(part in page for part in (row["problem"], row["pinned_by"], row["pinned_at"], row["p_value"]))
    assert "not sure" in page
    assert plain["command"] in page
    assert "<script" not in page


def test_texts_that_try_to_run_do_not(folder: Path) -> None:
    append(folder, AUDIT, "pin", ("p-xss", 0), author=XSS[:90], comment=XSS + HIDDEN)
    append(folder, AUDIT, "comment", ("p-xss", 0), author="=cmd()", comment="=1+1")
    found = findings(read_history(folder))
    page = findings_html(AUDIT, found, provenance={})
    assert "<script" not in page
    assert "<img" not in page
    assert "\u202e" not in page
    cells = next(csv.DictReader(io.StringIO(findings_csv(AUDIT, found))))
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells.values())
