"""The history of findings: one JSON line an event, each with the hash of the line before it.

It lies in `AUDIT/findings/history.jsonl`. The file is written anew and whole for every event, under a lock, so that it
is never half a line long; a line that was changed, moved or taken out breaks the chain of hashes and is refused.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from workbench.errors import ConfigError, CorruptArtifact, HashMismatch, SchemaError
from workbench.findings.records import Action, Event, Finding, Key, Labels
from workbench.jsonio import digest, parse_json, read_text
from workbench.reports.records import AuditRecord
from workbench.store import write_file
from workbench.store.files import make_folder
from workbench.store.locking import FolderLock

FOLDER, NAME = "findings", "history.jsonl"


def read_history(audit_folder: Path) -> list[Event]:
    """Every event, the oldest first; none where nothing was pinned yet.

    Raises:
        CorruptArtifact: a line is no event.
        HashMismatch: a line is not the one that followed the line before it.
    """
    path = audit_folder / FOLDER / NAME
    if not path.is_file():
        return []
    events: list[Event] = []
    previous = ""
    # A text may hold other characters that Python takes for line breaks.
    for number, line in enumerate(read_text(path).removesuffix("\n").split("\n"), start=1):
        event = _event(line, path, number)
        if event.previous != previous:
            raise HashMismatch(
                "the history was changed: this line did not follow the one before it", path=path,
                field=f"line {number}", expected=event.previous or "the first line", found=previous or "no line before",
            )  # fmt: skip
        events.append(event)
        previous = digest(line.encode())
    return events


def _event(line: str, path: Path, number: int) -> Event:
    try:
        return Event.model_validate(parse_json(line, path=path, field=f"line {number}"))
    except SchemaError as error:
        raise CorruptArtifact(error.message, path=path, field=f"line {number}") from error
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:5])
        raise CorruptArtifact(f"not an event of a finding: {told}", path=path, field=f"line {number}") from error


def append(
    audit_folder: Path,
    audit: AuditRecord,
    action: Action,
    key: Key,
    *,
    author: str,
    labels: Labels | None = None,
    comment: str | None = None,
    now: datetime | None = None,
) -> Event:
    """Add one event to the history, durably, and return it.

    Args:
        audit_folder: folder of the audit.
        audit: what lies in it.
        action: what is done; anything but `pin` needs a finding that stands.
        key: problem and step, the step absent for the problem as a whole.
        author: who does it.
        labels: of the action `label`.
        comment: words; of the action `comment`, or beside any other.
        now: time, with a zone; the present one if absent.

    Raises:
        ConfigError: an unknown problem or step, no such finding, an author or text that is empty or too long, or a
            folder that cannot be written.
        StoreBusy: someone else is writing at this moment.
    """
    problem, step = key
    known = {one.id: {row.step for row in one.steps if row.step is not None} for one in audit.problems}
    if problem not in known or (step is not None and step not in known[problem]):
        raise ConfigError("no such problem or step in this audit", field="problem", found=f"{problem!r}, step {step}")
    make_folder(audit_folder / FOLDER)
    lock = FolderLock(audit_folder / FOLDER)
    lock.acquire()
    try:
        events = read_history(audit_folder)
        standing = {(one.problem, one.step) for one in findings(events) if not one.withdrawn}
        if action != "pin" and key not in standing:
            raise ConfigError("this was not pinned, or was taken back", field="action", found=action, hint="Pin it.")
        event = _new_event(
            events, run_root=audit.run_root, problem=problem, step=step, action=action, author=author.strip(),
            at=(now or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds"), labels=labels,
            comment=(comment or "").strip() or None,
        )  # fmt: skip
        lines = [*(one.to_line() for one in events), event.to_line()]
        write_file(audit_folder / FOLDER / NAME, b"".join(line + b"\n" for line in lines))
    finally:
        lock.release()
    return event


def _new_event(events: list[Event], **fields: object) -> Event:
    previous = digest(events[-1].to_line()) if events else ""
    try:
        return Event.model_validate({**fields, "previous": previous})
    except ValidationError as error:
        item = error.errors()[0]
        raise ConfigError(
            str(item["msg"]), field=".".join(map(str, item["loc"])) or "action", found=str(item["input"])[:60]
        ) from error


def findings(events: list[Event]) -> list[Finding]:
    """What the events add up to, in the order of the first pin."""
    by_key: dict[Key, list[Event]] = {}
    for event in events:
        by_key.setdefault((event.problem, event.step), []).append(event)
    return [Finding(problem, step, tuple(mine)) for (problem, step), mine in by_key.items()]
