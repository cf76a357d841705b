"""What closed forms need to know of rows: counts, means, scatter and class sums, which add up over shards and folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from probes.errors import ProbeDataError

if TYPE_CHECKING:
    from torch import Tensor

    from probes.moment_blocks import Running

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Precision = Literal["float32", "float64"]

ROUNDING: Mapping[Precision, float] = {"float32": 2.0**-24, "float64": 2.0**-53}
CHUNK_ROWS = (1024, 4096)
CHUNK_VALUES = 4_000_000
"""Rows and numbers of X that one product sees; its temporaries stay small enough to be used again at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Sufficient statistics of n rows, of their class codes and of dense targets; `a + b` is as if both were one.

    Addition follows Chan, Golub and LeVeque (1983): each part is centred at its own mean, so a mean of any size
    costs no digits. It is exact to float64 rounding; the last bits depend on the order, which the caller fixes.
    A row without a class (code -1) counts in `n`, `mean` and `scatter` and in no class sum.
    """

    n: int
    mean: Floats
    """[d]."""
    scatter: Floats
    """Sum over rows of (x - mean)(x - mean)', [d, d]; n times the covariance."""
    n_classes: tuple[int, ...] = ()
    """K of each label."""
    counts: Floats = None  # type: ignore[assignment]  # empty where there are no labels
    """Rows of each class, label after label, [sum K]."""
    sums: Floats = None  # type: ignore[assignment]
    """Sum of x - mean over the rows of each class, label after label, [sum K, d]."""
    target_mean: Floats = None  # type: ignore[assignment]
    """Mean of the dense targets, [k]."""
    target_square: Floats = None  # type: ignore[assignment]
    """Sum over rows of (y - target_mean)^2, [k]."""
    cross: Floats = None  # type: ignore[assignment]
    """Sum over rows of (y - target_mean)(x - mean)', [k, d]."""
    rounding: float = ROUNDING["float64"]
    """Relative rounding of the products that were summed; no direction below it can be trusted."""
    starts: Ints = field(init=False, repr=False)
    """Where the classes of each label begin in `counts` and `sums`, [L]."""

    def __post_init__(self) -> None:
        d, k = len(self.mean), 0 if self.target_mean is None else len(self.target_mean)
        object.__setattr__(self, "n_classes", tuple(int(size) for size in self.n_classes))
        object.__setattr__(self, "starts", np.cumsum((0, *self.n_classes), dtype=np.intp)[:-1])
        rows = sum(self.n_classes)
        shapes = {"mean": (d,), "scatter": (d, d), "counts": (rows,), "sums": (rows, d)}
        for name, shape in (shapes | {"target_mean": (k,), "target_square": (k,), "cross": (k, d)}).items():
            value = getattr(self, name)
            array = np.asarray(np.zeros(shape) if value is None else value, dtype=np.float64)
            if array.shape != shape or not np.isfinite(array).all():
                raise ProbeDataError(f"moments: {name} must be finite and of shape {shape}; found {array.shape}")
            array = array.view()
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if self.n < 0 or min(self.n_classes, default=2) < 2 or (self.counts < 0).any():
            raise ProbeDataError(f"moments: n and counts must be at least 0 and n_classes 2; n={self.n}")
        if self.n_classes and (np.add.reduceat(self.counts, self.starts) > self.n).any():
            raise ProbeDataError(f"moments: a label has more classed rows than there are rows ({self.n})")

    @property
    def d(self) -> int:
        """Numbers in a row."""
        return len(self.mean)

    @property
    def class_counts(self) -> tuple[Floats, ...]:
        """Per label, rows of each class, [K]."""
        return tuple(np.split(self.counts, self.starts[1:])) if self.n_classes else ()

    @property
    def class_sums(self) -> tuple[Floats, ...]:
        """Per label, sum of x - mean over the rows of each class, [K, d]."""
        return tuple(np.split(self.sums, self.starts[1:])) if self.n_classes else ()

    def rows_of(self, label: int) -> slice:
        """Where the classes of a label lie in `counts` and `sums`.

        Raises:
            ProbeDataError: there is no such label, or it lacks rows, so that `scatter` is not about its rows.
        """
        if not 0 <= label < len(self.n_classes):
            raise ProbeDataError(f"moments hold {len(self.n_classes)} labels; there is no label {label}")
        rows = slice(int(self.starts[label]), int(self.starts[label]) + self.n_classes[label])
        classed = int(self.counts[rows].sum())
        if classed < self.n:
            raise ProbeDataError(
                f"label {label} has a class for {classed} of {self.n} rows. A closed form needs the moments of its "
                "own rows: build them from the rows that have this label."
            )
        return rows

    def __add__(self, other: Moments) -> Moments:
        """Moments of the rows of both.

        Raises:
            ProbeDataError: rows of another width, other labels or other dense targets.
        """
        if not isinstance(other, Moments):
            return NotImplemented
        mine, theirs = (self.d, self.n_classes, len(self.cross)), (other.d, other.n_classes, len(other.cross))
        if mine != theirs:
            raise ProbeDataError(f"moments of (d, classes, dense targets) {mine} and {theirs} do not add up")
        rounding = max(self.rounding, other.rounding)
        if not self.n or not other.n:
            return replace(other if other.n else self, rounding=rounding)
        n = self.n + other.n
        share, weight = other.n / n, self.n * other.n / n
        step, target_step = other.mean - self.mean, other.target_mean - self.target_mean
        sums = self.sums - np.multiply.outer(self.counts, share * step)
        sums += other.sums
        sums += np.multiply.outer(other.counts, (1 - share) * step)
        return Moments(
            n=n,
            mean=self.mean + share * step,
            scatter=self.scatter + other.scatter + np.multiply.outer(weight * step, step),
            n_classes=self.n_classes,
            counts=self.counts + other.counts,
            sums=sums,
            target_mean=self.target_mean + share * target_step,
            target_square=self.target_square + other.target_square + weight * target_step**2,
            cross=self.cross + other.cross + np.multiply.outer(weight * target_step, step),
            rounding=rounding,
        )

    def to_tensors(self) -> dict[str, Floats]:
        """Float64 arrays by name, as a safetensors file takes them."""
        values = {name: getattr(self, name) for name in _NAMES}
        return {name: np.ascontiguousarray(np.atleast_1d(value), dtype=np.float64) for name, value in values.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Floats]) -> Self:
        """The inverse of `to_tensors`, bit for bit.

        Raises:
            ProbeDataError: other names, shapes or values than `to_tensors` gives.
        """
        if set(tensors) != set(_NAMES):
            raise ProbeDataError(f"moments need the arrays {', '.join(_NAMES)}; found {', '.join(tensors)}")
        values: dict[str, Any] = dict(tensors)
        if not all(values[name].shape == (1,) and np.isfinite(values[name]).all() for name in ("n", "rounding")):
            raise ProbeDataError("moments: n and rounding must be one finite number each")
        sizes = np.asarray(values["n_classes"])
        if sizes.ndim != 1 or not np.isfinite(sizes).all() or values["mean"].ndim != 1:
            raise ProbeDataError("moments: n_classes and mean must have one axis")
        if values["target_mean"].ndim != 1:
            raise ProbeDataError("moments: target_mean must have one axis")
        values["n_classes"] = tuple(int(size) for size in sizes)
        values["n"], values["rounding"] = int(values["n"][0]), float(values["rounding"][0])
        return cls(**values)


_NAMES = tuple(part.name for part in fields(Moments) if part.init)


class MomentsBuilder:
    """Accumulates moments over blocks of rows that need never be in memory together.

    Each block is shifted by its own mean and multiplied in `precision`; what is kept is float64. Unshifted float32
    products of thoughts lose all digits where a few directions have large means.

    Args:
        d: numbers in a row.
        n_classes: K of each label, at least 2.
        targets_dim: numbers in a dense target, where there are any.
        device: where the products are taken.
        precision: of the products; float32 is right to about 1e-6 of a standard deviation.
    """

    def __init__(
        self,
        d: int,
        n_classes: Sequence[int] = (),
        targets_dim: int | None = None,
        device: str = "cpu",
        precision: Precision = "float32",
    ) -> None:
        if d < 1 or min(n_classes, default=2) < 2 or (targets_dim is not None and targets_dim < 1):
            raise ProbeDataError(
                f"moments need rows of at least 1 number, labels of at least 2 classes and targets of at least 1; "
                f"found d={d}, n_classes={tuple(n_classes)[:5]}, targets_dim={targets_dim}"
            )
        if precision not in ROUNDING:
            raise ProbeDataError(f"precision must be one of {', '.join(ROUNDING)}; found {precision!r}")
        self.d = d
        self.n_classes = tuple(int(size) for size in n_classes)
        self.targets_dim = targets_dim or 0
        self.device = device
        self.precision: Precision = precision
        self._running: Running | None = None

    def add(
        self, X: ArrayLike | Tensor, codes: ArrayLike | Tensor | None = None, targets: ArrayLike | Tensor | None = None
    ) -> None:
        """Add rows X [n, d], their class codes [L, n] (-1 for none) and dense targets [n, k].

        Raises:
            ProbeDataError: shapes that do not fit, codes out of range, or values that are not finite or too large
                for the products. Rows before the one at fault may have been added: start again.
        """
        rows, coded, dense = _sliceable(X), _sliceable(codes), _sliceable(targets)
        n = len(rows) if rows.ndim else 0
        if not self.n_classes and codes is None:
            coded = np.zeros((0, n), dtype=np.intp)
        if not self.targets_dim and targets is None:
            dense = np.zeros((n, 0))
        found = tuple(rows.shape), tuple(coded.shape), tuple(dense.shape)
        expected = (n, self.d), (len(self.n_classes), n), (n, self.targets_dim)
        if found != expected:
            raise ProbeDataError(f"X, codes and targets must have the shapes {expected}; found {found}")
        size = int(np.clip(CHUNK_VALUES // max(self.d, self.targets_dim), *CHUNK_ROWS))
        for start in range(0, n, size):
            end = min(start + size, n)
            self._state().add(rows[start:end], coded[:, start:end], dense[start:end])

    def freeze(self) -> Moments:
        """Moments of what was added so far; more may be added after."""
        return Moments(n_classes=self.n_classes, rounding=ROUNDING[self.precision], **self._state().arrays())

    def _state(self) -> Running:
        if self._running is None:
            from probes.moment_blocks import Running

            self._running = Running(self.d, self.n_classes, self.targets_dim, self.device, self.precision)
        return self._running


def _sliceable(array: Any) -> Any:
    """Tensors and memory maps as they are: only what is being multiplied is ever copied."""
    return array if hasattr(array, "ndim") and hasattr(array, "shape") else np.asarray(array)
