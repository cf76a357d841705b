"""What is asked of one matrix of vectors, and what is answered: many labels, each with all of its controls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probes.code_length import CodeLength
from probes.errors import ProbeDataError
from probes.strength import Learned

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Vectors of one site and step, split into rows to learn from and rows to score on."""

    fit: NDArray[Any]
    """[n_fit, d]."""
    held: NDArray[Any]
    """[n_held, d]."""
    groups_fit: Ints
    groups_held: Ints
    order: Ints
    """Fit rows in the order of online coding: whole groups, at random, [n_fit]."""
    types_fit: Ints
    """What control tasks are functions of (the last word of each prompt, say), [n_fit]."""
    types_held: Ints

    def __post_init__(self) -> None:
        n_fit, n_held = len(self.fit), len(self.held)
        lengths = [len(a) for a in (self.groups_fit, self.order, self.types_fit)]
        if lengths != [n_fit] * 3 or [len(self.groups_held), len(self.types_held)] != [n_held] * 2:
            raise ProbeDataError(f"groups, order and types must have a value for each of {n_fit} + {n_held} rows")


@dataclass(frozen=True, slots=True)
class Question:
    """A label that is asked of a matrix."""

    name: str
    fit: Ints
    """Class codes of the fit rows, [n_fit]; -1 where the label is not known."""
    held: Ints
    n_classes: int
    whole: bool = True
    """Whether it is a cell of its own, with all controls; else only its accuracy is wanted, as somebody's control."""

    @property
    def undefined_because(self) -> str | None:
        """Why nothing can be learned or scored; None where it can."""
        known, asked = self.fit[self.fit >= 0], self.held[self.held >= 0]
        if len(np.unique(known)) < 2:
            return f"the fit rows hold {len(np.unique(known))} values in {len(known)} labelled rows; two are needed"
        if len(asked) < 2:
            return f"{len(asked)} held-out rows have a label; two are needed"
        if len(np.unique(asked)) < 2:
            return f"all {len(asked)} held-out rows hold the same value: any score would be 0 or 1"
        if not np.isin(asked, known).any():
            return f"no fit row holds any value of the {len(asked)} held-out rows: the score would be 0"
        return None


@dataclass(frozen=True, slots=True)
class Bin:
    """Readings whose confidence lies in one range."""

    low: float
    high: float
    confidence: float
    """Mean."""
    right: Bools
    """Of its rows."""
    groups: Ints


@dataclass(frozen=True, slots=True)
class Point:
    """Accuracy on the held-out rows after learning from so many rows."""

    n_fit: int
    right: Bools
    """Of the labelled held-out rows."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How one probe read the held-out rows."""

    coef: Floats
    """[K, d] on raw vectors."""
    intercept: Floats
    classes: Ints
    n_fit: int
    right: Bools
    """[labelled held-out rows]."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a label's probe reads, beside its controls."""

    name: str
    n_fit: int
    groups: Ints
    """Groups of the labelled held-out rows."""
    undefined_because: str | None = None
    right: Bools | None = None
    """Whether each labelled held-out row was read right."""
    learned: Learned | None = None
    """On raw vectors, sharpened."""
    sharpness: float = 1.0
    penalty: float | None = None
    log_loss: float | None = None
    """Nats per held-out row whose value the fit rows hold."""
    auroc: float | None = None
    """Area under the ROC curve, of labels with two values."""
    n_unseen: int = 0
    """Held-out rows whose value no fit row holds: read wrong, and left out of `log_loss`."""
    majority: float | None = None
    shuffles: Floats | None = None
    """Accuracy of a ridge classifier on the true labels, then on each shuffle, [1 + n_shuffles]."""
    control_task: float | None = None
    code: CodeLength | None = None
    curve: tuple[Point, ...] = ()
    reliability: tuple[Bin, ...] = ()
    confusions: tuple[tuple[int, int, int], ...] = ()
    """(value, read as, held-out rows), the commonest first."""

    @property
    def accuracy(self) -> float | None:
        """Share read right; None where undefined."""
        return None if self.right is None else float(self.right.mean())
