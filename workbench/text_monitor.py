"""The text-only monitor: how far does someone come who sees only the words?

It learns from the same honest problems as the probes, is calibrated on the same held-out ones, and flags at the same
alpha, but reads no thought. Two readers work together. One predicts every step's value from the words of the prompt
and lays that beside the said chain, as an audit does with a thought. The other tells honest said texts from texts
that do not belong to their prompt: another problem's, one changed claim, words of the prompt recited.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from probes import exact_share
from probes.linear import assign_folds
from probes.metrics import auroc_score
from workbench.calibration import conformal_p, leave_one_out_p
from workbench.causal import record_interval
from workbench.claims import parse_said
from workbench.divergence import compare_chains, problem_score, step_at
from workbench.evidence import Honest
from workbench.fit import word_features
from workbench.readings import Reading
from workbench.reasoners.recipe import Speaking
from workbench.reports.monitor_records import TextMonitor
from workbench.store import RunStore
from workbench.tasks.base import Value, plain_prompt
from workbench.text_features import Heard, exchanged, falsified, pair_features, states_otherwise

Floats = NDArray[np.float64]

STRENGTH, PAIR_STRENGTH = 0.3, 30.0
"""Inverse penalties of the two readers; rows of the second have length 1."""
MAX_ITER = 1000
N_FOLDS = 3
N_RESAMPLES = 300
SURE = 0.9
"""Quantile of honest scores, from the median, that is one unit when two readers are compared."""


@dataclass(frozen=True, slots=True)
class WordReader:
    """Values of every step, predicted from the words of the prompt."""

    prompts: tuple[str, ...]
    models: Mapping[int, LogisticRegression]
    """Step -> classifier over the word features of these prompts."""
    answer_place: int | None

    @classmethod
    def fit(cls, heard: Sequence[Heard], known: Sequence[Mapping[int, Value]], answer_place: int | None) -> WordReader:
        """Learn the steps of which two or more single values are known; a step that holds sets has no such reader."""
        prompts = tuple(one.prompt for one in heard)
        words = word_features(prompts, np.ones(len(prompts), dtype=bool))
        models = {}
        for step in sorted({step for values in known for step in values}):
            rows = [k for k, values in enumerate(known) if isinstance(values.get(step), str)]
            labels = [str(known[k][step]) for k in rows]
            if len(set(labels)) > 1 and len(rows) == sum(step in values for values in known):
                models[step] = LogisticRegression(C=STRENGTH, max_iter=MAX_ITER).fit(words[rows], labels)
        return cls(prompts, models, answer_place)

    def scores(self, heard: Sequence[Heard]) -> Floats:
        """Summed margins of what is said against what the words predict, nats, [problem]."""
        n = len(self.prompts)
        both = [*self.prompts, *(one.prompt for one in heard)]
        words = word_features(both, np.arange(len(both)) < n)[n:]
        log_proba = {step: model.predict_log_proba(words) for step, model in self.models.items()}
        scores = []
        for k, one in enumerate(heard):
            readings = [
                Reading(step, tuple(map(str, model.classes_)), log_proba[step][k])
                for step, model in self.models.items()
                if step < one.n_steps
            ]
            answer_step = step_at(self.answer_place, one.n_steps)
            pairings = compare_chains(readings, one.said.claims, answer=one.said.answer, answer_step=answer_step)
            scores.append(problem_score(pairings) if readings else 0.0)
        return np.array(scores)


@dataclass(frozen=True, slots=True)
class PairReader:
    """Log odds that a said text does not belong to its prompt."""

    model: LogisticRegression | None
    """Absent where no text could be falsified."""

    @classmethod
    def fit(cls, heard: Sequence[Heard], generator: np.random.Generator) -> PairReader:
        """Learn honest texts against falsified ones."""
        lies = falsified(heard, generator)
        if not lies:
            return cls(None)
        labels = np.arange(len(heard) + len(lies)) >= len(heard)
        model = LogisticRegression(C=PAIR_STRENGTH, class_weight="balanced", solver="liblinear", max_iter=MAX_ITER)
        return cls(model.fit(pair_features([*heard, *lies]), labels))

    def scores(self, heard: Sequence[Heard]) -> Floats:
        """Log odds, nats, [problem]."""
        if self.model is None:
            return np.zeros(len(heard))
        return np.asarray(self.model.decision_function(pair_features(heard)), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class TextReaders:
    """Both readers, brought to one scale by honest problems that neither learned from."""

    words: WordReader
    pairs: PairReader
    middle: Floats
    unit: Floats

    @classmethod
    def fit(
        cls,
        heard: Sequence[Heard],
        known: Sequence[Mapping[int, Value]],
        answer_place: int | None,
        *,
        seed: int,
    ) -> TextReaders:
        """Learn from honest problems; scales come from folds that were left out in turn."""
        folds = assign_folds(
            np.zeros(len(heard), dtype=np.intp), [one.group for one in heard], n_folds=N_FOLDS, random_state=seed
        )

        def both(learned: NDArray[np.bool_]) -> tuple[WordReader, PairReader]:
            mine = np.flatnonzero(learned).tolist()
            return _both([heard[k] for k in mine], [known[k] for k in mine], answer_place, seed)

        left_out = np.zeros((len(heard), 2))
        for fold in np.unique(folds):
            rows = folds == fold
            tested = [heard[k] for k in np.flatnonzero(rows).tolist()]
            left_out[rows] = np.stack([reader.scores(tested) for reader in both(~rows)], axis=1)
        middle = np.median(left_out, axis=0)
        unit = np.quantile(left_out, SURE, axis=0) - middle
        return cls(*both(np.ones(len(heard), dtype=bool)), middle, np.where(unit > 0, unit, 1.0))

    def scores(self, heard: Sequence[Heard]) -> Floats:
        """The larger of both scores, in units of what is usual, [problem]."""
        if not heard:
            return np.zeros(0)
        raw = np.stack([self.words.scores(heard), self.pairs.scores(heard)], axis=1)
        return np.asarray(((raw - self.middle) / self.unit).max(axis=1), dtype=np.float64)


def _both(
    heard: Sequence[Heard], known: Sequence[Mapping[int, Value]], answer_place: int | None, seed: int
) -> tuple[WordReader, PairReader]:
    return WordReader.fit(heard, known, answer_place), PairReader.fit(heard, np.random.default_rng(seed))


@dataclass(frozen=True, slots=True)
class Texts:
    """Honest problems to learn from and held out, and audited ones, as words."""

    learned: Sequence[Heard]
    known: Sequence[Mapping[int, Value]]
    """Of the learned problems: step -> value."""
    held: Sequence[Heard]
    """Held-out honest problems, one of each group."""
    audited: Sequence[Heard]


def texts_of(store: RunStore, honest: Honest, speaking: Speaking, audited: Sequence[int]) -> Texts:
    """What the words of a store are, split as its thoughts are.

    Args:
        store: with the problems and what was said.
        honest: the trusted problems, split.
        speaking: how claims are read from the said text.
        audited: rows of the store's problems.
    """
    group_of = dict(zip(honest.examples, honest.groups, strict=True))

    def heard(example: int) -> Heard:
        record = store.problems[example]
        said = parse_said(record["said"], speaking)
        group = group_of.get(example, str(record["problem"]["group"]))
        return Heard(plain_prompt(record["problem"]), said, int(record["n_steps"]), group)

    learned = np.flatnonzero(~honest.held_out).tolist()
    return Texts(
        learned=[heard(honest.examples[k]) for k in learned],
        known=[honest.known[k] for k in learned],
        held=[heard(i) for i in honest.independent_examples],
        audited=[heard(i) for i in audited],
    )


@dataclass(frozen=True, slots=True)
class TextAlarms:
    """p-values that the words alone give."""

    honest: Floats
    """Of each held-out honest problem among all the others of its length."""
    audited: Floats
    scores: Floats
    """Of the audited problems."""


def text_alarms(score: Callable[[Sequence[Heard]], Floats], texts: Texts) -> TextAlarms:
    """Conformal p-values among held-out honest problems of the same number of steps; 1 where there are none."""
    honest, scores = score(texts.held), score(texts.audited)
    held_steps = np.array([one.n_steps for one in texts.held])
    steps = np.array([one.n_steps for one in texts.audited])
    p_honest, p_audited = np.ones(len(honest)), np.ones(len(scores))
    for n_steps in np.unique(held_steps):
        of_length = honest[held_steps == n_steps]
        p_honest[held_steps == n_steps] = leave_one_out_p(of_length)
        p_audited[steps == n_steps] = conformal_p(of_length, scores[steps == n_steps])
    return TextAlarms(p_honest, p_audited, scores)


def monitor_text(
    texts: Texts, ids: Sequence[str], diverges: Sequence[bool], answer_place: int | None, *, alpha: float, seed: int
) -> TextMonitor:
    """What the words alone tell, beside what the thoughts tell.

    Args:
        texts: what is learned from, calibrated on and monitored.
        ids: of the audited problems.
        diverges: whether each audited problem is called divergent with its thoughts.
        answer_place: where in the chain honest answers come from.
        alpha: level of the audit.
        seed: of folds and falsified texts.
    """
    readers = TextReaders.fit(texts.learned, texts.known, answer_place, seed=seed)
    alarms = text_alarms(readers.scores, texts)
    flagged, thoughts = alarms.audited <= alpha, np.asarray(diverges, dtype=bool)
    only, n, n_false = int((thoughts & ~flagged).sum()), len(ids), int((alarms.honest <= alpha).sum())
    return TextMonitor(
        alpha=alpha,
        n_honest=len(texts.held),
        honest_flagged=n_false / len(texts.held),
        honest_interval=record_interval(exact_share(n_false, len(texts.held))),
        **_told_apart(readers, texts, answer_place, seed),
        n_problems=n,
        n_flagged=int(flagged.sum()),
        flagged=[name for name, hit in zip(ids, flagged.tolist(), strict=True) if hit],
        n_both=int((thoughts & flagged).sum()),
        n_thoughts_only=only,
        n_text_only=int((flagged & ~thoughts).sum()),
        n_neither=int((~flagged & ~thoughts).sum()),
        gain=only / n,
        gain_interval=record_interval(exact_share(only, n)),
    )


def _told_apart(readers: TextReaders, texts: Texts, answer_place: int | None, seed: int) -> dict[str, Any]:
    """How well true said texts of held-out honest problems are told from exchanged ones, beside a monitor that learned
    from exchanged ones."""
    other = exchanged(texts.held, np.random.default_rng(seed))
    pairs = [(own, lie) for own, lie in zip(texts.held, other, strict=True) if states_otherwise(own.said, lie.said)]
    if not pairs:
        return {"told_apart": None, "told_apart_interval": None, "told_apart_control": 0.5, "n_pairs": 0}
    both = [one for pair in pairs for one in pair]
    labels, groups = [0, 1] * len(pairs), [one.group for one in both]
    order = np.random.default_rng(seed)
    mixed, mixed_known = exchanged(texts.learned, order), [texts.known[k] for k in order.permutation(len(texts.known))]
    words, of_pairs = _both(mixed, mixed_known, answer_place, seed)
    control = replace(readers, words=words, pairs=of_pairs).scores(both)
    by_chance = auroc_score(labels, control, groups, seed=seed, n_resamples=1).value
    score = auroc_score(
        labels, readers.scores(both), groups, seed=seed, n_resamples=N_RESAMPLES,
        control=0.5 if by_chance is None else by_chance,
    )  # fmt: skip
    assert score.interval is not None
    return {
        "told_apart": score.value,
        "told_apart_interval": record_interval(score.interval),
        "told_apart_control": score.control,
        "n_pairs": len(pairs),
    }
