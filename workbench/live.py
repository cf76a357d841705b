"""Live: run one problem by hand, edit a thought, and see whether the answer follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from probes.frozen import FrozenProbe
from workbench import edits
from workbench.audit import model_record
from workbench.capture import seed_of
from workbench.claims import parse_said
from workbench.compare import changes_between
from workbench.divergence import Pairing, compare_chains
from workbench.edits import Edit
from workbench.errors import ConfigError, SchemaError
from workbench.fit import load_fits
from workbench.readings import AnyReading, Reading, SetReading
from workbench.reasoners.loading import LoadedModel
from workbench.reports.live_records import NAME, EditAsked, LiveRecord
from workbench.reports.records import AuditRecord, Candidate, ProblemRecord, ProblemStep, read_audit
from workbench.store import write_file
from workbench.store.files import make_folder
from workbench.store.reader import RunStore
from workbench.tasks.base import Problem, shown_prompt
from workbench.tasks.jsonl import problem_of
from workbench.traces import Trace

N_CANDIDATES = 5
UNJUDGED = "run by hand: nothing was calibrated on it"


def audited_problem(folder: Path, audit: AuditRecord, problem_id: str) -> Problem:
    """The problem of this id, from the audit's run, or where that is not at hand from what the record shows.

    Raises:
        SchemaError: the audit has no such problem, or shows too little of it.
    """
    shown = audit.problem(problem_id)
    if (folder / "run" / "manifest.json").is_file():
        plain = next(one["problem"] for one in RunStore(folder / "run").problems if one["problem"]["id"] == problem_id)
        return problem_of(plain)
    if audit.model.family == "memory":
        raise SchemaError("the run of this audit is needed: a memory's episodes stand there", path=folder / "run")
    return Problem(id=shown.id, prompt=shown.prompt)


def run_live(
    model: LoadedModel,
    audit_folder: Path,
    problem: Problem,
    out: Path,
    *,
    edit: EditAsked | None = None,
    donor: Problem | None = None,
    seed: int = 0,
) -> LiveRecord:
    """Run a problem, and run it again under an edit; its thoughts are read by the probes of an audit of this model.

    Args:
        model: what is run.
        audit_folder: of an audit of the same model.
        problem: what it is asked.
        out: folder for `live.json`, which is written once the intact run is done, and again after the edited one.
        edit: what is done to its thoughts, if anything.
        donor: whose thoughts are put in, of a swap.
        seed: of reasoners that sample.

    Raises:
        ConfigError: the audit is of another model, or the edit names a step that the problem does not take.
        CorruptArtifact: the audit has no probes.
        HashMismatch: they are not the ones of this audit.
    """
    audit = read_audit(audit_folder)
    if audit.model.fingerprint != model.fingerprint:
        raise ConfigError(
            "the audit is of another model", path=audit_folder, field="model.fingerprint",
            expected=model.fingerprint, found=audit.model.fingerprint,
        )  # fmt: skip
    probes = _by_step(load_fits(audit_folder / "probes", expected_root=audit.probes_root))
    problems = [problem, *([donor] if donor is not None else [])]
    seeds = [seed_of(seed, one) for one in problems]
    plain = model.reasoner.run(problems, read=["thought"], seeds=seeds)
    n_steps = plain.n_steps[0]
    if edit is not None and edit.step is not None and edit.step >= n_steps:
        raise ConfigError("the problem takes no such step", field="step", expected=f"below {n_steps}", found=edit.step)
    records = [_record(plain, k, one, probes, model) for k, one in enumerate(problems)]
    record = LiveRecord(
        model=model_record(model), run_root=audit.run_root, probes_root=audit.probes_root, seed=seed, edit=None,
        intact=records[0], edited=None, donor=None, changes=[],
    )  # fmt: skip
    make_folder(out)
    write_file(out / NAME, record.to_json())  # whoever watches sees the intact run before the edited one
    if edit is not None:
        change = {"thought": _edit(edit, plain)}
        trace = model.reasoner.run([problem], read=["thought"], edits=change, seeds=seeds[:1])
        edited = _record(trace, 0, problem, probes, model)
        record = record.model_copy(update={
            "edit": edit, "edited": edited, "donor": records[1] if donor is not None else None,
            "changes": changes_between(records[0], edited),
        })  # fmt: skip
        write_file(out / NAME, record.to_json())
    return record


def _by_step(probes: Mapping[str, FrozenProbe]) -> dict[int, FrozenProbe]:
    return {int(probe.metadata["step"]): probe for probe in probes.values()}


def _edit(asked: EditAsked, plain: Trace) -> Edit:
    if asked.kind == "zero":
        return edits.zero() if asked.step is None else edits.only_steps(edits.zero(), [asked.step])
    kept = plain["thought"].by_visit()
    return edits.replace({key: rows[1:2] for key, rows in kept.items() if asked.step in (None, key[0])})


def _record(
    trace: Trace, k: int, problem: Problem, probes: Mapping[int, FrozenProbe], model: LoadedModel
) -> ProblemRecord:
    said = parse_said(trace.said[k], model.reasoner.recipe.speaking)
    thoughts = _thoughts(trace, k)
    readings = [_read(step, probes[step], thoughts[step]) for step in sorted(thoughts) if step in probes]
    pairings = compare_chains(readings, said.claims)
    return ProblemRecord(
        id=problem.id, group=problem.group, condition=None, prompt=shown_prompt(problem.to_plain()), said=said.text,
        answer=said.answer, claims=list(said.claims), verdict="cannot-tell", score=0.0, p_value=1.0, q_value=1.0,
        reason=UNJUDGED, steps=[_step(pairing, readings, thoughts) for pairing in pairings],
    )  # fmt: skip


def _thoughts(trace: Trace, k: int) -> dict[int, np.ndarray]:
    """Step -> what passed, visits of a step one after the other."""
    parts: dict[int, list[torch.Tensor]] = {}
    for (step, _), rows in sorted(trace["thought"].by_visit().items()):
        parts.setdefault(step, []).append(rows[k].flatten())
    return {step: torch.cat(rows).double().cpu().numpy() for step, rows in parts.items()}


def _read(step: int, probe: FrozenProbe, thought: np.ndarray) -> AnyReading:
    if probe.reads_sets:
        return SetReading(step, probe.classes, probe.log_odds(thought[None])[0])
    return Reading(step, probe.classes, probe.log_proba(thought[None])[0])


def _step(pairing: Pairing, readings: Sequence[AnyReading], thoughts: Mapping[int, np.ndarray]) -> ProblemStep:
    reading = next((one for one in readings if one.step == pairing.step), None)
    return ProblemStep(
        step=pairing.step, said=pairing.said, claim_index=pairing.claim_index, status=pairing.status,
        margin=pairing.margin, held_before=pairing.held_before, p_value=None, unseen_p=None,
        decoded=None if reading is None else reading.best,
        confidence=None if reading is None else min(1.0, max(0.0, reading.confidence)),
        divergence_bits=1.0 if reading is None else reading.divergence_bits(pairing.said),
        norm=None if pairing.step is None else float(np.linalg.norm(thoughts[pairing.step])),
        top=[] if reading is None else [
            Candidate(value=value, probability=min(1.0, max(0.0, p))) for value, p in reading.likeliest(N_CANDIDATES)
        ],
    )  # fmt: skip
