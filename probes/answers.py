"""Answer many labels of one matrix at once; every fit of every label, fold, prefix and control is one batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.metrics import confusion_matrix, roc_auc_score

from probes.code_length import CodeLength, code_length, prefix_sizes
from probes.controls import NO_EXCHANGE, NothingToExchange, shuffles_of
from probes.linear import DEFAULT_FOLDS, assign_folds
from probes.logistic_rows import Precision
from probes.questions import Answer, Bin, Matrix, Point, Question
from probes.shuffles import SharedRidge
from probes.strength import Chosen, Learned, ScaledRows, choose_strengths

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

N_BINS = 10
N_CONFUSIONS = 20


@dataclass(frozen=True, slots=True)
class Settings:
    """How labels are learned and controlled."""

    lambdas: tuple[float, ...]
    """Penalties to choose from: mean log loss + lambda / 2 |W|^2."""
    n_shuffles: int = 100
    n_tasks: int = 3
    n_folds: int = DEFAULT_FOLDS
    seed: int = 0
    tol: float = 1e-4
    max_iter: int = 200
    precision: Precision = "float32"
    device: str = "cpu"
    """Where logistic fits run."""

    def strengths(self, n: int) -> Floats:
        """scikit-learn's C of each penalty for n rows, rising."""
        return 1.0 / (np.sort(np.asarray(self.lambdas))[::-1] * n)


def answer(matrix: Matrix, questions: Sequence[Question], settings: Settings) -> list[Answer]:
    """Answer every question; degenerate ones are answered with the reason why they are undefined."""
    open_ = [question for question in questions if question.undefined_because is None]
    answers = {question.name: _undefined(matrix, question, question.undefined_because) for question in questions}
    if open_:
        scaled = ScaledRows.of(
            matrix.fit,
            precision=settings.precision,
            tol=settings.tol,
            max_iter=settings.max_iter,
            device=settings.device,
        )
        targets = np.stack([question.fit for question in open_])
        folds = np.stack([_folds(matrix, question, settings) for question in open_])
        chosen = choose_strengths(scaled, targets, folds, settings.strengths)
        plans = [_Plan.of(matrix, *pair, settings) for pair in zip(open_, chosen, strict=True)]
        fits = iter(scaled.fit(np.concatenate([plan.targets for plan in plans]), np.concatenate([p.Cs for p in plans])))
        for plan in plans:
            learned = [next(fits) for _ in plan.targets]
            answers[plan.question.name] = _answered(matrix, plan, learned, settings)
        for question, shuffles in _shuffles(matrix, [q for q in open_ if q.whole], settings):
            name, lonely = question.name, _undefined(matrix, question, "no score without its control: " + NO_EXCHANGE)
            answers[name] = lonely if shuffles is None else replace(answers[name], shuffles=shuffles)
    return [answers[question.name] for question in questions]


def _undefined(matrix: Matrix, question: Question, because: str | None) -> Answer:
    n_fit = int((question.fit >= 0).sum())
    return Answer(question.name, n_fit, matrix.groups_held[question.held >= 0], undefined_because=because)


def _folds(matrix: Matrix, question: Question, settings: Settings) -> Ints:
    known = question.fit >= 0
    folds = np.zeros(len(question.fit), dtype=np.intp)
    folds[known] = assign_folds(
        question.fit[known], matrix.groups_fit[known], n_folds=settings.n_folds, random_state=settings.seed
    )
    return folds


@dataclass(frozen=True, slots=True)
class _Plan:
    """All fits of one label at its chosen strength: whole, on prefixes, on control tasks."""

    question: Question
    chosen: Chosen
    targets: Ints
    Cs: Floats
    sizes: tuple[int, ...]
    """Rows of each prefix."""
    coding: Ints
    """Labelled fit rows in coding order."""
    tasks: tuple[tuple[Ints, Ints], ...]
    """Control tasks: labels of fit and held-out rows."""

    @classmethod
    def of(cls, matrix: Matrix, question: Question, chosen: Chosen, settings: Settings) -> _Plan:
        coding = matrix.order[question.fit[matrix.order] >= 0]
        sizes: list[int] = []
        tasks: list[tuple[Ints, Ints]] = []
        rows = [question.fit]
        if question.whole:
            sizes = _whole_groups(prefix_sizes(len(coding), question.n_classes), matrix.groups_fit[coding])
            sizes = [size for size in sizes if len(np.unique(question.fit[coding[:size]])) >= 2]
            tasks = _control_tasks(matrix, question, settings)
            for size in sizes:
                prefix = np.full(len(question.fit), -1, dtype=np.intp)
                prefix[coding[:size]] = question.fit[coding[:size]]
                rows.append(prefix)
            rows += [task for task, _ in tasks]
        targets = np.stack(rows)
        Cs = np.array([chosen.C_of(int((row >= 0).sum())) for row in targets])
        return cls(question, chosen, targets, Cs, tuple(sizes), coding, tuple(tasks))


def _whole_groups(sizes: Sequence[int], groups: Ints) -> list[int]:
    """Each size moved up to the end of its last group, so that no group lies on both sides."""
    ends = np.append(np.flatnonzero(groups[1:] != groups[:-1]) + 1, len(groups))
    moved = {int(ends[np.searchsorted(ends, size)]) for size in sizes}
    return sorted(size for size in moved if size < len(groups))


def _control_tasks(matrix: Matrix, question: Question, settings: Settings) -> list[tuple[Ints, Ints]]:
    """Labels that are random functions of the input type, drawn from the label's own shares; none where impossible.

    Held-out rows of a type that no fit row has are not asked: no probe could have learned their label by heart.
    """
    n_types = int(max(matrix.types_fit.max(), matrix.types_held.max(initial=0))) + 1
    known = question.fit >= 0
    asked = (question.held >= 0) & np.isin(matrix.types_held, matrix.types_fit[known])
    drawn = []
    for task in range(settings.n_tasks):
        rng = np.random.default_rng([settings.seed, 2, task])
        value_of = rng.choice(question.fit[known], size=n_types)
        fit, held = (
            np.where(keep, value_of[types], -1)
            for keep, types in ((known, matrix.types_fit), (asked, matrix.types_held))
        )
        if len(np.unique(fit[known])) >= 2 and asked.any():
            drawn.append((fit, held))
    return drawn


def _answered(matrix: Matrix, plan: _Plan, learned: Sequence[Learned], settings: Settings) -> Answer:
    question, first = plan.question, learned[0]
    power = plan.chosen.sharpness
    asked = question.held >= 0
    truth = question.held[asked]
    vectors = matrix.held[asked]
    log_proba = log_softmax(power * first.logits(vectors), axis=1)
    read = first.classes[log_proba.argmax(axis=1)]
    right = read == truth
    groups = matrix.groups_held[asked]
    n_fit = int((question.fit >= 0).sum())
    known = question.fit[question.fit >= 0]
    if not question.whole:
        return Answer(question.name, n_fit, groups, right=right)
    seen = np.isin(truth, first.classes)
    own = log_proba[np.flatnonzero(seen), np.searchsorted(first.classes, truth[seen])]
    prefixes = learned[1 : 1 + len(plan.sizes)]
    tasks = learned[1 + len(plan.sizes) :]
    return Answer(
        question.name, n_fit, groups, right=right,
        learned=replace(first, coef=power * first.coef, intercept=power * first.intercept),
        sharpness=power, penalty=1.0 / (first.C * n_fit),
        log_loss=float(-own.mean()) if len(own) else None,
        auroc=float(roc_auc_score(truth == 1, log_proba[:, 1])) if question.n_classes == 2 else None,
        n_unseen=int((~seen).sum()),
        majority=float((truth == np.bincount(known).argmax()).mean()),
        control_task=_mean_accuracy(matrix, tasks, plan.tasks),
        code=_code(matrix, plan, prefixes),
        curve=(*(_point(size, fit, vectors, truth) for size, fit in zip(plan.sizes, prefixes, strict=True)),
               Point(n_fit, right)),
        reliability=_reliability(np.exp(log_proba.max(axis=1)), right, groups),
        confusions=_confusions(truth, read),
    )  # fmt: skip


def _point(size: int, fit: Learned, vectors: NDArray[Any], truth: Ints) -> Point:
    return Point(size, fit.classes[fit.logits(vectors).argmax(axis=1)] == truth)


def _mean_accuracy(matrix: Matrix, learned: Sequence[Learned], tasks: Sequence[tuple[Ints, Ints]]) -> float | None:
    shares = []
    for fit, (_, held) in zip(learned, tasks, strict=True):
        asked = held >= 0
        read = fit.classes[fit.logits(matrix.held[asked]).argmax(axis=1)]
        shares.append(float((read == held[asked]).mean()))
    return float(np.mean(shares)) if shares else None


def _code(matrix: Matrix, plan: _Plan, prefixes: Sequence[Learned]) -> CodeLength | None:
    if not plan.sizes:
        return None
    n_classes = plan.question.n_classes
    targets = plan.question.fit[plan.coding]
    blocks = []
    for fit, start, end in zip(prefixes, plan.sizes, (*plan.sizes[1:], len(targets)), strict=True):
        full = np.full((end - start, n_classes), -np.inf)
        logits = plan.chosen.sharpness * fit.logits(matrix.fit[plan.coding[start:end]])
        full[:, fit.classes] = log_softmax(logits, axis=1)
        blocks.append(full)
    return code_length(blocks, targets, plan.sizes, n_classes)


def _reliability(confidence: Floats, right: NDArray[np.bool_], groups: Ints) -> tuple[Bin, ...]:
    places = np.minimum((confidence * N_BINS).astype(np.intp), N_BINS - 1)
    inside = {k: places == k for k in np.unique(places).tolist()}
    return tuple(
        Bin(k / N_BINS, (k + 1) / N_BINS, float(confidence[rows].mean()), right[rows], groups[rows])
        for k, rows in inside.items()
    )


def _confusions(truth: Ints, read: Ints) -> tuple[tuple[int, int, int], ...]:
    labels = np.unique(np.concatenate([truth, read]))
    table = confusion_matrix(truth, read, labels=labels)
    np.fill_diagonal(table, 0)
    rows, columns = np.nonzero(table)
    found = sorted(zip((-table[rows, columns]).tolist(), labels[rows].tolist(), labels[columns].tolist(), strict=True))
    return tuple((value, other, -n) for n, value, other in found[:N_CONFUSIONS])


def _shuffles(
    matrix: Matrix, questions: Sequence[Question], settings: Settings
) -> Iterator[tuple[Question, Floats | None]]:
    """Accuracies on true and shuffled labels, None where no labels can be exchanged.

    Labels known for the same rows share one factorisation.
    """
    patterns: dict[bytes, list[Question]] = {}
    for question in questions:
        pattern = np.concatenate([question.fit >= 0, question.held >= 0])
        patterns.setdefault(np.packbits(pattern).tobytes(), []).append(question)
    for alike in patterns.values():
        fit, held = alike[0].fit >= 0, alike[0].held >= 0
        ridge = SharedRidge.of(matrix.fit[fit], matrix.held[held], precision=_ridge_precision(settings))
        groups = matrix.groups_fit[fit], matrix.groups_held[held]
        for question in alike:
            labels = question.fit[fit], question.held[held]
            try:
                shuffled = shuffles_of(*labels, *groups, settings.n_shuffles, settings.seed)
            except NothingToExchange:
                yield question, None
            else:
                yield question, ridge.accuracy(*shuffled, question.n_classes)


def _ridge_precision(settings: Settings) -> Literal["float32", "float64"]:
    return "float64" if settings.precision == "float64" else "float32"
