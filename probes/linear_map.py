"""A linear map from thoughts to scores of classes, as closed forms find it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from probes.errors import ProbeDataError

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """Scores `x @ coef.T + intercept`; the class with the highest is read."""

    coef: Floats
    """Weights on raw rows, [K, d]."""
    intercept: Floats
    """[K]."""
    classes: Ints
    """Code of the class of each row of `coef`, rising, [K]; classes without a row to learn from are not there."""

    def __post_init__(self) -> None:
        if self.coef.ndim != 2 or self.intercept.shape != self.classes.shape != (len(self.coef),):
            raise ProbeDataError(
                f"coef [K, d], intercept [K] and classes [K] do not fit: found {self.coef.shape}, "
                f"{self.intercept.shape} and {self.classes.shape}"
            )
        if not (np.isfinite(self.coef).all() and np.isfinite(self.intercept).all()):
            raise ProbeDataError("coef and intercept must be finite")

    def scores(self, X: ArrayLike) -> Floats:
        """Of each class for each row of X [n, d], [n, K]."""
        scores: Floats = np.asarray(X, dtype=np.float64) @ self.coef.T + self.intercept
        return scores

    def read(self, X: ArrayLike) -> Ints:
        """Code of the best class of each row, [n]."""
        read: Ints = self.classes[self.scores(X).argmax(axis=1)]
        return read
