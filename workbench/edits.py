"""What can be done to vectors at a site: functions from what came to what passes on.

An edit takes the tensor `[example, ...]` of one visit and the `Visit` that says whose rows they are, and
returns a tensor of the same shape. Values that belong to problems are given for the whole list of problems;
the edit picks the rows of the visit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.sites import Visit

Edit = Callable[[Tensor, Visit], Tensor]


def zero() -> Edit:
    """Replace every vector by zeros."""
    return lambda vectors, visit: torch.zeros_like(vectors)


def replace(values: Mapping[int, Float[Tensor, "problem ..."]]) -> Edit:
    """Replace the vectors of a step by the given ones; steps that are not named pass unchanged."""

    def edit(vectors: Tensor, visit: Visit) -> Tensor:
        if visit.step not in values:
            return vectors
        return values[visit.step][list(visit.examples)].to(vectors)

    return edit


def move_as_far(
    values: Mapping[int, Float[Tensor, "problem d_model"]], directions: Float[Tensor, "problem d_model"]
) -> Edit:
    """Norm-matched placebo of `replace`: go as far as the exchange would, in the given unit directions."""

    def edit(vectors: Tensor, visit: Visit) -> Tensor:
        if visit.step not in values:
            return vectors
        rows = list(visit.examples)
        distance = (values[visit.step][rows].to(vectors) - vectors).norm(dim=-1, keepdim=True)
        moved: Tensor = vectors + distance * directions[rows].to(vectors)
        return moved

    return edit


def only_steps(edit: Edit, steps: Collection[int]) -> Edit:
    """Apply an edit at some steps and let the others pass."""
    return lambda vectors, visit: edit(vectors, visit) if visit.step in steps else vectors
