"""What a value tells of the next one, counted from the values themselves: no probe stands between."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import entropy
from scipy.stats.contingency import crosstab

from probes.errors import ProbeDataError

Floats = NDArray[np.float64]


def told_by(before: Sequence[Hashable], after: Sequence[Hashable]) -> Floats:
    """Bits that the value before tells of the value after, row by row, [n]; their mean is the mutual information.

    Plug-in, from the contingency table. Few rows bias it upward (Paninski 2003, doi:10.1162/089976603321780272), so
    what is left of a sum of bits once it is taken off is never too much for it.

    Raises:
        ProbeDataError: no rows, or not equally many.
    """
    first, second = _codes(before), _codes(after)
    if len(first) != len(second):
        raise ProbeDataError(f"{len(first)} values and {len(second)} after them are not pairs")
    counts = crosstab(first, second).count
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / len(first)
    ratio = counts[first, second] / expected[first, second]
    return np.asarray(np.log2(ratio), dtype=np.float64)


def entropy_of(values: Sequence[Hashable]) -> float:
    """Plug-in entropy, bits; a set is one value.

    Raises:
        ProbeDataError: there are no values.
    """
    return float(entropy(np.bincount(_codes(values)), base=2))


def _codes(values: Sequence[Hashable]) -> NDArray[np.intp]:
    if not len(values):
        raise ProbeDataError("there are no values to count")
    numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
    return np.array([numbers[value] for value in values], dtype=np.intp)
