"""Text probes: from one thought to the words of its step, one linear map per token offset into the unembedding space.

The class means of linear discriminant analysis are taken to be linear in the rows of the model's unembedding, so that
the vocabulary may be as large as the model's and a word can be read that no fit row held. Everything is learned from
sums over rows: shards are added one by one, and the memory that is needed does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from probes.errors import ProbeDataError
from probes.splits import held_out_by_hash
from probes.text_choose import Settings, choose_settings, fit_space
from probes.text_solve import SeenTokens, Solve, solver_of, whitener_of
from probes.text_space import Nearest, SharedSpace, nearest_tokens
from probes.text_sums import END, TextRows, TextSums, together
from probes.text_writer import ThoughtWriter, text_features

__all__ = ["END", "TextProbe", "TextProbeBuilder", "TextReading", "TextRows", "fit_text_probe"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

N_FOLDS = 4
N_KEPT = 4096
"""Rows that are kept as they are: the way back to the thought is learned from them."""
N_SCORED = 1024
"""Rows, the first of these, on which settings are chosen."""


@dataclass(frozen=True, slots=True, eq=False)
class TextReading:
    """What a probe reads from thoughts."""

    tokens: Ints
    """The likeliest tokens at each offset, likeliest first, [n, n_offsets, k]."""
    log_p: Floats
    """Their log probabilities over the whole vocabulary and the end of the text, nats, [n, n_offsets, k]."""
    log_p_end: Floats
    """That the text is over at each offset, nats, [n, n_offsets]."""

    @property
    def lengths(self) -> Ints:
        """Tokens before the first offset at which the end is likelier than any token, [n]."""
        over = self.log_p_end > self.log_p[:, :, 0]
        lengths: Ints = np.where(over.any(axis=1), over.argmax(axis=1), over.shape[1])
        return lengths

    @property
    def texts(self) -> Ints:
        """The likeliest text of each thought, `END` past its end, [n, n_offsets]."""
        best = self.tokens[:, :, 0]
        return np.where(np.arange(best.shape[1]) < self.lengths[:, None], best, END)


@dataclass(frozen=True, slots=True, eq=False)
class TextProbe:
    """Arrays that read texts from thoughts; the vocabulary stays outside.

    Every method takes the rows of the unembedding [V, d_u] that the probe was fitted with, or those of more tokens.
    """

    offsets: tuple[SharedSpace, ...]
    """One for each token of a text."""
    writer: ThoughtWriter
    """From a text back to the thought."""
    settings: tuple[Settings, ...]
    """Of every offset."""
    n_fit: int
    """Rows that it was fitted on."""

    def __post_init__(self) -> None:
        widths = {space.d_thought for space in self.offsets} | {len(self.writer.mean)}
        if not self.offsets or len(widths) > 1 or len({space.d_token for space in self.offsets}) > 1:
            raise ProbeDataError(f"the offsets of a text probe do not fit each other; they read rows of {widths}")
        if len(self.settings) != self.n_offsets:
            raise ProbeDataError(f"{self.n_offsets} offsets, but settings of {len(self.settings)}")

    @property
    def n_offsets(self) -> int:
        """Tokens of the longest text it can read."""
        return len(self.offsets)

    def read(self, thoughts: ArrayLike, unembedding: Any, k: int = 5) -> TextReading:
        """The k likeliest tokens at every offset of thoughts [n, d].

        Raises:
            ProbeDataError: shapes that do not fit, or values that are not finite.
        """
        return TextReading(*side_by_side([nearest_tokens(space, thoughts, unembedding, k) for space in self.offsets]))

    def tokens(self, thoughts: ArrayLike, unembedding: Any) -> Ints:
        """The likeliest text of each thought, `END` past its end, [n, n_offsets]."""
        return self.read(thoughts, unembedding, k=1).texts

    def write(self, tokens: Ints, unembedding: Any) -> Floats:
        """The thoughts [n, d] that texts [n, n_offsets] stand for, as far as a linear map can tell."""
        return self.writer.write(text_features(tokens, self.offsets, unembedding))


def side_by_side(found: Sequence[Nearest]) -> tuple[Ints, Floats, Floats]:
    """Tokens [n, n_offsets, k], their log probabilities, and those of the end [n, n_offsets]."""
    return (
        np.stack([one.tokens for one in found], axis=1),
        np.stack([one.log_p for one in found], axis=1),
        np.stack([one.log_p_end for one in found], axis=1),
    )


class TextProbeBuilder:
    """Adds up what a text probe needs, block after block, and then fits it.

    Memory: one matrix [d, d] and one vector [d] per token and offset for each of `N_FOLDS`, and `N_KEPT` rows.

    Args:
        n_offsets: tokens of the longest text.
        seed: of the folds, of the rows that are kept and of the tokens that stand for a large vocabulary.
    """

    def __init__(self, n_offsets: int, *, seed: int = 0) -> None:
        self.n_offsets = n_offsets
        self.seed = seed
        self._parts: dict[int, TextSums] = {}
        self._kept: TextRows | None = None
        self._draws: Floats = np.empty(0)
        self._generator = np.random.default_rng(seed)

    def add(self, rows: TextRows) -> None:
        """Take in a block.

        Raises:
            ProbeDataError: texts with another number of offsets, or thoughts of another width.
        """
        widths = {rows.thoughts.shape[1], *(len(part.gram) for part in self._parts.values())}
        if rows.n_offsets != self.n_offsets or len(widths) > 1:
            raise ProbeDataError(
                f"blocks must have {self.n_offsets} offsets and one width; found {rows.n_offsets} and {sorted(widths)}"
            )
        folds = self._folds(rows)
        for fold in np.unique(folds).tolist():
            new = TextSums.of(rows.where(folds == fold))
            self._parts[fold] = self._parts[fold].plus(new) if fold in self._parts else new
        self._keep(rows)

    def _folds(self, rows: TextRows) -> Ints:
        """Two halves by two hashes: four folds, each group in one of them, whatever else comes."""
        # Named otherwise than the groups, whose own hashes may have decided that these rows are fit rows.
        halves = [[f"{half} half of {group}" for group in rows.groups] for half in ("one", "other")]
        first, second = (held_out_by_hash(names, 0.5, seed=self.seed) for names in halves)
        folds: Ints = first + 2 * second.astype(np.intp)
        return folds

    def _keep(self, rows: TextRows) -> None:
        """A sample of all rows so far: those that drew the smallest numbers, whatever the blocks."""
        draws = np.concatenate([self._draws, self._generator.random(len(rows))])
        order = np.argsort(draws)[:N_KEPT]
        self._kept = (rows if self._kept is None else self._kept.followed_by(rows)).where(order)
        self._draws = draws[order]

    def freeze(self, unembedding: Any, whitener: Floats | None = None) -> TextProbe:
        """The probe of all rows so far.

        Args:
            unembedding: rows of all tokens, [V, d_u]: an array, or anything whose slices become one.
            whitener: `whitener_of(unembedding)`, where many probes share it.

        Raises:
            ProbeDataError: no rows, or a token that is not in the vocabulary.
        """
        if self._kept is None:
            raise ProbeDataError("a text probe needs rows to learn from; found none")
        parts, scored = [self._parts[fold] for fold in sorted(self._parts)], self._kept.where(np.s_[:N_SCORED])
        folds = self._folds(scored)
        held = [(scored.where(folds == fold)) for fold in sorted(self._parts)]
        whitener, sums = whitener_of(unembedding) if whitener is None else whitener, together(parts)
        settings = [
            choose_settings(
                parts,
                [(np.asarray(rows.thoughts, dtype=np.float64), rows.tokens[:, offset]) for rows in held],
                offset, unembedding, whitener, seed=self.seed,
            )
            for offset in range(self.n_offsets)
        ]  # fmt: skip
        spaces = fit_spaces(sums, unembedding, whitener, settings)
        writer = ThoughtWriter.fit(self._kept, spaces, unembedding)
        return TextProbe(spaces, writer, tuple(settings), sums.n)


def fit_spaces(
    sums: TextSums,
    unembedding: Any,
    whitener: Floats,
    settings: Sequence[Settings],
    solvers: dict[float, Solve] | None = None,
) -> tuple[SharedSpace, ...]:
    """The spaces of all offsets; `solvers` keeps what refits on other texts of the same thoughts share."""
    solvers = {} if solvers is None else solvers
    spaces = []
    for tokens, chosen in zip(sums.offsets, settings, strict=True):
        if chosen.shrinkage not in solvers:
            solvers[chosen.shrinkage] = solver_of(sums.covariance(), chosen.shrinkage)
        seen = SeenTokens.of(tokens, unembedding, whitener)
        spaces.append(fit_space(sums.mean, tokens, seen, chosen, solvers[chosen.shrinkage]))
    return tuple(spaces)


def fit_text_probe(rows: TextRows, unembedding: Any, *, whitener: Floats | None = None, seed: int = 0) -> TextProbe:
    """The probe of rows that are all at hand; see `TextProbeBuilder`.

    Raises:
        ProbeDataError: no rows, or a token that is not in the vocabulary.
    """
    builder = TextProbeBuilder(rows.n_offsets, seed=seed)
    builder.add(rows)
    return builder.freeze(unembedding, whitener)
