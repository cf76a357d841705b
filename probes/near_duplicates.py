"""Texts on both sides of a split that are almost the same: counted, because a probe may have seen them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer

from probes.errors import ProbeDataError

THRESHOLD = 0.9
"""Jaccard similarity of word triples from which two texts count as near-duplicates."""
MAX_PAIRS_AT_ONCE = 100_000


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

    Texts are compared after Unicode normalisation (NFKC), case folding and folding of white space. The count is
    exact: pairs are found by the rarest triples that they would have to share, and then compared. Memory is bounded
    by a block of pairs.

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
    n_texts_with = np.asarray(queries.sum(axis=0) + library.sum(axis=0)).ravel()
    rare_queries, rare_library = (_rarest(rows, n_texts_with, threshold) for rows in (queries, library))
    transposed = rare_library.T.tocsr()
    n_pairs_of = rare_queries @ np.asarray(rare_library.sum(axis=0)).ravel()
    counts = np.zeros(queries.shape[0], dtype=np.intp)
    for block in _blocks(n_pairs_of):
        pairs = (rare_queries[block] @ transposed).tocoo()
        one, other = block[pairs.row], pairs.col
        shared = np.asarray(queries[one].multiply(library[other]).sum(axis=1)).ravel()
        union = np.diff(queries.indptr)[one] + np.diff(library.indptr)[other] - shared
        hit = shared >= threshold * union
        np.add.at(counts, one[hit], times[other[hit]])
    return counts


def _rarest(rows: sparse.csr_matrix, n_texts_with: NDArray[np.intp], threshold: float) -> sparse.csr_matrix:
    """Each row's rarest triples, as many as guarantee that similar rows share one of them (Chaudhuri et al. 2006).

    Rows whose Jaccard similarity is at least t share t |x| of x's triples: only (1 - t) |x| can be missing.
    """
    sizes = np.diff(rows.indptr)
    n_kept = sizes - np.ceil(threshold * sizes - 1e-9).astype(np.intp) + 1
    row_of = np.repeat(np.arange(rows.shape[0]), sizes)
    order = np.lexsort((rows.indices, n_texts_with[rows.indices], row_of))
    place = np.arange(len(order)) - np.repeat(rows.indptr[:-1], sizes)
    kept = order[place < n_kept[row_of]]
    shape = (np.ones(len(kept), dtype=np.int32), (row_of[kept], rows.indices[kept]))
    return sparse.csr_matrix(shape, shape=rows.shape)


def _blocks(n_pairs_of: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    """Queries in blocks of bounded work."""
    filled = np.cumsum(n_pairs_of) // MAX_PAIRS_AT_ONCE
    yield from np.split(np.arange(len(n_pairs_of)), np.flatnonzero(np.diff(filled)) + 1)
