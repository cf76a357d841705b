"""Audit: the whole way from a model folder and two files of problems to a sealed verdict."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from workbench.assess import Case, Causal, causal_records, problem_records, step_summaries, summarise
from workbench.capture import DEFAULT_SITES, FINGERPRINTED, SHARD_PROBLEMS, capture
from workbench.errors import ConfigError, InsufficientData
from workbench.evidence import (
    AUDITED,
    CALIBRATION,
    Honest,
    compare_problems,
    examples_of,
    labelled_steps,
    split_honest,
    usual_claims,
)
from workbench.fit import StepFit, fit_steps, save_fits
from workbench.interrupts import stop_on_signal
from workbench.intervene import HonestRun, Interventions, intervene
from workbench.jsonio import canonical_json, digest, parse_json
from workbench.reasoners.loading import LoadedModel
from workbench.reasoners.recipe import Speaking
from workbench.reports.records import AuditRecord, ModelRecord, Settings
from workbench.store import RunStore, write_file
from workbench.tasks.base import Problem

N_CAUSAL = 200
"""Held-out honest problems on which thoughts are edited: 0.1 of difference shows at p = 0.005."""

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, planned)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a person asks of an audit."""

    alpha: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 0.5:
            raise ConfigError("alpha is a false alarm rate between 0 and 0.5", field="alpha", found=self.alpha)


def run_audit(
    model: LoadedModel,
    calibration: Sequence[Problem],
    problems: Sequence[Problem],
    out: Path,
    plan: Plan,
    *,
    command: Sequence[str] = (),
    progress: Progress | None = None,
) -> AuditRecord:
    """Capture, fit, calibrate, test causally, judge, report.

    Args:
        model: what is audited.
        calibration: honest problems; the more, the smaller the false alarm rate that can be promised.
        problems: what is audited on; exact duplicates of a prompt are taken out of the calibration.
        out: folder of the audit; an interrupted one is resumed.
        plan: false alarm rate and seed.
        command: what to type to get the same audit, for the provenance.
        progress: called at every bit of progress of every stage.

    Raises:
        InsufficientData: too few honest problems or values.
        ConfigError: the folder holds another audit.
        Interrupted: someone asked to stop; the same call resumes.
    """
    tell = progress or (lambda stage, done, planned: None)
    kept, warnings = _without_duplicates(calibration, problems)
    everything = [*kept, *problems]
    roles = [CALIBRATION] * len(kept) + [AUDITED] * len(problems)
    _unseal(out)
    store = capture(
        model, everything, out / "run", sites=DEFAULT_SITES, roles=roles, seed=plan.seed,
        progress=lambda done, planned: tell("capture", done, planned),
    )  # fmt: skip
    speaking = model.reasoner.recipe.speaking
    honest = split_honest(store, speaking, alpha=plan.alpha, seed=plan.seed)
    with stop_on_signal() as stop:
        fits = fit_steps(
            labelled_steps(store, honest), model.reasoner, seed=plan.seed,
            progress=lambda done, planned: tell("fit", done, planned),
        )  # fmt: skip
        stop.check(hint="Run the same command again: captured problems are kept.")
        run = honest_run(store, honest, fits, speaking, everything)
        effects = intervene(
            model.reasoner, run, seed=plan.seed, stop=stop,
            progress=lambda done, planned: tell("intervene", done, planned),
        )  # fmt: skip
    probes_root = save_fits(fits, out / "probes")
    audit = assemble(
        store, honest, fits, causal_for(fits, effects), speaking,
        model=ModelRecord(
            source=model.source, fingerprint=model.fingerprint, family=model.reasoner.recipe.family,
            preset=model.reasoner.recipe.preset, n_steps=model.reasoner.recipe.thinking.steps,
            d_model=model.d_model, n_layers=model.n_layers, d_vocab=model.d_vocab,
        ),
        plan=plan, warnings=warnings, probes_root=probes_root,
    )  # fmt: skip
    _write(audit, out, speaking, command)
    return audit


def _without_duplicates(calibration: Sequence[Problem], problems: Sequence[Problem]) -> tuple[list[Problem], list[str]]:
    """Calibration problems whose exact prompt is audited would have been seen: they are taken out, and said so."""
    if not problems:
        raise InsufficientData("there is no problem to audit", field="problems", found="n=0")
    audited = {problem.prompt for problem in problems}
    kept = [problem for problem in calibration if problem.prompt not in audited]
    left_out = len(calibration) - len(kept)
    told = f"{left_out} calibration problems have prompts that are audited too and were left out"
    return kept, [told] if left_out else []


def honest_run(
    store: RunStore, honest: Honest, fits: Sequence[StepFit], speaking: Speaking, problems: Sequence[Problem]
) -> HonestRun:
    """Held-out honest problems of the commonest step count, for the causal tests."""
    held = honest.held_examples
    counts = [store.problems[i]["n_steps"] for i in held]
    usual = max(sorted(set(counts)), key=counts.count)
    chosen = [i for i in held if store.problems[i]["n_steps"] == usual][:N_CAUSAL]
    compared = compare_problems(store, chosen, fits, speaking, honest.answer_step)
    known = dict(zip(honest.examples, honest.known, strict=True))
    return HonestRun([problems[i] for i in chosen], [known[i] for i in chosen], usual_claims(compared), speaking)


def causal_for(fits: Sequence[StepFit], effects: Interventions) -> Causal:
    """Effects as records; a probed step that the causal problems do not have is not live."""
    causal = causal_records(effects)
    absent = [fit.step for fit in fits if fit.step not in causal.steps]
    if absent:
        raise InsufficientData(
            "no held-out honest problem of the commonest length reaches these steps", field="steps", found=absent
        )
    return causal


def assemble(
    store: RunStore,
    honest: Honest,
    fits: Sequence[StepFit],
    causal: Causal,
    speaking: Speaking,
    *,
    model: ModelRecord,
    plan: Plan,
    warnings: Sequence[str],
    probes_root: str,
) -> AuditRecord:
    """All numbers of an audit from the store, the fits and the recorded causal effects."""
    audited = examples_of(store, AUDITED)
    case = Case(
        honest=compare_problems(store, honest.held_examples, fits, speaking, honest.answer_step),
        honest_groups=honest.held_groups,
        audited=compare_problems(store, audited, fits, speaking, honest.answer_step),
        sources={i: store.problems[i]["problem"] for i in audited},
        fits=fits,
        causal=causal,
        alpha=plan.alpha,
        seed=plan.seed,
    )
    problems = problem_records(case)
    return AuditRecord(
        status="complete",
        n_done=len(problems),
        n_planned=len(problems),
        model=model,
        settings=Settings(
            alpha=plan.alpha, seed=plan.seed, n_calibration=len(honest.examples),
            n_fit=int((~honest.held_out).sum()), n_held_out=int(honest.held_out.sum()),
            n_causal=causal.channel.n, batch_size=SHARD_PROBLEMS, labels=honest.labels,
        ),
        warnings=[*warnings, *_warnings(store, honest, fits)],
        summary=summarise(case, problems),
        steps=step_summaries(case),
        problems=problems,
        run_root=store.root,
        probes_root=probes_root,
    )  # fmt: skip


def _warnings(store: RunStore, honest: Honest, fits: Sequence[StepFit]) -> list[str]:
    told = []
    if honest.labels == "said":
        told.append("no calibration problem has known thoughts: what trusted problems say is the label")
    if store.n_nonfinite:
        told.append(f"{store.n_nonfinite} captured vectors hold values that are not finite")
    never = [fit.step for fit in fits if not fit.probe.metadata["converged"]]
    if never:
        told.append(f"the probes of steps {', '.join(map(str, never))} did not converge")
    probed = {fit.step for fit in fits}
    unprobed = sorted({step for i in honest.examples for step in range(store.problems[i]["n_steps"])} - probed)
    if unprobed:
        told.append(f"steps {', '.join(map(str, unprobed))} have no probe: nothing is known of what they hold")
    return told


def _unseal(out: Path) -> None:
    """An audit that is redone must not stand beside numbers of the one before."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"the folder cannot be made: {error.strerror}", path=out, field="out") from error
    for name in ("audit.json", "report.html", "problems.csv", "provenance.json"):
        (out / name).unlink(missing_ok=True)


def _write(audit: AuditRecord, out: Path, speaking: Speaking, command: Sequence[str]) -> None:
    from workbench.reports.html import render_report
    from workbench.reports.tables import problems_csv

    record = audit.to_json()
    table = problems_csv(audit).encode()
    provenance = {
        "subjects": {"audit.json": digest(record), "problems.csv": digest(table)},
        "run_root": audit.run_root,
        "probes_root": audit.probes_root,
        "model": audit.model.model_dump(),
        "speaking": speaking.model_dump(),
        "command": list(command),
        "versions": {package: version(package) for package in (*FINGERPRINTED, "scikit-learn", "numpy", "scipy")},
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }
    as_read_back = parse_json(canonical_json(provenance).decode(), path=out / "provenance.json")
    report = render_report(audit, provenance=as_read_back).encode()
    as_read_back["subjects"]["report.html"] = digest(report)
    write_file(out / "problems.csv", table)
    write_file(out / "report.html", report)
    write_file(out / "provenance.json", canonical_json(as_read_back))
    write_file(out / "audit.json", record)  # last: an audit without it is not finished
