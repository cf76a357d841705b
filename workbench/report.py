"""Report: a finished audit in the formats that other people and tools read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.errors import ConfigError
from workbench.jsonio import read_json
from workbench.reports.html import render_report
from workbench.reports.records import AuditRecord, read_audit
from workbench.reports.sarif import audit_sarif
from workbench.reports.tables import problems_csv
from workbench.store import write_file
from workbench.store.files import make_folder

Make = Callable[[AuditRecord, Mapping[str, Any]], bytes]

FORMATS: dict[str, tuple[str, Make]] = {
    "html": ("report.html", lambda audit, provenance: render_report(audit, provenance=provenance).encode()),
    "json": ("audit.json", lambda audit, provenance: audit.to_json()),
    "csv": ("problems.csv", lambda audit, provenance: problems_csv(audit).encode()),
    "sarif": ("audit.sarif", lambda audit, provenance: audit_sarif(audit)),
}
"""Format -> name of its file, and what makes it."""


def export_audit(folder: Path, out: Path, formats: Sequence[str]) -> list[Path]:
    """Write a finished audit anew in these formats.

    Args:
        folder: of the audit.
        out: folder for the files; made if it is missing.
        formats: keys of `FORMATS`.

    Returns:
        The files that were written.

    Raises:
        ConfigError: an unknown format, or the folder of the audit itself as `out`: its files are sealed.
        SchemaError: the folder holds no audit that can be read.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise ConfigError(
            "unknown format", field="--format", expected=", ".join(FORMATS), found=", ".join(unknown) or "none"
        )
    if out.resolve() == folder.resolve():
        raise ConfigError("the files of an audit are sealed", path=out, field="--out", hint="Choose another folder.")
    audit = read_audit(folder)
    provenance = folder / "provenance.json"
    plain = read_json(provenance) if provenance.is_file() else {}
    shown = {key: value for key, value in plain.items() if key != "subjects"} if isinstance(plain, dict) else {}
    made = [(FORMATS[name][0], FORMATS[name][1](audit, shown)) for name in dict.fromkeys(formats)]
    make_folder(out)
    for name, data in made:
        write_file(out / name, data)
    return [out / name for name, _ in made]
