"""Thoughts through a code: what passes on is what the symbols say, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from probes.quantise import Code
from workbench.edits import Edit
from workbench.sites import Visit

Place = tuple[int, int]
"""(step, visit)."""
Codes = Mapping[Place, Code]


def quantise(codes: Codes) -> Edit:
    """Replace the thoughts at these places by what their code makes of them; others pass unchanged."""

    def edit(vectors: Tensor, visit: Visit) -> Tensor:
        code = codes.get((visit.step, visit.visit))
        if code is None:
            return vectors
        decoded = code.decode(code.encode(flat(vectors)))
        return torch.from_numpy(decoded).to(vectors).reshape(vectors.shape)

    return edit


def flat(vectors: Tensor) -> Float[np.ndarray, "row number"]:
    """Vectors as rows of numbers; what is not finite becomes one, as no code has a symbol for it."""
    rows: NDArray[np.float64] = vectors.detach().double().cpu().reshape(len(vectors), -1).numpy()
    return np.nan_to_num(rows)
