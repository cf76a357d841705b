"""P-values of the cells of a grid, corrected for its size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def max_statistic(accuracies: Sequence[Floats]) -> Floats:
    """Corrected p-value of each cell of a grid, by the largest standardised accuracy over the grid (Westfall & Young).

    The true accuracy of a cell and those of its refits on shuffled labels are standardised together, so that under
    the null hypothesis they are exchangeable; a cell is as surprising as the share of shuffles whose largest cell
    anywhere in the grid is at least as large. Shuffle number k must permute groups in the same way in every cell.

    Args:
        accuracies: per cell [1 + n_shuffles], the true labels first; equally many everywhere.

    Returns:
        [n_cells], (1 + shuffles at least as large) / (1 + shuffles).
    """
    if not len(accuracies):
        return np.empty(0)
    table = np.stack(accuracies)
    spread = table.std(axis=1, keepdims=True)
    standard = (table - table.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1.0)
    largest = standard[:, 1:].max(axis=0)
    # A hair's breadth: equal accuracies must count as equal after standardising.
    at_least = (largest[None, :] >= standard[:, :1] - 1e-9).sum(axis=1)
    return np.asarray((1 + at_least) / table.shape[1])
