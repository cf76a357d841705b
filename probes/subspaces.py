"""The directions that a linear probe reads, as a subspace that can be exchanged, and random ones to compare with."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from probes.errors import ProbeDataError

Floats = NDArray[np.float64]


def class_subspace(coef: ArrayLike, *, exclusive: bool = True) -> Floats:
    """Orthonormal basis of what the classes are read by, [r, d] with r at most K - 1 (K where several may hold).

    Two vectors with equal coordinates in this basis are read alike. Where classes exclude each other, what all
    weights share moves no reading, so the rows are centred first.

    Args:
        coef: weights on raw rows, [K, d], as `FrozenProbe` keeps them: no scaling is left to undo.
        exclusive: whether one class holds at a time.

    Raises:
        ProbeDataError: fewer than two rows, or rows that do not differ.
    """
    weights = np.asarray(coef, dtype=np.float64)
    if weights.ndim != 2 or len(weights) < 2 or not np.isfinite(weights).all():
        raise ProbeDataError(f"weights of two classes or more must be finite [K, d]; found shape {weights.shape}")
    told = weights - weights.mean(axis=0) if exclusive else weights
    _, strength, directions = np.linalg.svd(told, full_matrices=False)
    rank = int((strength > strength[0] * max(weights.shape) * np.finfo(np.float64).eps).sum()) if strength[0] else 0
    if rank == 0:
        raise ProbeDataError("all classes have the same weights: there is nothing that tells them apart")
    basis: Floats = directions[:rank]
    return basis


def random_subspace(rank: int, d: int, *, seed: int) -> Floats:
    """Orthonormal basis of a subspace drawn uniformly among those of this rank, [rank, d].

    Raises:
        ProbeDataError: a rank that does not fit into d dimensions.
    """
    if not 1 <= rank <= d:
        raise ProbeDataError(f"a subspace of {d} dimensions has a rank from 1 to {d}; found {rank}")
    columns, upper = np.linalg.qr(np.random.default_rng(seed).standard_normal((d, rank)))
    basis: Floats = (columns * np.sign(np.diag(upper))).T
    return basis
