"""Verify: recompute hashes and numbers of a run, a fit or an audit, and refuse what differs from the record."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from probes import FrozenProbe
from workbench.audit import Plan, assemble
from workbench.causal import Causal
from workbench.errors import CorruptArtifact, HashMismatch, SchemaError
from workbench.evidence import labelled_steps, split_honest
from workbench.fit import fit_steps, load_fits
from workbench.fitting.job import JOB_NAME
from workbench.intervening.honest import edited_ids
from workbench.jsonio import digest, read_json
from workbench.lens_route import fits_again
from workbench.reasoners.recipe import Speaking
from workbench.reports.effects_records import EFFECTS_NAME, EffectsRecord
from workbench.reports.fit_records import FIT_NAME
from workbench.reports.html import render_report
from workbench.reports.intervene_records import INTERVENE_NAME
from workbench.reports.records import AuditRecord, StepCausal, StepSummary, read_audit
from workbench.reports.tables import problems_csv
from workbench.store import RunStore, StoreReport, verify_store
from workbench.verify_bandwidth import is_bandwidth, verify_bandwidth
from workbench.verify_effects import check_effects, read_kept
from workbench.verify_fit import verify_fit
from workbench.verify_intervene import verify_intervene

TOLERANCE = 1e-4
"""Relative difference that another processor or library build may make."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Verified:
    """What was checked and found as recorded."""

    kind: str
    root: str
    checks: tuple[str, ...]


def verify(folder: Path, *, tell: Tell | None = None) -> Verified:
    """Verify an audit folder, a folder that `workbench fit`, `intervene` or `bandwidth` wrote, or a capture store.

    Raises:
        CorruptArtifact: a file is missing, truncated or unreadable.
        HashMismatch: a file or a number is not what was recorded.
        SchemaError: the folder holds no audit, no fit and no run.
    """
    if (folder / "audit.json").is_file() or (folder / "provenance.json").is_file():
        return _verify_audit(folder, tell or (lambda check: None))
    if (folder / FIT_NAME).is_file() or (folder / JOB_NAME).is_file():
        return _verify_fit(folder, tell or (lambda check: None))
    if (folder / INTERVENE_NAME).is_file():
        return _verify_intervene(folder, tell or (lambda check: None))
    if is_bandwidth(folder):
        return _verify_bandwidth(folder, tell or (lambda check: None))
    if (folder / "run").is_dir():
        raise CorruptArtifact("the audit did not finish", path=folder / "audit.json", hint="Run its command again.")
    if (folder / "manifest.json").is_file() or (folder / "manifest.sqlite").is_file():
        report = verify_store(folder)
        return Verified("run", report.root, (_about_run(report),))
    raise SchemaError(
        "no audit, no fit and no run",
        path=folder,
        expected="a folder with audit.json, fit.json or manifest.json",
    )


def _verify_fit(folder: Path, tell: Tell) -> Verified:
    checks: list[str] = []

    def passed(check: str) -> None:
        checks.append(check)
        tell(check)

    return Verified("fit", verify_fit(folder, passed).probes_root, tuple(checks))


def _verify_intervene(folder: Path, tell: Tell) -> Verified:
    checks: list[str] = []

    def passed(check: str) -> None:
        checks.append(check)
        tell(check)

    return Verified("intervene", verify_intervene(folder, passed, _compare), tuple(checks))


def _verify_bandwidth(folder: Path, tell: Tell) -> Verified:
    checks: list[str] = []

    def passed(check: str) -> None:
        checks.append(check)
        tell(check)

    return Verified("bandwidth", verify_bandwidth(folder, passed, _compare), tuple(checks))


def _verify_audit(folder: Path, tell: Tell) -> Verified:
    checks: list[str] = []

    def passed(check: str) -> None:
        checks.append(check)
        tell(check)

    provenance = _read(folder / "provenance.json")
    audit = _read_audit(folder)
    for name, expected in _subjects(provenance, folder).items():
        if not (folder / name).is_file():
            raise CorruptArtifact("missing file", path=folder / name)
        if digest((folder / name).read_bytes()) != expected:
            raise HashMismatch("the file changed since the audit was written", path=folder / name, expected=expected)
    passed("audit.json and the files beside it are as written")
    rows = [(row.step, row) for row in audit.steps]
    kept, channel = read_kept(folder), audit.summary.channel
    passed(check_effects(kept, channel, rows, _compare, folder / "audit.json", prefix="summary."))
    store_report = verify_store(folder / "run")
    if store_report.root != audit.run_root:
        raise HashMismatch(
            "the run is not the one that was audited",
            path=folder / "run",
            expected=audit.run_root,
            found=store_report.root,
        )
    passed(_about_run(store_report))
    probes = load_fits(folder / "probes", expected_root=audit.probes_root)
    passed("the probes are as written")
    again = _recomputed(audit, folder, provenance, list(probes.values()), kept)
    _compare(again, audit.to_plain(), folder / "audit.json")
    passed("fitting again gives the recorded numbers and verdicts")
    if problems_csv(audit).encode() != (folder / "problems.csv").read_bytes():
        raise HashMismatch("the table does not follow from audit.json", path=folder / "problems.csv")
    shown = {**provenance, "subjects": {k: v for k, v in provenance["subjects"].items() if k != "report.html"}}
    if render_report(audit, provenance=shown).encode() != (folder / "report.html").read_bytes():
        raise HashMismatch("the report does not follow from audit.json", path=folder / "report.html")
    passed("table and report follow from audit.json")
    return Verified("audit", audit.run_root, tuple(checks))


def _about_run(report: StoreReport) -> str:
    stray = f"; not part of it and never read: {', '.join(report.orphans)}" if report.orphans else ""
    return f"{report.n_shards} shards and the manifest of the run are as written{stray}"


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CorruptArtifact("missing file", path=path)
    try:
        plain = read_json(path)
    except SchemaError as error:
        raise CorruptArtifact(error.message, path=path) from error
    if not isinstance(plain, dict):
        raise CorruptArtifact("holds no object", path=path)
    return plain


def _read_audit(folder: Path) -> AuditRecord:
    if not (folder / "audit.json").is_file():
        raise CorruptArtifact(
            "missing file", path=folder / "audit.json", hint="The audit did not finish; run it again."
        )
    try:
        return read_audit(folder)
    except SchemaError as error:
        raise CorruptArtifact(error.message, path=folder / "audit.json", field=error.field) from error


def _subjects(provenance: dict[str, Any], folder: Path) -> dict[str, str]:
    subjects = provenance.get("subjects")
    wanted = {"audit.json", "problems.csv", "report.html"}  # and outcomes of edits, where they were kept already
    if not isinstance(subjects, dict) or set(subjects) - {EFFECTS_NAME} != wanted:
        raise CorruptArtifact("names other files than an audit has", path=folder / "provenance.json", field="subjects")
    if EFFECTS_NAME not in subjects and (folder / EFFECTS_NAME).exists():
        raise CorruptArtifact("is not a file of this audit", path=folder / EFFECTS_NAME)
    return subjects


def _recomputed(
    audit: AuditRecord,
    folder: Path,
    provenance: dict[str, Any],
    probes: Sequence[FrozenProbe],
    kept: EffectsRecord | None,
) -> dict[str, Any]:
    """The audit's numbers from its store and its causal effects; lenses need the model and stay as recorded."""
    try:
        speaking = Speaking.model_validate(provenance.get("speaking"))
    except ValidationError as error:
        raise CorruptArtifact("holds no valid recipe", path=folder / "provenance.json", field="speaking") from error
    store = RunStore(folder / "run")
    if store.config.get("model") != audit.model.fingerprint:
        raise HashMismatch(
            "the run was captured from another model",
            path=folder / "audit.json",
            field="model.fingerprint",
            expected=store.config.get("model"),
            found=audit.model.fingerprint,
        )
    plan = Plan(alpha=audit.settings.alpha, seed=audit.settings.seed, reader=audit.settings.reader)
    learned = plan.reader == "probe"
    honest = split_honest(store, speaking, alpha=plan.alpha, seed=plan.seed, only_words=not learned)
    if kept is not None:
        _compare(edited_ids(store, honest, seed=plan.seed), kept.problems, folder / EFFECTS_NAME, "problems")
    fits = (
        fit_steps(labelled_steps(store, honest), None, seed=plan.seed)
        if learned
        else fits_again(store, honest, probes, seed=plan.seed)
    )
    recorded = {step.step: step for step in audit.steps}
    fits = [fit for fit in fits if fit.step in recorded]
    if set(recorded) != {fit.step for fit in fits}:
        raise HashMismatch("probed steps have no labels in the run", path=folder / "audit.json", field="steps")
    causal = Causal(audit.summary.channel, {step: _causal_fields(row) for step, row in recorded.items()})
    again = assemble(
        store,
        honest,
        fits,
        causal,
        speaking,
        model=audit.model,
        plan=plan,
        n_left_out=audit.settings.n_left_out,
        probes_root=audit.probes_root,
    )
    plain = again.to_plain()
    for row in plain["steps"]:
        row["logit_lens"] = recorded[row["step"]].logit_lens
    return plain


def _causal_fields(row: StepSummary) -> dict[str, object]:
    return {name: getattr(row, name) for name in StepCausal.model_fields}


def _compare(again: Any, recorded: Any, path: Path, field: str = "") -> None:
    """Raise at the first value that differs by more than another machine's rounding."""
    same_kind = isinstance(again, type(recorded)) or isinstance(recorded, type(again))
    numbers = isinstance(again, int | float) and isinstance(recorded, int | float) and not isinstance(again, bool)
    if isinstance(again, dict) and isinstance(recorded, dict) and set(again) == set(recorded):
        for key in recorded:
            _compare(again[key], recorded[key], path, f"{field}.{key}" if field else key)
    elif isinstance(again, list) and isinstance(recorded, list) and len(again) == len(recorded):
        for k, (mine, theirs) in enumerate(zip(again, recorded, strict=True)):
            _compare(mine, theirs, path, f"{field}[{k}]")
    elif numbers and math.isclose(again, recorded, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
        return
    elif not same_kind or again != recorded:
        raise HashMismatch(
            "recomputing gives another value than was recorded", path=path, field=field, expected=again, found=recorded
        )
