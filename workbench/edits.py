"""What can be done to vectors at a site: functions from what came to what passes on.

An edit takes the tensor `[example, ...]` of one visit and the `Visit` that says whose rows they are, and
returns a tensor of the same shape. Values that belong to problems are given for the whole list of problems;
the edit picks the rows of the visit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.sites import Visit

Edit = Callable[[Tensor, Visit], Tensor]


def zero() -> Edit:
    """Replace every vector by zeros."""
    return lambda vectors, visit: torch.zeros_like(vectors)


Values = Mapping[int, Float[Tensor, "problem ..."]] | Mapping[tuple[int, int], Float[Tensor, "problem ..."]]
"""Step, or (step, visit) where a site fires more than once in a step -> a vector for every problem."""


def _at(values: Values, visit: Visit) -> Tensor | None:
    keyed: Mapping[Any, Tensor] = values
    return keyed.get((visit.step, visit.visit), keyed.get(visit.step))


def replace(values: Values) -> Edit:
    """Replace the vectors of a step, or of a visit, by the given ones; others pass unchanged."""

    def edit(vectors: Tensor, visit: Visit) -> Tensor:
        given = _at(values, visit)
        return vectors if given is None else given[list(visit.examples)].to(vectors)

    return edit


def move_as_far(values: Values, directions: Float[Tensor, "problem ..."]) -> Edit:
    """Norm-matched placebo of `replace`: go as far as the exchange would, in the given unit directions."""

    def edit(vectors: Tensor, visit: Visit) -> Tensor:
        given = _at(values, visit)
        if given is None:
            return vectors
        rows = list(visit.examples)
        distance = (given[rows].to(vectors) - vectors).norm(dim=-1, keepdim=True)
        moved: Tensor = vectors + distance * directions[rows].to(vectors)
        return moved

    return edit


def toward(values: Values, amount: float) -> Edit:
    """Go part of the way to the given vectors: 0 leaves what came, 1 replaces it, more goes beyond."""
    return _moved(values, lambda step: amount * step)


def within(values: Values, basis: Float[Tensor, "rank d"]) -> Edit:
    """Replace only the component in a subspace; what is orthogonal to it stays.

    The formula of TransformerLens' `SubspaceInterchange`, here at any visit of any reasoner.

    Args:
        values: as `replace` takes them.
        basis: orthonormal rows; the axes of a vector are flattened to `d`.
    """
    return _moved(values, lambda step: _project(step, basis))


def outside(values: Values, basis: Float[Tensor, "rank d"]) -> Edit:
    """Replace everything but the component in a subspace."""
    return _moved(values, lambda step: step - _project(step, basis))


def within_as_far(
    values: Values, basis: Float[Tensor, "rank d"], others: Float[Tensor, "problem rank d"] | Float[Tensor, "rank d"]
) -> Edit:
    """Norm-matched placebo of `within`: as far as it goes in `basis`, but in another subspace, each problem in its own.

    The formula of TransformerLens' `NormMatchedPlacebo`.
    """

    def edit(vectors: Tensor, visit: Visit) -> Tensor:
        given = _at(values, visit)
        if given is None:
            return vectors
        rows = list(visit.examples)
        step = given[rows].to(vectors) - vectors
        elsewhere = _project(step, others if others.ndim == 2 else others[rows])
        length = elsewhere.flatten(1).norm(dim=1).clamp_min(torch.finfo(step.dtype).tiny)
        factor = _project(step, basis).flatten(1).norm(dim=1) / length
        moved: Tensor = vectors + elsewhere * factor.view(-1, *[1] * (step.ndim - 1))
        return moved

    return edit


def _moved(values: Values, move: Callable[[Tensor], Tensor]) -> Edit:
    """Add a function of the way to the given vectors."""

    def edit(vectors: Tensor, visit: Visit) -> Tensor:
        given = _at(values, visit)
        if given is None:
            return vectors
        return vectors + move(given[list(visit.examples)].to(vectors) - vectors)

    return edit


def _project(vectors: Tensor, basis: Tensor) -> Tensor:
    """Onto one subspace, or each vector onto its own."""
    rows, axes = vectors.flatten(1)[:, None], basis.to(vectors)
    inside: Tensor = rows @ axes.mT @ axes
    return inside.view_as(vectors)


def noise(directions: Values) -> Edit:
    """Norm-matched noise: vectors of the given unit directions, each as long as what it replaces."""

    def edit(vectors: Tensor, visit: Visit) -> Tensor:
        given = _at(directions, visit)
        if given is None:
            return vectors
        drawn: Tensor = vectors.norm(dim=-1, keepdim=True) * given[list(visit.examples)].to(vectors)
        return drawn

    return edit


def mean_of_others(vectors: Float[Tensor, "problem ..."]) -> Float[Tensor, "problem ..."]:
    """For each problem the mean vector of all others (two problems or more)."""
    return (vectors.sum(0, keepdim=True) - vectors) / (len(vectors) - 1)


def unit_directions(like: Float[Tensor, "problem ..."], seed: int) -> Float[Tensor, "problem ..."]:
    """Random directions of length 1, a placebo's, one for each vector."""
    drawn = torch.randn(like.shape, generator=torch.Generator().manual_seed(seed))
    unit: Tensor = drawn / drawn.norm(dim=-1, keepdim=True)
    return unit.to(like)


def only_steps(edit: Edit, steps: Collection[int]) -> Edit:
    """Apply an edit at some steps and let the others pass."""
    return lambda vectors, visit: edit(vectors, visit) if visit.step in steps else vectors


def only_visits(edit: Edit, visits: Collection[int]) -> Edit:
    """Apply an edit at some visits of every step and let the others pass.

    In a memory a visit is a slot: `only_steps(only_visits(zero(), [2]), [1])` erases slot 2 of episode 1.
    """
    return lambda vectors, visit: edit(vectors, visit) if visit.visit in visits else vectors
