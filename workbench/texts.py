"""Text probes of one step: from its thoughts to its words, beside the lenses on the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from probes.errors import ProbeDataError
from probes.intervals import share_by_group
from probes.metrics import Score
from probes.text import END, TextProbe, TextRows, fit_text_probe
from probes.text_score import TextScore, score_texts
from probes.text_solve import whitener_of
from workbench.errors import ConfigError, InsufficientData
from workbench.lenses import likeliest_tokens
from workbench.reasoners.base import Reasoner
from workbench.reasoners.speaking import LanguageReasoner
from workbench.tuned_lens import LensRows, TunedLens, tune

MAX_TOKENS = 16
"""Tokens of the longest text; longer ones are left out."""
N_SHUFFLES = 100


@dataclass(frozen=True, slots=True, eq=False)
class Vocabulary:
    """What every text probe of one model shares."""

    unembedding: Float[np.ndarray, "d_vocab d_head"]
    whitener: Float[np.ndarray, "d_head d_head"]


@dataclass(frozen=True, slots=True, eq=False)
class Ends:
    """What the model ends with on the rows of a text fit (`tuned_lens.final_place`)."""

    site: str
    fit: Float[np.ndarray, "fit_row width"]
    held: Float[np.ndarray, "held_row width"]


@dataclass(frozen=True, slots=True, eq=False)
class TextFit:
    """A text probe of one site and step, how it did on held-out rows, and how the lenses did on the same rows."""

    site: str
    step: int
    probe: TextProbe
    score: TextScore
    logit_lens: Score | None
    """Share of rows whose first token the logit lens names; None where the head reads no such vectors."""
    tuned_lens: Score | None
    """The same for the tuned lens; None where it was not run."""
    tuned: TunedLens | None
    n_fit: int
    n_left_out: int
    """Rows without text, with a text that the tokenizer does not know or that is too long, or not finite."""

    def to_plain(self) -> dict[str, Any]:
        """The fields of a text record: every score beside its control, its n and its interval."""
        score, exact = self.score, self.score.exact
        assert exact.interval is not None
        return {
            "site": self.site, "step": self.step, "undefined_because": None,
            "n_fit": self.n_fit, "n": exact.n, "n_groups": exact.n_groups, "n_offsets": self.probe.n_offsets,
            "exact_match": exact.value, "interval": [exact.interval.low, exact.interval.high],
            "top_1": [one.value for one in score.top_1], "top_5": [one.value for one in score.top_5],
            "shuffled": exact.control, "n_shuffles": score.n_shuffles, "p_value": score.p_value,
            "variance_explained": score.variance_decoded.value,
            "variance_explained_true": score.variance_true.value,
            "variance_explained_shuffled": score.variance_decoded.control,
            "logit_lens": None if self.logit_lens is None else self.logit_lens.value,
            "tuned_lens": None if self.tuned_lens is None else self.tuned_lens.value,
            "details": self._details(),
        }  # fmt: skip

    def _details(self) -> dict[str, Any]:
        score = self.score
        return {
            "majority": score.majority,
            "n_left_out": self.n_left_out,
            "top_1": [plain_score(one) for one in score.top_1],
            "top_5": [plain_score(one) for one in score.top_5],
            "variance_explained": plain_score(score.variance_decoded),
            "variance_explained_true": plain_score(score.variance_true),
            "logit_lens": None if self.logit_lens is None else plain_score(self.logit_lens),
            "tuned_lens": None if self.tuned_lens is None else plain_score(self.tuned_lens),
            "tuned_lens_fit": None if self.tuned is None else self.tuned.to_plain(),
            "settings": [
                {
                    "shrinkage": one.shrinkage, "penalty": one.penalty, "sharpness": one.sharpness,
                    "log_loss": one.log_loss if np.isfinite(one.log_loss) else None,
                }
                for one in self.probe.settings
            ],
        }  # fmt: skip


def plain_score(score: Score) -> dict[str, Any]:
    """A score as plain values."""
    ends = None if score.interval is None else [score.interval.low, score.interval.high]
    return {
        "value": score.value, "control": score.control, "interval": ends, "n": score.n, "n_groups": score.n_groups,
    }  # fmt: skip


def step_texts(problems: Sequence[Mapping[str, Any]], step: int) -> list[str | None]:
    """The words of a step of each problem (as a store records it); None where they are unknown or a set of values."""
    texts: list[str | None] = []
    for problem in problems:
        known = problem.get("thoughts", ())
        value = known[step] if step < len(known) else None
        texts.append(value if isinstance(value, str) and value else None)
    return texts


def vocabulary_of(reasoner: Reasoner) -> Vocabulary:
    """Rows of the model's head, and what makes their directions comparable; made once for all probes of a model.

    Raises:
        ConfigError: the reasoner has no tokenizer and no head.
    """
    rows = _speaking(reasoner).unembedding().float().cpu().numpy()
    return Vocabulary(rows, whitener_of(rows))


def _speaking(reasoner: Reasoner) -> LanguageReasoner:
    if not isinstance(reasoner, LanguageReasoner):
        raise ConfigError("text probes need a reasoner with a tokenizer and a head", found=type(reasoner).__name__)
    return reasoner


def fit_text(
    thoughts_fit: Float[np.ndarray, "fit_row width"],
    texts_fit: Sequence[str | None],
    groups_fit: Sequence[str],
    thoughts_held: Float[np.ndarray, "held_row width"],
    texts_held: Sequence[str | None],
    groups_held: Sequence[str],
    reasoner: Reasoner,
    *,
    site: str,
    seed: int,
    step: int = 0,
    ends: Ends | None = None,
    vocabulary: Vocabulary | None = None,
    n_shuffles: int = N_SHUFFLES,
) -> TextFit:
    """Fit a text probe of one site and step and score it on held-out rows.

    Args:
        thoughts_fit: rows to learn from.
        texts_fit: their words.
        groups_fit: their groups.
        thoughts_held: rows to be scored on, of other groups.
        texts_held: their words.
        groups_held: their groups.
        reasoner: whose tokenizer cuts the words and whose unembedding gives the tokens their places.
        site: where the vectors come from; the logit lens is run if the head reads them.
        seed: of folds, shuffles and intervals.
        step: of the vectors, for the record.
        ends: what the model ends with; without it no tuned lens is run.
        vocabulary: of the reasoner, where many probes share it.
        n_shuffles: refits on shuffled texts.

    Raises:
        InsufficientData: fewer than two texts to tell apart, or nothing to be scored on.
        ConfigError: the reasoner has no tokenizer and no head.
    """
    kept_fit, fit = _rows(_speaking(reasoner), thoughts_fit, texts_fit, groups_fit)
    kept_held, held = _rows(_speaking(reasoner), thoughts_held, texts_held, groups_held)
    n_texts = 0 if fit is None else len(np.unique(fit.tokens, axis=0))
    if fit is None or held is None or n_texts < 2:
        raise InsufficientData(
            "a text probe needs at least two texts to tell apart, and held-out problems to be scored on",
            field=f"thoughts[{step}]",
            found=f"{n_texts} texts in {len(kept_fit)} fit rows, {len(kept_held)} rows held out",
        )
    shared = vocabulary_of(reasoner) if vocabulary is None else vocabulary
    rows, white = shared.unembedding, shared.whitener
    try:
        probe = fit_text_probe(fit, rows, whitener=white, seed=seed)
        score = score_texts(probe, fit, held, rows, whitener=white, n_shuffles=n_shuffles, seed=seed)
    except ProbeDataError as error:
        raise InsufficientData(str(error), field=f"thoughts[{step}]") from error
    tuned = None
    if ends is not None:
        ends = Ends(ends.site, ends.fit[kept_fit], ends.held[kept_held])
        tuned = _tuned(reasoner, fit, held, ends, site, seed)
    n_left_out = len(texts_fit) + len(texts_held) - len(fit) - len(held)
    lenses = _lens_scores(reasoner, held, site, tuned)
    return TextFit(site, step, probe, score, *lenses, tuned, len(fit), n_left_out)


def _rows(
    reasoner: LanguageReasoner, thoughts: NDArray[Any], texts: Sequence[str | None], groups: Sequence[str]
) -> tuple[NDArray[np.intp], TextRows | None]:
    """Which rows have a finite vector and a text of known tokens, and these rows; None where there are none."""
    ids_of = {text: reasoner.tokens_of(text) for text in set(texts) if text is not None}
    finite = np.isfinite(thoughts).all(axis=1)
    kept, ids = [], []
    for row, text in enumerate(texts):
        found = None if text is None else ids_of[text]
        if found is not None and len(found) <= MAX_TOKENS and finite[row]:
            kept.append(row)
            ids.append(found)
    if not kept:
        return np.empty(0, dtype=np.intp), None
    width = max(map(len, ids))
    tokens = np.array([[*text, *[END] * (width - len(text))] for text in ids], dtype=np.intp)
    return np.array(kept, dtype=np.intp), TextRows(thoughts[kept], tokens, np.array(groups)[kept])


def _tuned(reasoner: Reasoner, fit: TextRows, held: TextRows, ends: Ends, site: str, seed: int) -> TunedLens:
    rows = [
        LensRows(part.thoughts, final, tuple(part.groups.tolist()))
        for part, final in ((fit, ends.fit), (held, ends.held))
    ]
    return tune(reasoner, *rows, site=site, final_site=ends.site, seed=seed)


def _lens_scores(
    reasoner: Reasoner, held: TextRows, site: str, tuned: TunedLens | None
) -> tuple[Score | None, Score | None]:
    """How often the logit lens and the tuned lens name the first token."""
    where, first = reasoner.sites[site], held.tokens[:, 0]
    if where.normed is None or where.size != held.thoughts.shape[1]:
        return None, None

    def score(vectors: NDArray[Any]) -> Score:
        """The control is the chance that a lens names the first token of another row."""
        read = likeliest_tokens(reasoner, vectors, site=site, k=1)[0][:, 0]
        right, most = read == first, max(int(read.max()), int(first.max())) + 1
        chance = np.bincount(read, minlength=most) @ np.bincount(first, minlength=most) / len(first) ** 2
        n_groups = len(set(held.groups.tolist()))
        return Score(float(right.mean()), float(chance), share_by_group(right, held.groups), len(right), n_groups)

    translated = None if tuned is None else tuned.translator.translate(held.thoughts).astype(np.float32)
    return score(held.thoughts), None if translated is None else score(translated)
