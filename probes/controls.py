"""What a probe's score must be compared with: shuffled labels, the majority class, the input alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from probes.errors import ProbeDataError
from probes.linear import ValueProbe

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

LEAST_ALIKE = 5
"""Fewest groups that exchange labels among themselves; sizes that fewer groups have are taken with their neighbours."""


NO_EXCHANGE = (
    "no two groups have the same number of rows, so none can exchange its labels. "
    "Give more groups, or groups of equal size."
)


class NothingToExchange(ProbeDataError):
    """Labels that no shuffle can change without breaking groups apart."""


@dataclass(frozen=True)
class ShuffledControl:
    """Accuracy of a ridge classifier on true labels beside the same classifier fitted on shuffled ones."""

    accuracy: float
    shuffled: Floats
    """Accuracy of each refit, [n_shuffles]."""
    p_value: float
    """(1 + refits that read at least as well) / (1 + refits)."""
    mean: float
    """Mean of `shuffled`."""


def shuffled_labels(
    X_fit: ArrayLike,
    y_fit: ArrayLike,
    X_test: ArrayLike,
    y_test: ArrayLike,
    *,
    groups_fit: ArrayLike | None = None,
    groups_test: ArrayLike | None = None,
    n_shuffles: int = 100,
    seed: int = 0,
) -> ShuffledControl:
    """Refit a one-hot ridge classifier on permuted labels; all refits share one factorisation.

    Fit and test labels are permuted, each among themselves. Permuting the fit labels alone would test little where
    one direction holds the value: a refit on shuffled labels finds that direction too, with a random sign, and then
    reads nearly all test rows right or nearly all wrong.

    Groups of more than one row keep their labels together: where every group has one label, groups of
    equal or neighbouring sizes exchange it, else groups of equal size exchange their labels row by row.

    Args:
        X_fit: [n_fit, d].
        y_fit: [n_fit].
        X_test: [n_test, d].
        y_test: [n_test].
        groups_fit: [n_fit].
        groups_test: [n_test]; test labels stay as they are where no two of these groups can exchange theirs.
        n_shuffles: refits; at least 1.
        seed: of the permutations.

    Raises:
        ProbeDataError: shapes that do not fit, one class, values that are not finite, or nothing to permute.
    """
    from probes.shuffles import SharedRidge  # torch takes its time: only who fits waits for it

    classes, target = sorted_classes(y_fit)
    rows, queries = _matrix(X_fit, len(target), "X_fit"), _matrix(X_test, len(np.asarray(y_test)), "X_test")
    if rows.shape[1] != queries.shape[1]:
        raise ProbeDataError(f"X_fit has {rows.shape[1]} features and X_test has {queries.shape[1]}")
    if len(classes) < 2:
        raise ProbeDataError("the fit labels hold one class (classes=1); a shuffle would change nothing")
    if (groups_fit is None) != (groups_test is None):
        raise ProbeDataError("groups_fit and groups_test go together: both parts are shuffled")
    if n_shuffles < 1:
        raise ProbeDataError(f"n_shuffles must be at least 1; found {n_shuffles}")
    labels = shuffles_of(target, label_codes(classes, y_test), groups_fit, groups_test, n_shuffles, seed)
    read = SharedRidge.of(rows, queries).accuracy(*labels, len(classes))
    accuracy, shuffled = float(read[0]), read[1:]
    p_value = (1 + int((shuffled >= accuracy).sum())) / (1 + n_shuffles)
    return ShuffledControl(accuracy, shuffled, p_value, float(shuffled.mean()))


def shuffles_of(
    target: Ints, truth: Ints, groups_fit: ArrayLike | None, groups_test: ArrayLike | None, n_shuffles: int, seed: int
) -> tuple[Ints, Ints]:
    """Labels of fit and test rows, [1 + n_shuffles, n] each: as they are, then shuffled.

    Equal seeds and groups give equal permutations whatever the labels, so that a grid's cells are shuffled alike.

    Raises:
        NothingToExchange: no two of the fit groups can exchange their labels.
    """
    fit = permuted_labels(target, groups_fit, n_shuffles=n_shuffles, rng=np.random.default_rng([seed, 0]))
    try:
        test = permuted_labels(truth, groups_test, n_shuffles=n_shuffles, rng=np.random.default_rng([seed, 1]))
    except NothingToExchange:
        test = np.tile(truth, (n_shuffles, 1))
    return np.vstack([target, fit]), np.vstack([truth, test])


def permuted_labels(target: Ints, groups: ArrayLike | None, *, n_shuffles: int, rng: np.random.Generator) -> Ints:
    """[n_shuffles, n] permutations of the labels that keep whole groups together.

    Raises:
        NothingToExchange: no two groups can exchange their labels.
    """
    if groups is None:
        return np.stack([rng.permutation(target) for _ in range(n_shuffles)])
    names = np.asarray([str(group) for group in np.asarray(groups).ravel()])
    if len(names) != len(target):
        raise ProbeDataError(f"groups_fit must name a group for each of {len(target)} rows; found {len(names)}")
    _, first, group_of, sizes = np.unique(names, return_index=True, return_inverse=True, return_counts=True)
    if (target == target[first][group_of]).all():
        of_groups, alike = target[first], _alike_in_size(sizes)
        return np.stack([_exchanged(of_groups, alike, rng)[group_of] for _ in range(n_shuffles)])
    in_order = np.argsort(group_of, kind="stable")
    starts = np.cumsum(sizes) - sizes
    blocks = [in_order[starts[sizes == size][:, None] + np.arange(size)] for size in np.unique(sizes)]
    if all(len(block) < 2 for block in blocks):
        raise NothingToExchange(NO_EXCHANGE)
    shuffles = np.tile(target, (n_shuffles, 1))
    for shuffle in shuffles:
        for block in blocks:
            shuffle[block] = target[rng.permutation(block)]
    return shuffles


def _alike_in_size(sizes: Ints) -> list[Ints]:
    """Groups that exchange labels: of equal or neighbouring sizes, so many that there is something to exchange.

    Large groups that share a label make it common; exchanged with small ones it would not be, and every shuffle would
    read worse than labels that the vectors tell nothing about.
    """
    order = np.argsort(sizes, kind="stable")
    cuts: list[int] = []
    for end in (np.flatnonzero(np.diff(sizes[order])) + 1).tolist():
        if end - (cuts[-1] if cuts else 0) >= LEAST_ALIKE <= len(sizes) - end:
            cuts.append(end)
    return list(np.split(order, cuts))


def _exchanged(labels: Ints, alike: list[Ints], rng: np.random.Generator) -> Ints:
    shuffled = labels.copy()
    for groups in alike:
        shuffled[groups] = rng.permutation(labels[groups])
    return shuffled


def majority(y_fit: ArrayLike, y_test: ArrayLike) -> float:
    """Share of test labels equal to the commonest fit label (the first in sorting order among equals)."""
    classes, target = sorted_classes(y_fit)
    truth = label_codes(classes, y_test)
    if not len(truth):
        raise ProbeDataError("majority needs test labels; found none")
    return float((truth == np.bincount(target).argmax()).mean())


def input_only(
    features_fit: Any,
    y_fit: ArrayLike,
    features_test: Any,
    y_test: ArrayLike,
    *,
    groups_fit: ArrayLike | None = None,
    seed: int = 0,
) -> float:
    """Accuracy of a value probe on what was put in: how much of a score needs no thought at all.

    Args:
        features_fit: [n_fit, m], dense or SciPy sparse (a bag of words).
        y_fit: [n_fit].
        features_test: [n_test, m].
        y_test: [n_test].
        groups_fit: [n_fit], never split while the penalty is chosen.
        seed: of the folds.
    """
    fit, test = in_span(features_fit, features_test)
    probe = ValueProbe(random_state=seed).fit(fit, y_fit, groups=groups_fit)
    return float((probe.predict(test) == np.asarray(y_test)).mean())


def in_span(fit: Any, test: Any) -> tuple[Any, Any]:
    """Dense coordinates of sparse rows in the span of the fit rows, where a penalised probe lives anyway.

    Dense rows are returned as they came.
    """
    if not sparse.issparse(fit) and not sparse.issparse(test):
        return fit, test
    fit, test = sparse.csr_array(fit), sparse.csr_array(test)
    if fit.shape[1] <= fit.shape[0]:
        return fit.toarray(), test.toarray()
    gram = (fit @ fit.T).toarray()
    values, vectors = np.linalg.eigh(gram)
    kept = values > values[-1] * 1e-12
    kept[-1] = True
    to_span = vectors[:, kept] / np.sqrt(np.maximum(values[kept], np.finfo(np.float64).tiny))
    return gram @ to_span, (test @ fit.T).toarray() @ to_span


def _matrix(X: ArrayLike, n: int, name: str) -> Floats:
    rows = np.asarray(X, dtype=np.float64)
    if rows.ndim != 2 or len(rows) != n or n == 0:
        raise ProbeDataError(f"{name} must be [{n}, d] with at least one row; found shape {rows.shape}")
    if not np.isfinite(rows).all():
        raise ProbeDataError(
            f"{name} has values that are not finite in row {int((~np.isfinite(rows)).any(1).argmax())}"
        )
    return rows


def sorted_classes(y: ArrayLike) -> tuple[NDArray[Any], Ints]:
    """The labels that occur, sorted, and the place of each row's label among them.

    Raises:
        ProbeDataError: no labels, or labels of kinds that cannot be compared (text beside None, say).
    """
    try:
        classes, target = np.unique(_labels(y), return_inverse=True)
    except TypeError as error:
        raise ProbeDataError(f"labels must be of one kind, all text or all numbers: {error}") from error
    if not len(classes):
        raise ProbeDataError("no labels were given (classes=0)")
    return classes, target


def label_codes(classes: NDArray[Any], y: ArrayLike) -> Ints:
    """Place of each label among sorted classes, -1 for a label that is not there.

    Raises:
        ProbeDataError: labels of another kind than the classes.
    """
    labels = _labels(y)
    if len(labels) and (labels.dtype.kind in "US") != (classes.dtype.kind in "US"):
        raise ProbeDataError(f"labels are {labels.dtype} where the fit labels are {classes.dtype}")
    place = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
    return np.where(classes[place] == labels, place, -1)


def _labels(y: ArrayLike) -> NDArray[Any]:
    labels = np.asarray(y)
    if labels.dtype == object and all(isinstance(label, str) for label in labels):
        return labels.astype(np.str_)
    return labels
