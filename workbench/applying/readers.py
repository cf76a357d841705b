"""What reads the vectors of one site at one step: a probe of a fit, or a lens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from probes import FrozenProbe
from workbench.errors import ConfigError, CorruptArtifact
from workbench.reports.apply_records import Measured
from workbench.reports.fit_records import FitRecord

TOP = 5
"""Readings of each vector that are kept, likeliest first."""


@dataclass(frozen=True, slots=True, eq=False)
class Likeliest:
    """The likeliest readings of some vectors."""

    texts: list[list[str]]
    """[row][place], likeliest first."""
    scores: Float[np.ndarray, "row place"]
    """Their probabilities, as the reader has them."""


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What a reader is asked for, and what is known of it."""

    name: str
    """Of the reader with this label; no other has it."""
    label: str
    known: Sequence[str | None]
    """Known value of each problem of the run."""
    shuffled: float | None = None
    """What the reader is worth on shuffled labels, from its fit."""
    fitted: Measured | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """One reader, where it reads, and what it is asked for: a probe for one label, a lens for several."""

    site: str
    step: int
    visit: int | None
    """Which visit of the step it reads; None for all of them together."""
    kind: str
    asked: tuple[Asked, ...]
    read: Callable[[NDArray[Any]], Likeliest]
    """From vectors [row, width]."""


def place_of(probe: FrozenProbe, fit: Path) -> tuple[str, int]:
    """Site and step that a probe reads.

    Raises:
        CorruptArtifact: it does not say.
    """
    try:
        return probe.metadata["site"], probe.metadata["step"]
    except KeyError as error:
        raise CorruptArtifact("a probe does not say where it reads", path=fit, field=str(error)) from error


def probe_reader(
    name: str, probe: FrozenProbe, known: Sequence[str | None], fitted: Measured | None, fit: Path
) -> Reader:
    """A probe as a reader."""

    def read(vectors: NDArray[Any]) -> Likeliest:
        if vectors.shape[1] != probe.coef.shape[1]:
            raise ConfigError(
                "the run's vectors are of another width than the probe's", field=name, expected=probe.coef.shape[1],
                found=vectors.shape[1],
            )  # fmt: skip
        scores = probe.log_proba(vectors)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :TOP]
        texts = [[probe.classes[k] for k in row] for row in best]
        return Likeliest(texts, np.exp(np.take_along_axis(scores, best, axis=1)))

    site, step = place_of(probe, fit)
    asked = Asked(name, probe.metadata["label"], known, probe.metadata.get("shuffled"), fitted)
    return Reader(site, step, None, probe.kind, (asked,), read)


def measured_by(record: FitRecord) -> Mapping[tuple[str, int, str, str], Measured]:
    """What a fit measured of each of its probes on rows that it held out, by site, step, label and probe."""
    return {
        cell.key: Measured(accuracy=cell.accuracy, interval=cell.interval, control=cell.shuffled, n=cell.n)
        for cell in record.fits
        if cell.accuracy is not None
    }
