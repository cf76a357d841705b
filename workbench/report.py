"""Report: a finished audit, or findings in it, in the formats that other people and tools read."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.errors import ConfigError
from workbench.findings.choice import Choice
from workbench.findings.export import findings_csv, findings_html, findings_json, findings_sarif
from workbench.findings.history import findings, read_history
from workbench.findings.records import Finding
from workbench.jsonio import read_json
from workbench.reports.html import render_report, shown_command
from workbench.reports.records import AuditRecord, read_audit
from workbench.reports.sarif import audit_sarif
from workbench.reports.tables import problems_csv
from workbench.store import write_file
from workbench.store.files import make_folder

Provenance = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Format:
    """One format: what its files are called, and what makes them."""

    label: str
    mime: str
    audit_name: str
    of_audit: Callable[[AuditRecord, Provenance], bytes]
    findings_name: str
    of_findings: Callable[[AuditRecord, Sequence[Finding], Provenance], bytes]

    def name(self, *, of_findings: bool) -> str:
        """Of the file."""
        return self.findings_name if of_findings else self.audit_name

    def make(self, audit: AuditRecord, chosen: Sequence[Finding] | None, provenance: Provenance) -> bytes:
        """The file of these findings, or of the whole audit where `chosen` is None."""
        shown = {key: value for key, value in provenance.items() if key != "subjects"}
        return self.of_audit(audit, shown) if chosen is None else self.of_findings(audit, chosen, shown)


FORMATS: dict[str, Format] = {
    "html": Format(
        "One page (HTML)", "text/html",
        "report.html", lambda audit, provenance: render_report(audit, provenance=provenance).encode(),
        "findings.html", lambda audit, found, provenance: findings_html(audit, found, provenance=provenance).encode(),
    ),
    "json": Format(
        "JSON", "application/json",
        "audit.json", lambda audit, _: audit.to_json(),
        "findings.json", lambda audit, found, provenance: findings_json(audit, found, provenance=provenance),
    ),
    "csv": Format(
        "Table (CSV)", "text/csv",
        "problems.csv", lambda audit, _: problems_csv(audit).encode(),
        "findings.csv", lambda audit, found, _: findings_csv(audit, found).encode(),
    ),
    "sarif": Format(
        "SARIF", "application/sarif+json",
        "audit.sarif", lambda audit, _: audit_sarif(audit),
        "findings.sarif", lambda audit, found, _: findings_sarif(audit, found),
    ),
}  # fmt: skip


def commands(folder: str, choice: Choice | None, provenance: Provenance) -> list[tuple[str, str | None]]:
    """What to type to get the same again: (what it does, command line or None where it was not recorded).

    Args:
        folder: of the audit, as it is to be typed.
        choice: of findings; None for the whole audit.
        provenance: of the audit.
    """
    report = ["workbench", "report", folder, "--format", ",".join(FORMATS), *(choice.arguments() if choice else [])]
    return [
        ("the audit", shown_command(provenance) or None),
        ("these files", shlex.join(report)),
        ("the check", shlex.join(["workbench", "verify", folder])),
    ]


def export_audit(folder: Path, out: Path, formats: Sequence[str], choice: Choice | None = None) -> list[Path]:
    """Write a finished audit, or findings in it, anew in these formats.

    Args:
        folder: of the audit.
        out: folder for the files; made if it is missing.
        formats: keys of `FORMATS`.
        choice: of findings; None for the whole audit.

    Returns:
        The files that were written.

    Raises:
        ConfigError: an unknown format or finding, or the folder of the audit itself as `out`: its files are sealed.
        SchemaError: the folder holds no audit that can be read.
        IntegrityError: the history of findings was changed.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise ConfigError(
            "unknown format", field="--format", expected=", ".join(FORMATS), found=", ".join(unknown) or "none"
        )
    if out.resolve() == folder.resolve():
        raise ConfigError("the files of an audit are sealed", path=out, field="--out", hint="Choose another folder.")
    audit = read_audit(folder)
    chosen = None if choice is None else choice.of(findings(read_history(folder)))
    provenance = folder / "provenance.json"
    plain = read_json(provenance) if provenance.is_file() else {}
    kept = plain if isinstance(plain, dict) else {}
    wanted = [FORMATS[name] for name in dict.fromkeys(formats)]
    made = [(one.name(of_findings=chosen is not None), one.make(audit, chosen, kept)) for one in wanted]
    make_folder(out)
    for name, data in made:
        write_file(out / name, data)
    return [out / name for name, _ in made]
