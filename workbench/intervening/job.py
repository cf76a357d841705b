"""The intervene verb: from a model and honest problems to `intervene.json`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from workbench.audit import model_record
from workbench.capture import capture
from workbench.causal import Causal, causal_records, record_interval
from workbench.errors import ConfigError, InsufficientData
from workbench.evidence import CALIBRATION, MIN_HONEST, labelled_steps, split_honest
from workbench.fit import StepFit, fit_steps
from workbench.interrupts import stop_on_signal
from workbench.intervene import intervene
from workbench.intervening.honest import honest_run
from workbench.intervening.kept import effects_record
from workbench.reasoners.loading import LoadedModel
from workbench.reports.effects_records import EFFECTS_NAME
from workbench.reports.intervene_records import INTERVENE_NAME, IntervenedStep, InterveneRecord, ReadBeside
from workbench.store import write_file
from workbench.tasks.base import Problem

HALF = 0.49
"""No false alarm rate is promised here, so that half of the groups are held out and never more."""
RESUME = "Run the same command again: captured problems are kept."

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, planned)."""


def run_intervene(
    model: LoadedModel, problems: Sequence[Problem], out: Path, *, seed: int = 0, progress: Progress | None = None
) -> InterveneRecord:
    """Capture honest problems, fit probes on half of their groups, edit the thoughts of the other half.

    Where the problems tell no values (neither known thoughts nor claims that can be read), no probe is fitted and
    only what needs none is tried.

    Raises:
        InsufficientData: too few problems.
        ConfigError: the folder holds something else.
        Interrupted: someone asked to stop; the same call goes on from what was captured.
    """
    tell = progress or (lambda stage, done, planned: None)
    _check(problems, out)
    store = capture(
        model, problems, out / "run", sites=["thought"], roles=[CALIBRATION] * len(problems), seed=seed,
        progress=lambda done, planned: tell("capture", done, planned),
    )  # fmt: skip
    speaking = model.reasoner.recipe.speaking
    honest = split_honest(store, speaking, alpha=HALF, seed=seed)
    fits: list[StepFit] = []
    unprobed = None
    with stop_on_signal() as stop:
        fitted = stop.between(lambda done, planned: tell("fit", done, planned), hint=RESUME)
        try:
            fits = fit_steps(labelled_steps(store, honest), model.reasoner, seed=seed, progress=fitted)
        except InsufficientData as error:
            unprobed = error.message
        run = honest_run(store, honest, fits, speaking, problems, seed=seed)
        effects = intervene(
            model.reasoner, run, seed=seed,
            probes={fit.step: fit.probe for fit in fits}, stop=stop,
            progress=lambda done, planned: tell("intervene", done, planned),
        )  # fmt: skip
        stop.check(hint=RESUME)
    causal = causal_records(effects)
    record = InterveneRecord(
        model=model_record(model),
        seed=seed,
        n_problems=len(problems),
        n_fit=int((~honest.held_out).sum()),
        n_held_out=int(honest.held_out.sum()),
        labels=honest.labels,
        channel=causal.channel,
        steps=_steps(causal, fits),
        unprobed=unprobed,
        run_root=store.root,
    )
    kept = effects_record(effects, [problem.id for problem in run.problems])
    write_file(out / EFFECTS_NAME, kept.to_json())
    write_file(out / INTERVENE_NAME, record.to_json())
    return record


def _check(problems: Sequence[Problem], out: Path) -> None:
    if (out / INTERVENE_NAME).exists() and not (out / "run").is_dir():
        raise ConfigError(
            f"the folder holds {INTERVENE_NAME} but no run", path=out, field="out", hint="Choose another folder."
        )
    if len(problems) < MIN_HONEST:
        raise InsufficientData(
            "too few honest problems to fit on half of them and to edit the others",
            field="problems", expected=f"at least {MIN_HONEST}", found=f"n={len(problems)}",
        )  # fmt: skip


def _steps(causal: Causal, fits: Sequence[StepFit]) -> list[IntervenedStep]:
    read = {fit.step: _read(fit) for fit in fits}
    return [
        IntervenedStep(step=step, probe=read.get(step), **fields)  # type: ignore[arg-type]
        for step, fields in sorted(causal.steps.items())
    ]


def _read(fit: StepFit) -> ReadBeside:
    return ReadBeside(
        accuracy=fit.accuracy, interval=record_interval(fit.interval), n=fit.n, control=fit.shuffled,
        majority=fit.majority, readable=fit.readable,
    )  # fmt: skip
