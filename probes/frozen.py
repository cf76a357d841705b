"""A probe that can no longer learn: the arrays that read, and nothing that fits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax
from sklearn.utils.validation import check_is_fitted

from probes.errors import ProbeDataError
from probes.linear import ValueProbe
from probes.novelty import SubspaceNovelty, nearest_class_distance

Floats = NDArray[np.float64]


def _frozen(name: str, value: ArrayLike, n_axes: int) -> Floats:
    array = np.array(value, dtype=np.float64, order="C")
    if array.ndim != n_axes or array.size == 0 or not np.isfinite(array).all():
        raise ProbeDataError(f"{name} must be {n_axes}-dimensional and finite; found shape {array.shape}")
    array.setflags(write=False)
    return array


def _rows(X: ArrayLike, d: int) -> Floats:
    rows = np.asarray(X, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != d:
        raise ProbeDataError(f"this probe reads rows of {d} numbers; found shape {rows.shape}")
    if not np.isfinite(rows).all():
        raise ProbeDataError(f"row {int((~np.isfinite(rows)).any(axis=1).argmax())} holds values that are not finite")
    return rows


@dataclass(frozen=True, eq=False)
class FrozenNovelty:
    """Arrays of a fitted `SubspaceNovelty`: mean [d], basis [r, d], class_means [K, r], whitener [r, r]."""

    mean: Floats
    basis: Floats
    class_means: Floats
    whitener: Floats

    def __post_init__(self) -> None:
        for name, n_axes in (("mean", 1), ("basis", 2), ("class_means", 2), ("whitener", 2)):
            object.__setattr__(self, name, _frozen(f"novelty.{name}", getattr(self, name), n_axes))
        r, d = self.basis.shape
        if self.mean.shape != (d,) or self.class_means.shape[1] != r or self.whitener.shape != (r, r):
            raise ProbeDataError(
                f"novelty arrays do not fit: mean {self.mean.shape}, basis {self.basis.shape}, "
                f"class_means {self.class_means.shape}, whitener {self.whitener.shape}"
            )

    def score(self, X: ArrayLike) -> Floats:
        """Distance of each row of X [n, d] to the nearest class, [n]; larger is more novel."""
        rows = _rows(X, len(self.mean))
        return nearest_class_distance(rows, self.mean, self.basis, self.class_means, self.whitener)


@dataclass(frozen=True, eq=False)
class FrozenProbe:
    """A linear probe as plain, read-only arrays (two rows where there are two classes): scores `x @ coef.T + b`.

    Of a `binary-logistic` probe the classes are members that a set may have, and scores are log odds.
    """

    KINDS: ClassVar[tuple[str, ...]] = (
        "multinomial-logistic", "lda", "ridge", "mean-difference", "binary-logistic", "lens",
    )  # fmt: skip

    kind: str
    classes: tuple[str, ...]
    coef: Floats
    """Weights on raw thoughts, [K, d]."""
    intercept: Floats
    """[K]."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Plain JSON values."""
    novelty: FrozenNovelty | None = None

    def __post_init__(self) -> None:
        if self.kind not in self.KINDS:
            raise ProbeDataError(f"unknown kind of probe {self.kind!r}; known are {', '.join(self.KINDS)}")
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "coef", _frozen("coef", self.coef, 2))
        object.__setattr__(self, "intercept", _frozen("intercept", self.intercept, 1))
        object.__setattr__(self, "metadata", MappingProxyType(plain(self.metadata)))
        n_classes = len(self.classes)
        if n_classes < 2 or len(set(self.classes)) < n_classes or not all(isinstance(c, str) for c in self.classes):
            raise ProbeDataError(f"a probe needs two or more different texts as classes; found {self.classes[:5]}")
        if self.coef.shape[0] != n_classes or self.intercept.shape != (n_classes,):
            raise ProbeDataError(
                f"{n_classes} classes do not fit coef {self.coef.shape} and intercept {self.intercept.shape}"
            )
        if self.novelty is not None and len(self.novelty.mean) != self.coef.shape[1]:
            raise ProbeDataError(f"novelty reads {len(self.novelty.mean)} features, the probe {self.coef.shape[1]}")

    def log_proba(self, X: ArrayLike) -> Floats:
        """Log probabilities of each class for each row of X [n, d], nats, [n, K].

        Of a ridge or mean-difference probe these order the classes rightly and are no probabilities.

        Raises:
            ProbeDataError: the probe reads sets: its classes do not exclude each other.
        """
        if self.reads_sets:
            raise ProbeDataError("this probe reads sets: ask it for log_odds, its values do not exclude each other")
        log_proba: Floats = log_softmax(_rows(X, self.coef.shape[1]) @ self.coef.T + self.intercept, axis=1)
        return log_proba

    @property
    def reads_sets(self) -> bool:
        """Whether several classes may hold at once."""
        return self.kind == "binary-logistic"

    def log_odds(self, X: ArrayLike) -> Floats:
        """Log odds, nats, that the set held by each row of X [n, d] has each class as a member, [n, K].

        Raises:
            ProbeDataError: the probe reads single values.
        """
        if not self.reads_sets:
            raise ProbeDataError(f"a {self.kind} probe reads single values: ask it for log_proba")
        odds: Floats = _rows(X, self.coef.shape[1]) @ self.coef.T + self.intercept
        return odds

    def predict(self, X: ArrayLike) -> list[str]:
        """The likeliest class of each row of X [n, d]; of a set, its members with commas between."""
        if self.reads_sets:
            return [shown_set(self.classes, odds) for odds in self.log_odds(X)]
        return [self.classes[k] for k in self.log_proba(X).argmax(axis=1)]


def shown_set(values: tuple[str, ...], log_odds: Floats) -> str:
    """Members of a set as one text; `(none)` where it is empty."""
    return ", ".join(value for value, odds in zip(values, log_odds, strict=True) if odds > 0) or "(none)"


def plain(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """A copy as JSON has it.

    Raises:
        ProbeDataError: a value is not plain (or not finite, or not valid Unicode), or a key is not text.
    """
    if not isinstance(metadata, Mapping) or not all(isinstance(key, str) for key in metadata):
        raise ProbeDataError("metadata must be a mapping from text to plain values")
    try:
        text = json.dumps(dict(metadata), allow_nan=False, ensure_ascii=False)
        text.encode("utf-8")
        copy: dict[str, Any] = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise ProbeDataError(f"metadata must hold plain JSON values: {error}") from error
    return copy


def freeze(
    probe: ValueProbe, metadata: Mapping[str, Any] | None = None, novelty: SubspaceNovelty | None = None
) -> FrozenProbe:
    """The fitted probe, and the novelty fitted beside it, as a record that cannot change.

    Raises:
        ProbeDataError: labels that are not different texts when written out.
        sklearn.exceptions.NotFittedError: one of them was not fitted.
    """
    check_is_fitted(probe)
    frozen_novelty = None
    if novelty is not None:
        check_is_fitted(novelty)
        frozen_novelty = FrozenNovelty(novelty.mean_, novelty.basis_, novelty.class_means_, novelty.whitener_)
    classes = tuple(str(label) for label in probe.classes_)
    return FrozenProbe("multinomial-logistic", classes, probe.coef_, probe.intercept_, metadata or {}, frozen_novelty)
