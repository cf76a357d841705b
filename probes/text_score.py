"""How well a text probe reads held-out thoughts, beside refits on shuffled texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probes.controls import majority, shuffles_of
from probes.errors import ProbeDataError
from probes.intervals import group_bootstrap, share_by_group
from probes.metrics import Score
from probes.text import N_KEPT, TextProbe, TextReading, fit_spaces, side_by_side
from probes.text_solve import Solve, whitener_of
from probes.text_space import nearest_tokens
from probes.text_sums import END, TextRows, TextSums, TokenSums
from probes.text_writer import ThoughtWriter, text_features

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

TOP = 5
N_WRITTEN = 5
"""Refits that also write thoughts back, which costs more than reading them."""


@dataclass(frozen=True, slots=True)
class TextScore:
    """Scores on held-out rows; the control of each is its mean over refits on shuffled texts."""

    exact: Score
    """Share of rows whose whole text is read: every token and the length."""
    top_1: tuple[Score, ...]
    """At each offset, of the rows that have a token there: share whose token is the likeliest."""
    top_5: tuple[Score, ...]
    variance_decoded: Score
    """Share of the thoughts' variance about the fit rows' mean that the decoded text explains, negative where the mean
    explains more. The control is what a refit on shuffled texts decodes and writes: a text that is chosen by the
    thought explains some of it in any case."""
    variance_true: Score
    """The same for the true text, the most that a reading can reach; the control is the text of another row."""
    majority: float
    """Share of rows whose text is the commonest of the fit rows."""
    p_value: float
    """(1 + refits with at least as many exact matches) / (1 + refits)."""
    n_shuffles: int


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """What was read right, row by row."""

    exact: Bools
    """[n]."""
    top_1: Bools
    """[n, n_offsets]; False where the text has no token."""
    top_5: Bools


def hits_of(reading: TextReading, truth: Ints) -> Hits:
    """Compare a reading with the true texts [n, m]; a text longer than the probe reads is never read whole."""
    n_offsets = reading.tokens.shape[1]
    asked = padded(truth, n_offsets)[:, :n_offsets]
    found = (reading.tokens == asked[:, :, None]) & (asked != END)[:, :, None]
    exact = (reading.texts == asked).all(axis=1) & ((truth != END).sum(axis=1) <= n_offsets)
    return Hits(exact, found[:, :, 0], found[:, :, :TOP].any(axis=2))


def padded(tokens: Ints, width: int) -> Ints:
    """Texts with at least so many offsets."""
    return np.pad(tokens, ((0, 0), (0, max(0, width - tokens.shape[1]))), constant_values=END)


def score_texts(
    probe: TextProbe,
    fit: TextRows,
    held: TextRows,
    unembedding: Any,
    *,
    whitener: Floats | None = None,
    n_shuffles: int = 20,
    seed: int = 0,
) -> TextScore:
    """Score a probe on rows whose groups it has not seen.

    The control refits every offset on texts that were shuffled between groups, among fit rows and among held-out
    rows, with the settings of the probe; all refits share one factorisation.

    Args:
        probe: fitted on `fit`.
        fit: the fit rows.
        held: held-out rows; their texts may be longer than those of the fit rows.
        unembedding: [V, d_u].
        whitener: `whitener_of(unembedding)`, where many probes share it.
        n_shuffles: refits.
        seed: of the permutations and of the bootstrap.

    Raises:
        ProbeDataError: no held-out rows, one text in all fit rows, groups on both sides, or other offsets than the
                probe's.
    """
    if fit.n_offsets != probe.n_offsets:
        raise ProbeDataError(f"the probe reads {probe.n_offsets} offsets; the fit rows have {fit.n_offsets}")
    if not len(held):
        raise ProbeDataError("there are no held-out rows to score a text probe on")
    if shared := set(fit.groups) & set(held.groups):
        raise ProbeDataError(f"{len(shared)} groups are on both sides of the split, {min(shared)!r} among them")
    texts, target, truth = text_codes(fit, held)
    if len(np.unique(target)) < 2:
        raise ProbeDataError("all fit rows have the same text; there is nothing to tell apart")
    reading = probe.read(held.thoughts, unembedding, TOP)
    hits = hits_of(reading, held.tokens)
    refits, asked = shuffles_of(target, truth, fit.groups, held.groups, n_shuffles, seed)
    white = whitener_of(unembedding) if whitener is None else whitener
    other_texts = [texts[codes][:, : probe.n_offsets] for codes in refits[1:]]
    read, written = _refitted(probe, fit, held, unembedding, white, other_texts)
    shuffled = [hits_of(found, texts[codes]) for found, codes in zip(read, asked[1:], strict=True)]
    n_exact = np.array([one.exact.sum() for one in shuffled])
    variance = _Variance.of(held, probe.writer.mean, seed)
    known = probe.write(texts[:, : probe.n_offsets], unembedding)
    reaches = padded(held.tokens, probe.n_offsets)[:, : probe.n_offsets] != END
    return TextScore(
        exact=_share(hits.exact, held.groups, float(n_exact.mean() / len(held))),
        top_1=_by_offset(hits.top_1, [one.top_1 for one in shuffled], asked, texts, reaches, held.groups),
        top_5=_by_offset(hits.top_5, [one.top_5 for one in shuffled], asked, texts, reaches, held.groups),
        variance_decoded=variance.score(probe.write(reading.texts, unembedding), written),
        variance_true=variance.score(known[truth], [known[codes] for codes in asked[1:]]),
        majority=majority(target, truth),
        p_value=float((1 + (n_exact >= hits.exact.sum()).sum()) / (1 + n_shuffles)),
        n_shuffles=n_shuffles,
    )


def text_codes(fit: TextRows, held: TextRows) -> tuple[Ints, Ints, Ints]:
    """The different texts [m, n_offsets], and which of them each fit row and each held-out row has."""
    width = max(fit.n_offsets, held.n_offsets)
    both = np.concatenate([padded(fit.tokens, width), padded(held.tokens, width)])
    texts, code = np.unique(both, axis=0, return_inverse=True)
    return texts, code.ravel()[: len(fit)], code.ravel()[len(fit) :]


def _refitted(
    probe: TextProbe, fit: TextRows, held: TextRows, unembedding: Any, whitener: Floats, shuffles: list[Ints]
) -> tuple[list[TextReading], list[Floats]]:
    """What refits on other texts of the fit rows read from the held-out rows, and what the first of them write."""
    thoughts = np.asarray(fit.thoughts, dtype=np.float64)
    gram = thoughts.T @ thoughts
    solvers: dict[float, Solve] = {}
    found, written = [], []
    for place, tokens in enumerate(shuffles):
        sums = TextSums(len(fit), gram, tuple(TokenSums.of(thoughts, column) for column in tokens.T))
        spaces = fit_spaces(sums, unembedding, whitener, probe.settings, solvers)
        reading = TextReading(*side_by_side([nearest_tokens(one, held.thoughts, unembedding, TOP) for one in spaces]))
        found.append(reading)
        if place < N_WRITTEN:
            rows = TextRows(thoughts[:N_KEPT], tokens[:N_KEPT], fit.groups[:N_KEPT])
            writer = ThoughtWriter.fit(rows, spaces, unembedding)
            written.append(writer.write(text_features(reading.texts, spaces, unembedding)))
    return found, written


def _share(hits: Bools, groups: NDArray[Any], control: float) -> Score:
    if not len(hits):
        return Score(None, control, None, 0, 0, "no held-out text has a token at this offset")
    return Score(float(hits.mean()), control, share_by_group(hits, groups), len(hits), len(set(groups.tolist())))


def _by_offset(
    hits: Bools, shuffled: list[Bools], asked: Ints, texts: Ints, reaches: Bools, groups: NDArray[Any]
) -> tuple[Score, ...]:
    scores = []
    for offset in range(hits.shape[1]):
        here = reaches[:, offset]
        controls = [
            one[:, offset].sum() / max(int((texts[codes][:, offset] != END).sum()), 1)
            for one, codes in zip(shuffled, asked[1:], strict=True)
        ]
        scores.append(_share(hits[here, offset], groups[here], float(np.mean(controls))))
    return tuple(scores)


@dataclass(frozen=True, slots=True, eq=False)
class _Variance:
    """Of held-out thoughts, about the mean of the fit rows."""

    thoughts: Floats
    total: Floats
    groups: NDArray[Any]
    seed: int

    @classmethod
    def of(cls, held: TextRows, mean: Floats, seed: int) -> _Variance:
        thoughts = np.asarray(held.thoughts, dtype=np.float64)
        return cls(thoughts, np.square(thoughts - mean).sum(axis=1), held.groups, seed)

    def score(self, written: Floats, controls: list[Floats]) -> Score:
        """How much of it written thoughts [n, d] explain, beside the mean of what others explain."""
        n, n_groups = len(self.total), len(set(self.groups.tolist()))
        control = float(np.mean([_explained(self._left(other)) for other in controls]))
        if not self.total.any():
            return Score(None, control, None, n, n_groups, "the thoughts do not vary")
        rows = self._left(written)
        value = _explained(rows)
        bounds = (min(value, -1.0), 1.0)
        interval = group_bootstrap(rows, self.groups, statistic=_explained, seed=self.seed, bounds=bounds)
        return Score(value, control, interval, n, n_groups)

    def _left(self, written: Floats) -> Floats:
        return np.stack([np.square(self.thoughts - written).sum(axis=1), self.total], axis=1)


def _explained(rows: Floats) -> float:
    """1 - sum of squares left / sum of squares about the mean, of rows [n, 2]."""
    left, total = rows.sum(axis=0)
    return float(1 - left / total) if total > 0 else 0.0
