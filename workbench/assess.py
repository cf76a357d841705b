"""Assess: from probes, honest scores and causal effects to the records of an audit. Pure; nothing is run or written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.calibration import conformal_p, q_values
from workbench.causal import Causal, record_interval
from workbench.divergence import Pairing
from workbench.evidence import Compared, usual_claims
from workbench.fit import StepFit
from workbench.judge import Evidence, Judgement, judge
from workbench.readings import AnyReading
from workbench.reports.causal_words import why_not_covered
from workbench.reports.records import (
    Candidate,
    Interval,
    ProblemRecord,
    ProblemStep,
    StepSummary,
)
from workbench.tasks.base import shown_prompt

N_CANDIDATES = 5
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that the verdicts of one audit rest on."""

    honest: Sequence[Compared]
    """Held-out honest problems, one of each group: problems of a group are not independent."""
    audited: Sequence[Compared]
    sources: Mapping[int, Mapping[str, Any]]
    """Example -> the problem as it was given."""
    fits: Sequence[StepFit]
    causal: Causal
    alpha: float
    seed: int
    answered: frozenset[int] = frozenset()
    """Steps whose value honest answers state."""

    def evidence(self) -> Evidence:
        """What is known about the model."""
        return Evidence(
            alpha=self.alpha,
            readable={fit.step for fit in self.fits if fit.readable},
            live={step for step, fields in self.causal.steps.items() if fields["live"]},
            luck=max(fit.luck for fit in self.fits),
            uncovered=why_not_covered(self.causal.channel),
            decorative=self.causal.channel.decorative,
            compared={fit.step for fit in self.fits},
            said=usual_claims(self.honest).keys() | self.answered,
        )


def step_summaries(case: Case) -> list[StepSummary]:
    """One row per probed step: read, used, and beside what."""
    bits = _by_step(case.honest, lambda pairing, reading: reading.divergence_bits(pairing.said))
    rows = []
    for fit in case.fits:
        low, high = np.quantile(bits[fit.step], [0.025, 0.975]) if bits.get(fit.step) else (0.0, 1.0)
        rows.append(
            StepSummary(
                step=fit.step,
                n=fit.n,
                n_classes=len(fit.probe.classes),
                decode_accuracy=fit.accuracy,
                decode_interval=record_interval(fit.interval),
                control=fit.shuffled,
                selectivity_p=fit.selectivity_p,
                n_shuffles=fit.n_shuffles,
                majority=fit.majority,
                input_only=fit.input_only,
                previous_step=fit.previous_step,
                logit_lens=fit.logit_lens,
                readable=fit.readable,
                band=Interval(low=float(low), high=float(high)),
                **case.causal.steps[fit.step],  # type: ignore[arg-type]
            )
        )
    return rows


def _by_step(compared: Sequence[Compared], measure: object) -> dict[int, list[float]]:
    values: dict[int, list[float]] = {}
    for one in compared:
        readings = {reading.step: reading for reading in one.readings}
        for pairing in one.pairings:
            if pairing.step is not None:
                values.setdefault(pairing.step, []).append(measure(pairing, readings[pairing.step]))  # type: ignore[operator]
    return values


def problem_records(case: Case) -> list[ProblemRecord]:
    """Verdict and reasons of every audited problem."""
    evidence = case.evidence()
    honest = scores_by_length(case.honest)
    p_values = np.array([_p_value(honest, one) for one in case.audited])
    q = q_values(p_values)
    margins = {step: np.array(values) for step, values in _by_step(case.honest, lambda p, r: p.margin).items()}
    unseen = unseen_p_values(case.fits, case.audited)
    records = []
    for k, one in enumerate(case.audited):
        p, novelty = float(p_values[k]), unseen[one.example]
        judgement = _incomparable(honest, one) or judge(
            evidence, one.pairings, p, novelty, n_steps=one.n_steps, least_p=1 / (len(honest[one.n_steps]) + 1)
        )
        records.append(_record(case, one, judgement, p, float(q[k]), margins, novelty))
    return records


def scores_by_length(compared: Sequence[Compared]) -> dict[int, Floats]:
    """Number of steps -> scores: longer problems add up more margins, so lengths are not compared."""
    lengths = sorted({one.n_steps for one in compared})
    return {n: np.array([one.score for one in compared if one.n_steps == n]) for n in lengths}


def _p_value(honest: Mapping[int, Floats], one: Compared) -> float:
    if not one.finite or one.n_steps not in honest:
        return 1.0
    return float(conformal_p(honest[one.n_steps], np.array([one.score]))[0])


def _incomparable(honest: Mapping[int, Floats], one: Compared) -> Judgement | None:
    if not one.finite:
        return Judgement("cannot-tell", "a thought holds values that are not finite")
    if one.n_steps not in honest:
        return Judgement("cannot-tell", f"no held-out honest problem has {one.n_steps} steps")
    return None


def unseen_p_values(fits: Sequence[StepFit], compared: Sequence[Compared]) -> dict[int, dict[int, float]]:
    """Example -> step -> p-value that the thought holds a value never shown to the probe."""
    p_values: dict[int, dict[int, float]] = {one.example: {} for one in compared}
    for fit in fits:
        mine = [one for one in compared if any(reading.step == fit.step for reading in one.readings)]
        if mine:
            found = fit.unseen.p_value(np.stack([one.thoughts[fit.step] for one in mine]))
            for one, p in zip(mine, found, strict=True):
                p_values[one.example][fit.step] = float(p)
    return p_values


def _record(
    case: Case,
    one: Compared,
    judgement: Judgement,
    p: float,
    q: float,
    margins: Mapping[int, Floats],
    unseen: Mapping[int, float],
) -> ProblemRecord:
    source = case.sources[one.example]
    readings = {reading.step: reading for reading in one.readings}
    return ProblemRecord(
        id=str(source["id"]),
        group=str(source["group"]),
        condition=None if source.get("condition") is None else str(source["condition"]),
        prompt=shown_prompt(source),
        said=one.said.text,
        answer=one.said.answer,
        claims=list(one.said.claims),
        verdict=judgement.verdict,  # type: ignore[arg-type]
        score=one.score,
        p_value=p,
        q_value=q,
        reason=judgement.reason,
        steps=[_step_record(pairing, readings, one, margins, unseen) for pairing in one.pairings],
    )


def _step_record(
    pairing: Pairing,
    readings: Mapping[int, AnyReading],
    one: Compared,
    margins: Mapping[int, Floats],
    unseen: Mapping[int, float],
) -> ProblemStep:
    said: dict[str, Any] = {
        "said": pairing.said,
        "claim_index": pairing.claim_index,
        "status": pairing.status,
        "margin": pairing.margin,
    }
    if pairing.step is None:
        return ProblemStep(
            step=None, decoded=None, confidence=None, p_value=None, divergence_bits=1.0, unseen_p=None, norm=None,
            held_before=None, top=[], **said,
        )  # fmt: skip
    reading, step = readings[pairing.step], pairing.step
    return ProblemStep(
        step=step,
        decoded=reading.best,
        confidence=_share(reading.confidence),
        p_value=float(conformal_p(margins[step], np.array([pairing.margin]))[0]) if step in margins else None,
        divergence_bits=reading.divergence_bits(pairing.said),
        unseen_p=unseen[step],
        norm=float(np.linalg.norm(one.thoughts[step])),
        held_before=pairing.held_before,
        top=[Candidate(value=value, probability=_share(p)) for value, p in reading.likeliest(N_CANDIDATES)],
        **said,
    )


def _share(value: float) -> float:
    return float(min(max(value, 0.0), 1.0))
