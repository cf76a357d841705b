"""Texts on both sides of a split that are almost the same: counted, because a probe may have seen them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer

from probes.errors import ProbeDataError

THRESHOLD = 0.9
"""Jaccard similarity of word triples from which two texts count as near-duplicates."""
MAX_PAIRS_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True)
class NearDuplicates:
    """How many held-out rows have a near-duplicate among the fit rows."""

    n_pairs: int
    """Pairs of a held-out and a fit row at or over the threshold, exact duplicates included."""
    n_rows: int
    """Held-out rows in such pairs."""
    threshold: float


def near_duplicates(texts: Sequence[str], held_out: ArrayLike, *, threshold: float = THRESHOLD) -> NearDuplicates:
    """Count near-duplicates across a split by the Jaccard similarity of their word triples.

    Texts are compared after Unicode normalisation (NFKC), case folding and folding of white space. Every pair is
    compared exactly, block by block: memory is bounded by a block of pairs.

    Args:
        texts: one per row, [n].
        held_out: side of each row, [n].
        threshold: least similarity that counts, above 0 and at most 1.

    Raises:
        ProbeDataError: lengths that differ, or a threshold out of range.
    """
    held = np.asarray(held_out, dtype=np.bool_)
    if len(held) != len(texts) or not 0 < threshold <= 1:
        raise ProbeDataError(f"{len(texts)} texts, {len(held)} sides, threshold {threshold}: lengths or range differ")
    if held.all() or not held.any():
        return NearDuplicates(0, 0, threshold)
    # Equal texts have equal neighbours: each is compared once and counted as often as it occurs.
    folded, of_row = np.unique([_folded(text) for text in texts], return_inverse=True)
    n_fit = np.bincount(of_row[~held], minlength=len(folded))
    n_held = np.bincount(of_row[held], minlength=len(folded))
    triples = CountVectorizer(analyzer=_triples, binary=True, dtype=np.int32).fit_transform(folded)
    queries, library = np.flatnonzero(n_held), np.flatnonzero(n_fit)
    partners = _partners(triples[queries], triples[library], n_fit[library], threshold)
    times = n_held[queries]
    return NearDuplicates(int((partners * times).sum()), int(times[partners > 0].sum()), threshold)


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _triples(text: str) -> list[str]:
    words = ["", "", *text.split(" "), "", ""]
    return ["\x00".join(words[place : place + 3]) for place in range(len(words) - 2)]


def _partners(
    queries: sparse.csr_matrix, library: sparse.csr_matrix, times: NDArray[np.intp], threshold: float
) -> NDArray[np.intp]:
    """Of each query, how many library texts (each counted `times`) are similar enough."""
    sizes = np.asarray(library.sum(axis=1)).ravel()
    transposed = library.T.tocsr()
    block = max(1, MAX_PAIRS_AT_ONCE // len(sizes))
    counts = []
    for start in range(0, queries.shape[0], block):
        rows = queries[start : start + block]
        shared = (rows @ transposed).tocoo()
        own = np.asarray(rows.sum(axis=1)).ravel()
        union = own[shared.row] + sizes[shared.col] - shared.data
        hit = shared.data >= threshold * union
        counts.append(np.bincount(shared.row[hit], weights=times[shared.col[hit]], minlength=rows.shape[0]))
    return np.concatenate(counts).astype(np.intp)
