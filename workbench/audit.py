"""Audit: the whole way from a model folder and two files of problems to a sealed verdict."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import get_args

from workbench.assess import Case, problem_records, step_summaries
from workbench.capture import FINGERPRINTED, SHARD_PROBLEMS, capture
from workbench.causal import Causal, causal_records
from workbench.divergence import step_at
from workbench.errors import ConfigError, InsufficientData, LeakageError
from workbench.evidence import (
    AUDITED,
    CALIBRATION,
    Honest,
    compare_problems,
    examples_of,
    labelled_steps,
    split_honest,
)
from workbench.fit import StepFit, fit_steps, save_fits
from workbench.interrupts import stop_on_signal
from workbench.intervene import intervene
from workbench.intervening.honest import edited_ids, honest_run
from workbench.intervening.kept import effects_record
from workbench.intervening.outcomes import Interventions
from workbench.jsonio import canonical_json, digest, parse_json
from workbench.lens_route import Reader, lens_fits, sites_for
from workbench.memory_slots import slot_records
from workbench.power import stated_power
from workbench.reasoners.loading import LoadedModel
from workbench.reasoners.recipe import Speaking
from workbench.reports.effects_records import EFFECTS_NAME, EffectsRecord
from workbench.reports.records import AuditRecord, ModelRecord, Settings
from workbench.sites import channel_sites
from workbench.store import RunStore, write_file
from workbench.summary import summarise
from workbench.tasks.base import Problem, plain_prompt
from workbench.text_monitor import monitor_text, texts_of
from workbench.warn import audit_warnings

FILES = ("audit.json", "report.html", "problems.csv", "provenance.json", EFFECTS_NAME)
RESUME = "Run the same command again: captured problems are kept."

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, planned)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a person asks of an audit."""

    alpha: float = 0.01
    seed: int = 0
    reader: Reader = "probe"
    """What reads thoughts: probes trained on known values, or a lens among the values that trusted problems say."""

    def __post_init__(self) -> None:
        if self.reader not in get_args(Reader):
            raise ConfigError("unknown reader", field="reader", expected=get_args(Reader), found=self.reader)
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
    _refuse_foreign(out)
    kept = _without_duplicates(calibration, problems)
    store = _captured(model, kept, problems, out, plan, tell)
    speaking = model.reasoner.recipe.speaking
    honest = split_honest(store, speaking, alpha=plan.alpha, seed=plan.seed, only_words=plan.reader != "probe")
    fits, effects = _read_and_edited(model, store, honest, [*kept, *problems], plan, tell)
    causal = causal_records(effects)
    fits = [fit for fit in fits if fit.step in causal.steps]
    _unseal(out)
    probes_root = save_fits(fits, out / "probes")
    audit = assemble(
        store,
        honest,
        fits,
        causal,
        speaking,
        model=model_record(model),
        plan=plan,
        n_left_out=len(calibration) - len(kept),
        probes_root=probes_root,
    )
    edited = edited_ids(store, honest, seed=plan.seed)
    _write(audit, effects_record(effects, edited), out, speaking, command, model.device)
    return audit


def model_record(model: LoadedModel) -> ModelRecord:
    """What a record says of the model."""
    recipe = model.reasoner.recipe
    return ModelRecord(
        source=model.source, fingerprint=model.fingerprint, family=recipe.family, preset=recipe.preset,
        n_steps=recipe.thinking.steps, d_model=model.d_model, n_layers=model.n_layers, d_vocab=model.d_vocab,
    )  # fmt: skip


def _captured(
    model: LoadedModel,
    kept: Sequence[Problem],
    problems: Sequence[Problem],
    out: Path,
    plan: Plan,
    tell: Progress,
) -> RunStore:
    sites = dict.fromkeys(["thought", *channel_sites(model.reasoner.sites), *sites_for(model.reasoner, plan.reader)])
    return capture(
        model, [*kept, *problems], out / "run", sites=list(sites),
        roles=[CALIBRATION] * len(kept) + [AUDITED] * len(problems), seed=plan.seed,
        progress=lambda done, planned: tell("capture", done, planned),
    )  # fmt: skip


def _read_and_edited(
    model: LoadedModel, store: RunStore, honest: Honest, problems: Sequence[Problem], plan: Plan, tell: Progress
) -> tuple[list[StepFit], Interventions]:
    """What reads each step, and what editing the thoughts of honest problems moves."""
    with stop_on_signal() as stop:
        fits = _read_steps(
            model, store, honest, plan, stop.between(lambda done, planned: tell("fit", done, planned), hint=RESUME)
        )
        run = honest_run(store, honest, fits, model.reasoner.recipe.speaking, problems, seed=plan.seed)
        effects = intervene(
            model.reasoner, run, seed=plan.seed, probes={fit.step: fit.probe for fit in fits}, stop=stop,
            progress=lambda done, planned: tell("intervene", done, planned),
        )  # fmt: skip
        stop.check(hint=RESUME)
    return fits, effects


def _read_steps(
    model: LoadedModel, store: RunStore, honest: Honest, plan: Plan, progress: Callable[[int, int], None]
) -> list[StepFit]:
    if plan.reader == "probe":
        return fit_steps(labelled_steps(store, honest), model.reasoner, seed=plan.seed, progress=progress)
    tuned = plan.reader == "tuned-lens"
    return lens_fits(store, honest, model.reasoner, tuned=tuned, seed=plan.seed, progress=progress)


def _without_duplicates(calibration: Sequence[Problem], problems: Sequence[Problem]) -> list[Problem]:
    """Calibration problems but for those whose prompt is audited: such a prompt would have been seen before."""
    if not problems:
        raise InsufficientData("there is no problem to audit", field="problems", found="n=0")
    audited = {plain_prompt(problem.to_plain()) for problem in problems}
    kept = [problem for problem in calibration if plain_prompt(problem.to_plain()) not in audited]
    if not kept:
        raise LeakageError(
            "every calibration prompt is also audited",
            field="prompt",
            found=f"{len(calibration)} of {len(calibration)}",
            hint="Calibrate on honest problems of their own.",
        )
    return kept


def assemble(
    store: RunStore,
    honest: Honest,
    fits: Sequence[StepFit],
    causal: Causal,
    speaking: Speaking,
    *,
    model: ModelRecord,
    plan: Plan,
    n_left_out: int,
    probes_root: str,
) -> AuditRecord:
    """All numbers of an audit from the store, the fits and the recorded causal effects."""
    audited = examples_of(store, AUDITED)
    case = Case(
        honest=compare_problems(store, honest.independent_examples, fits, speaking, honest.answer_place),
        audited=compare_problems(store, audited, fits, speaking, honest.answer_place),
        sources={i: store.problems[i]["problem"] for i in audited},
        fits=fits,
        causal=causal,
        alpha=plan.alpha,
        seed=plan.seed,
        answered=frozenset(
            step
            for i in audited
            if (step := step_at(honest.answer_place, int(store.problems[i]["n_steps"]))) is not None
        ),
    )
    problems, power = problem_records(case), stated_power(case, honest.answer_place)
    return AuditRecord(
        status="complete",
        n_done=len(problems),
        n_planned=len(problems),
        model=model,
        settings=Settings(
            alpha=plan.alpha, seed=plan.seed, n_calibration=len(honest.examples),
            n_left_out=n_left_out,
            n_fit=int((~honest.held_out).sum()), n_held_out=int(honest.held_out.sum()),
            n_causal=causal.channel.n, batch_size=SHARD_PROBLEMS, labels=honest.labels, reader=plan.reader,
        ),
        warnings=audit_warnings(store, honest, fits, case.honest, n_left_out),
        summary=summarise(case, problems, power),
        steps=step_summaries(case),
        problems=problems,
        slots=slot_records(store, honest, case.honest, case.audited, seed=plan.seed)
        if model.family == "memory" else [],
        power=power,
        text=monitor_text(
            texts_of(store, honest, speaking, audited), [problem.id for problem in problems],
            [problem.verdict == "diverges" for problem in problems], honest.answer_place,
            alpha=plan.alpha, seed=plan.seed,
        ),
        run_root=store.root,
        probes_root=probes_root,
    )  # fmt: skip


def _refuse_foreign(out: Path) -> None:
    """Files of the names that an audit writes belong to someone else where no run stands beside them."""
    theirs = [name for name in FILES if (out / name).exists()]
    if theirs and not (out / "run").is_dir():
        raise ConfigError(
            f"the folder holds {theirs[0]} but no run of an audit", path=out, field="out", hint="Choose another folder."
        )


def _unseal(out: Path) -> None:
    """The same audit is written anew: until all its files stand, none of the old may say that it is finished.

    Only called once the capture has accepted the folder, so that no other audit's files are touched.
    """
    for name in FILES:
        (out / name).unlink(missing_ok=True)


def _write(
    audit: AuditRecord, effects: EffectsRecord, out: Path, speaking: Speaking, command: Sequence[str], device: str
) -> None:
    from workbench.reports.html import render_report
    from workbench.reports.tables import problems_csv

    record, outcomes = audit.to_json(), effects.to_json()
    table = problems_csv(audit).encode()
    provenance = {
        "subjects": {"audit.json": digest(record), "problems.csv": digest(table), EFFECTS_NAME: digest(outcomes)},
        "run_root": audit.run_root,
        "probes_root": audit.probes_root,
        "model": audit.model.model_dump(),
        "speaking": speaking.model_dump(),
        "command": list(command),
        "versions": {package: version(package) for package in (*FINGERPRINTED, "scikit-learn", "numpy", "scipy")},
        "device": device,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }
    as_read_back = parse_json(canonical_json(provenance).decode(), path=out / "provenance.json")
    report = render_report(audit, provenance=as_read_back).encode()
    as_read_back["subjects"]["report.html"] = digest(report)
    write_file(out / EFFECTS_NAME, outcomes)
    write_file(out / "problems.csv", table)
    write_file(out / "report.html", report)
    write_file(out / "provenance.json", canonical_json(as_read_back))
    write_file(out / "audit.json", record)  # last: an audit without it is not finished
