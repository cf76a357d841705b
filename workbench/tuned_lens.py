"""Tuned lenses of a store or of arrays: one translator per site and step, against the distribution the model ends with.

After Belrose et al. 2023 (arXiv:2303.08112). What a model ends with depends on its family: looped models on what comes
out of the last pass at the same position; inside a block, on what leaves the top at the same position; a thought that
was made of something else, on what it was made of. Where that is the vector itself, the tuned lens is the logit lens.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from probes.intervals import group_bootstrap
from probes.metrics import Score
from probes.splits import held_out_by_hash
from probes.translator import Blocks, Closeness, Head, Translator, fit_translator, measure, mismatched
from workbench.errors import ConfigError, InsufficientData
from workbench.lens_rows import FinalPlace, gathered, pairs
from workbench.lenses import refuse_unreadable
from workbench.reasoners.base import Reasoner
from workbench.reasoners.feedback import SOURCE
from workbench.reasoners.recurrent import LENS
from workbench.reasoners.site_hooks import FINAL_SITE
from workbench.store import RunStore

CHOOSING_SHARE = 0.2
"""Share of the fit groups that a translator is not trained on, but chosen by."""


@dataclass(frozen=True, slots=True, eq=False)
class LensRows:
    """Vectors of one site and step, and what their examples end with."""

    vectors: Float[np.ndarray, "row width"]
    final: Float[np.ndarray, "row final_width"]
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LensScore:
    """A lens on held-out rows; the control is a translator trained on final rows of other examples."""

    kl: Score
    """KL(final || lens), nats."""
    agreement: Score
    """Share of rows whose likeliest token is the final one."""


@dataclass(frozen=True, slots=True)
class TunedLens:
    """A translator, and how close it comes to the final distribution on held-out rows, beside the logit lens."""

    site: str
    final_site: str
    translator: Translator
    logit: LensScore
    tuned: LensScore
    n_fit: int

    def to_plain(self) -> dict[str, Any]:
        """Every score beside its control, its n and its interval."""
        scores = {
            f"{kind}_{name}": _plain(getattr(lens, name))
            for kind, lens in (("logit", self.logit), ("tuned", self.tuned))
            for name in ("kl", "agreement")
        }
        own = {"final_site": self.final_site, "n_fit": self.n_fit, "identity_kept": self.translator.is_identity}
        return own | scores


def _plain(score: Score) -> dict[str, Any]:
    ends = None if score.interval is None else [score.interval.low, score.interval.high]
    return {
        "value": score.value, "control": score.control, "interval": ends, "n": score.n, "n_groups": score.n_groups,
    }  # fmt: skip


def final_place(reasoner: Reasoner, site: str, stored: Collection[str]) -> FinalPlace:
    """Where a store has the distribution that vectors of a site are translated towards.

    Args:
        reasoner: whose sites these are.
        site: the vectors that are translated.
        stored: sites that were captured.

    Raises:
        ConfigError: none of the sites that would do was captured.
    """
    looped = LENS in reasoner.sites
    if looped:
        wanted = [LENS, "thought"]
    elif site.startswith("thought"):
        wanted = [SOURCE] if SOURCE in reasoner.sites and site == "thought" else [site]
    else:
        wanted = [FINAL_SITE]
    for name in wanted:
        if name in stored:
            return FinalPlace(name, looped)
    raise ConfigError(
        f"a tuned lens on {site} needs what the model ends with, which was not captured",
        field="sites", expected=" or ".join(wanted), found=", ".join(sorted(stored)),
        hint=f"Capture it too: --sites {wanted[-1]}.",
    )  # fmt: skip


def head_of(reasoner: Reasoner, site: str) -> Head:
    """From vectors of a site [row, width] to logits, differentiable; logits stay as they are."""
    if reasoner.sites[site].axes == ("d_vocab",):
        return lambda rows: rows

    like = reasoner.as_vectors(np.zeros((1, 1), dtype=np.float32))  # on the device and in the type of the weights
    return lambda rows: reasoner.unembed(rows.to(like.device, like.dtype), site).float()


def _refuse_many_vectors(reasoner: Reasoner, site: str, width: int) -> None:
    refuse_unreadable(reasoner, site, width)
    if len(reasoner.sites[site].axes) > 1:
        raise ConfigError(
            "a thought of several vectors has no translator", field="site", expected="one vector", found=site,
            hint="What the head reads of it is read as it is: use the logit lens.",
        )  # fmt: skip


def _for_choosing(groups: Sequence[str], seed: int) -> NDArray[np.bool_]:
    """Fit rows that a translator is chosen by; not by the hash that may have made them fit rows."""
    return held_out_by_hash([f"chosen by {group}" for group in groups], CHOOSING_SHARE, seed=seed)


def tune(reasoner: Reasoner, fit: LensRows, held: LensRows, *, site: str, final_site: str, seed: int = 0) -> TunedLens:
    """A tuned lens from arrays.

    Args:
        reasoner: its head reads what is translated; its weights are left alone.
        fit: rows to learn from.
        held: rows of other groups, to be scored on.
        site: what the vectors are.
        final_site: what the final rows are; vectors that the head reads, or logits.
        seed: of the order of rows and of the mismatched control.

    Raises:
        ConfigError: the head does not read these vectors.
        InsufficientData: too few groups to train on, choose by and score on.
    """
    _refuse_many_vectors(reasoner, site, fit.vectors.shape[1])
    chosen = _for_choosing(fit.groups, seed)

    def some(keep: NDArray[np.bool_]) -> Blocks:
        return lambda: [(fit.vectors[keep], fit.final[keep])]

    heads = head_of(reasoner, site), head_of(reasoner, final_site)
    closeness = _fit_and_measure(
        heads, some(~chosen), some(chosen), lambda: [(held.vectors, held.final)],
        [int((~chosen).sum()), int(chosen.sum()), len(held.groups)], seed,
    )  # fmt: skip
    return _scored(closeness, site, final_site, held.groups, len(fit.groups), seed)


def tune_on_store(
    store: RunStore,
    reasoner: Reasoner,
    *,
    site: str,
    step: int,
    fit: Sequence[int],
    held: Sequence[int],
    groups: Sequence[str],
    visit: int = 0,
    seed: int = 0,
) -> TunedLens:
    """A tuned lens of one site and step, shard by shard: memory is bounded by one shard and two blocks of rows.

    Args:
        store: with the site, and what the model ends with.
        reasoner: the model that was captured.
        site: whose vectors are translated.
        step: of the vectors.
        fit: rows of the store's problems to learn from.
        held: rows to be scored on, of other groups.
        groups: of every problem of the store.
        visit: of the vectors.
        seed: of the order of rows and of the mismatched control.

    Raises:
        ConfigError: the head does not read these vectors, or what the model ends with was not captured.
        InsufficientData: too few problems to train on, choose by and score on.
    """
    _refuse_many_vectors(reasoner, site, store.sites[site].dim)
    place = final_place(reasoner, site, store.sites)
    examples = np.array(fit, dtype=np.intp)
    chosen = _for_choosing([groups[i] for i in fit], seed)

    def some(which: NDArray[Any]) -> Blocks:
        return gathered(lambda: ((v, f) for v, f, _ in pairs(store, site, step, visit, place, which)))

    scored = np.array(held, dtype=np.intp)
    order = [int(i) for _, _, found in pairs(store, site, step, visit, place, scored) for i in found]
    heads = head_of(reasoner, site), head_of(reasoner, place.site)
    closeness = _fit_and_measure(
        heads, some(examples[~chosen]), some(examples[chosen]), some(scored),
        [int((~chosen).sum()), int(chosen.sum()), len(order)], seed,
    )  # fmt: skip
    return _scored(closeness, site, place.site, [groups[i] for i in order], len(examples), seed)


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    translator: Translator
    logit: Closeness
    tuned: Closeness
    control: Closeness


def _fit_and_measure(
    heads: tuple[Head, Head], training: Blocks, choosing: Blocks, held: Blocks, sizes: Sequence[int], seed: int
) -> _Measured:
    if min(sizes) == 0:
        raise InsufficientData(
            "a tuned lens needs rows to train on, to choose by and to be scored on",
            field="groups", found=f"{sizes[0]}, {sizes[1]} and {sizes[2]} rows",
        )  # fmt: skip
    translator = fit_translator(*heads, training, choosing, seed=seed)
    control = fit_translator(*heads, mismatched(training, seed=seed), mismatched(choosing, seed=seed), seed=seed)
    found = [measure(one, *heads, held()) for one in (Translator.identity(len(translator.shift)), translator, control)]
    return _Measured(translator, *found)


def _scored(measured: _Measured, site: str, final_site: str, groups: Iterable[str], n_fit: int, seed: int) -> TunedLens:
    of_row = np.array(list(groups))
    n_groups = len(set(of_row.tolist()))

    def score(values: NDArray[Any], control: NDArray[Any], most: float) -> Score:
        numbers = values.astype(np.float64)
        bounds = (0.0, max(most, float(numbers.mean())))
        interval = group_bootstrap(numbers, of_row, seed=seed, bounds=bounds)
        return Score(float(numbers.mean()), float(control.mean()), interval, len(numbers), n_groups)

    def lens(one: Closeness) -> LensScore:
        most = float(max(measured.logit.kl.max(), measured.control.kl.max(), 1.0))
        return LensScore(score(one.kl, measured.control.kl, most), score(one.agrees, measured.control.agrees, 1.0))

    return TunedLens(site, final_site, measured.translator, lens(measured.logit), lens(measured.tuned), n_fit)
