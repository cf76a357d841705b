"""Minimum description length by online coding: how cheaply a probe lets the labels be sent (Voita & Titov 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probes.errors import ProbeDataError

Floats = NDArray[np.float64]

FIRST_SHARE = 1 / 64
"""Share of the rows that the first prefix holds; each prefix holds twice as many as the one before."""
LEAST_ROWS = 20


@dataclass(frozen=True, slots=True)
class CodeLength:
    """Bits that the labels take when each block is coded by a probe fitted on the blocks before it."""

    bits: float
    plain_bits: float
    """Bits without vectors: by a uniform code, or block after block by how often each label came before, if shorter."""

    def __post_init__(self) -> None:
        if not (np.isfinite(self.bits) and self.plain_bits > 0 and self.bits >= 0):
            raise ProbeDataError(f"code lengths are finite and positive; found {self.bits} and {self.plain_bits}")

    @property
    def compression(self) -> float:
        """How many times shorter than without vectors; no more than 1 where they tell nothing, common labels or not."""
        return self.plain_bits / max(self.bits, np.finfo(np.float64).tiny)


def prefix_sizes(n: int, n_classes: int) -> list[int]:
    """Rows of each prefix on which a probe is fitted, rising, all below n; none where there are too few rows."""
    least = max(LEAST_ROWS, 2 * n_classes)
    doubled = [round(n * FIRST_SHARE * 2**k) for k in range(6)]
    return [size for size in doubled if least <= size < n]


def code_length(
    log_probas: Sequence[Floats], targets: NDArray[np.intp], sizes: Sequence[int], n_classes: int
) -> CodeLength:
    """Bits of labels in coding order.

    Args:
        log_probas: per prefix, log probabilities (nats) of every class for the rows after it up to the next prefix,
            [rows, n_classes]; minus infinity for a class the prefix lacks.
        targets: class codes of all rows in coding order, [n].
        sizes: rows of each prefix, rising.
        n_classes: how many classes there are.

    The first prefix is sent by a uniform code. A probe fitted on m rows counts for m observations beside one of the
    uniform distribution, so that a label it never saw costs finitely many bits.

    Raises:
        ProbeDataError: no prefix, or blocks that do not follow each other.
    """
    ends = [*sizes[1:], len(targets)]
    if not sizes or len(log_probas) != len(sizes) or any(a >= b for a, b in zip(sizes, ends, strict=True)):
        raise ProbeDataError(f"{len(log_probas)} readings for prefixes of {list(sizes)} in {len(targets)} rows")
    uniform = np.log2(n_classes)
    bits = counted = sizes[0] * uniform
    for log_proba, start, end in zip(log_probas, sizes, ends, strict=True):
        own = log_proba[np.arange(end - start), targets[start:end]]
        mixed = (start * np.exp(own) + 1 / n_classes) / (start + 1)
        bits -= np.log2(mixed).sum()
        before = np.bincount(targets[:start], minlength=n_classes)
        counted -= np.log2((before[targets[start:end]] + 1 / n_classes) / (start + 1)).sum()
    return CodeLength(float(bits), float(min(counted, len(targets) * uniform)))
