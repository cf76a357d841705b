"""What a reader gets: rows with their addresses, and what is known of a site."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import DataQuality


@dataclass(frozen=True, slots=True)
class SiteInfo:
    """What a store holds of one site.

    Attributes:
        name: the site.
        dim: width of its vectors.
        dtype: ``float32`` or ``float16``.
        axes: names of the axes, as the capture declared them.
        rows: vectors in the whole store.
        n_nonfinite: how many of them hold a NaN or an infinity.
    """

    name: str
    dim: int
    dtype: str
    axes: tuple[str, ...]
    rows: int
    n_nonfinite: int


@dataclass(frozen=True, slots=True)
class Selection:
    """Rows of one site in the order of (example, step, visit, pos).

    Attributes:
        vectors: [rows, dim] float32 or float16.
        example, step, visit, pos: [rows] int32, the address of each row.
    """

    vectors: NDArray[Any]
    example: NDArray[np.int32]
    step: NDArray[np.int32]
    visit: NDArray[np.int32]
    pos: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.vectors)


def joined_visits(rows: Selection) -> Selection:
    """One row for each example and step: the vectors of its visits one after the other, at visit 0.

    Raises:
        DataQuality: some steps have more visits than others.
    """
    if not rows.visit.any():
        return rows
    _, first, counts = np.unique(np.stack([rows.example, rows.step]), axis=1, return_index=True, return_counts=True)
    if len(set(counts.tolist())) > 1:
        raise DataQuality(
            "some steps have more visits than others", field="visit",
            expected="as many in every step", found=sorted(set(counts.tolist())),
        )  # fmt: skip
    vectors = rows.vectors.reshape(len(first), -1)
    return Selection(vectors, rows.example[first], rows.step[first], rows.visit[first], rows.pos[first])


def selection_of(vectors: NDArray[Any], address: NDArray[Any]) -> Selection:
    """A selection from vectors [rows, dim] and addresses [rows, 4]."""
    example, step, visit, pos = np.ascontiguousarray(address.T)
    return Selection(vectors, example, step, visit, pos)
