"""Memory, slot by slot: what each vector that is kept of an episode holds, beside what is said that was stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from probes import ValueProbe, exact_share, group_bootstrap, majority, shuffled_labels
from workbench.evidence import Compared, Honest
from workbench.fit import N_SHUFFLES
from workbench.reports.causal_records import Counted
from workbench.reports.fields import Interval
from workbench.reports.memory_records import SlotRecord
from workbench.step_fit import READABLE_P
from workbench.store import RunStore


@dataclass(frozen=True, slots=True)
class _Slot:
    """Finite vectors of one slot, by example."""

    episode: int
    slot: int
    vectors: Mapping[int, Float[np.ndarray, " d_model"]]


def slot_records(
    store: RunStore, honest: Honest, held_out: Sequence[Compared], audited: Sequence[Compared], *, seed: int
) -> list[SlotRecord]:
    """A row for every episode and slot whose values are known and differ; an episode of a set of values has none.

    Args:
        store: run of a memory reasoner.
        honest: trusted problems, split.
        held_out: held-out honest problems as compared.
        audited: audited problems as compared.
        seed: of folds, shuffles and resamples.
    """
    known = dict(zip(honest.examples, honest.known, strict=True))
    rows = []
    for slot in _slots(store):
        labelled = [i for i in honest.examples if isinstance(known[i].get(slot.episode), str) and i in slot.vectors]
        held = {i for i, out in zip(honest.examples, honest.held_out, strict=True) if out}
        fit, asked = [i for i in labelled if i not in held], [i for i in labelled if i in held]
        labels = {i: str(known[i][slot.episode]) for i in labelled}
        if len({labels[i] for i in fit}) >= 2 and asked:
            rows.append(_record(slot, fit, asked, labels, honest, held_out, audited, seed))
    return rows


def _slots(store: RunStore) -> list[_Slot]:
    every = store.select("thought")
    finite = np.isfinite(every.vectors).all(axis=1)
    vectors: dict[tuple[int, int], dict[int, NDArray[np.float64]]] = {}
    for k in np.flatnonzero(finite).tolist():
        place = (int(every.step[k]), int(every.visit[k]))
        vectors.setdefault(place, {})[int(every.example[k])] = every.vectors[k]
    return [_Slot(episode, slot, vectors[episode, slot]) for episode, slot in sorted(vectors)]


def _record(
    slot: _Slot,
    fit: Sequence[int],
    asked: Sequence[int],
    labels: Mapping[int, str],
    honest: Honest,
    held_out: Sequence[Compared],
    audited: Sequence[Compared],
    seed: int,
) -> SlotRecord:
    group_of = dict(zip(honest.examples, honest.groups, strict=True))
    X, Z = (np.stack([slot.vectors[i] for i in rows]).astype(np.float64) for rows in (fit, asked))
    y, truth = (np.array([labels[i] for i in rows]) for rows in (fit, asked))
    groups, asked_groups = (np.array([group_of[i] for i in rows]) for rows in (fit, asked))
    probe = ValueProbe(random_state=seed).fit(X, y, groups=groups)
    right = probe.predict(Z) == truth
    interval = group_bootstrap(right.astype(float), asked_groups, seed=seed)
    control = shuffled_labels(
        X, y, Z, truth, groups_fit=groups, groups_test=asked_groups, n_shuffles=N_SHUFFLES, seed=seed
    )
    return SlotRecord(
        episode=slot.episode,
        slot=slot.slot,
        n=len(asked),
        decode_accuracy=float(right.mean()),
        decode_interval=Interval(low=interval.low, high=interval.high),
        control=control.mean,
        selectivity_p=control.p_value,
        readable=bool(control.p_value <= READABLE_P and interval.low > max(control.mean, majority(y, truth))),
        says_otherwise=_says_otherwise(slot, probe, audited),
        honest_says_otherwise=_says_otherwise(slot, probe, held_out),
    )


def _says_otherwise(slot: _Slot, probe: ValueProbe, problems: Sequence[Compared]) -> Counted | None:
    said = {
        one.example: pairing.said
        for one in problems
        for pairing in one.pairings
        if pairing.step == slot.episode and pairing.said is not None and one.example in slot.vectors
    }
    if not said:
        return None
    read = probe.predict(np.stack([slot.vectors[i] for i in said]).astype(np.float64))
    otherwise = [one != claim for one, claim in zip(read, said.values(), strict=True)]
    interval = exact_share(sum(otherwise), len(otherwise))
    return Counted(
        share=sum(otherwise) / len(otherwise), interval=Interval(low=interval.low, high=interval.high), n=len(otherwise)
    )
