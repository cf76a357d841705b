"""Edits do to vectors what they say, row by row, and nothing else."""

import numpy as np
import pytest
import torch
from transformer_lens.tools.analysis.interchange import (
    NormMatchedPlacebo,
    SubspaceInterchange,
    probe_basis,
    random_basis,
)

from probes.subspaces import class_subspace, random_subspace
from workbench import edits
from workbench.sites import Visit

N, D, RANK = 7, 20, 4
VISIT = Visit("thought", step=1, visit=0, examples=(4, 0, 6))
ROWS = list(VISIT.examples)


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


CAME = drawn(0, len(ROWS), D)
DONORS = drawn(1, N, D)
VALUES = {(1, 0): DONORS}
BASIS, OTHER = (torch.as_tensor(random_subspace(RANK, D, seed=seed), dtype=torch.float32) for seed in (2, 3))
EVERY_EDIT = {
    "toward": lambda values: edits.toward(values, 0.5),
    "within": lambda values: edits.within(values, BASIS),
    "outside": lambda values: edits.outside(values, BASIS),
    "within_as_far": lambda values: edits.within_as_far(values, BASIS, OTHER),
    "noise": edits.noise,
}


@pytest.mark.parametrize("name", EVERY_EDIT)
def test_other_steps_pass_unchanged(name):
    elsewhere = Visit("thought", step=2, visit=0, examples=VISIT.examples)
    assert EVERY_EDIT[name](VALUES)(CAME, elsewhere) is CAME


@pytest.mark.parametrize("amount", [0.0, 0.25, 1.0, 1.5])
def test_toward_goes_that_share_of_the_way(amount):
    went = edits.toward(VALUES, amount)(CAME, VISIT) - CAME
    torch.testing.assert_close(went, amount * (DONORS[ROWS] - CAME))


def test_within_exchanges_the_part_and_leaves_the_complement():
    new = edits.within(VALUES, BASIS)(CAME, VISIT)
    rest = torch.eye(D) - BASIS.T @ BASIS
    torch.testing.assert_close(new @ BASIS.T, DONORS[ROWS] @ BASIS.T, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(new @ rest, CAME @ rest, atol=1e-5, rtol=1e-5)


def test_outside_exchanges_the_complement_and_leaves_the_part():
    new = edits.outside(VALUES, BASIS)(CAME, VISIT)
    rest = torch.eye(D) - BASIS.T @ BASIS
    torch.testing.assert_close(new @ BASIS.T, CAME @ BASIS.T, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(new @ rest, DONORS[ROWS] @ rest, atol=1e-5, rtol=1e-5)


def test_the_placebo_of_a_part_goes_as_far_in_the_other_subspace_only():
    moved = edits.within_as_far(VALUES, BASIS, OTHER)(CAME, VISIT) - CAME
    reference = edits.within(VALUES, BASIS)(CAME, VISIT) - CAME
    torch.testing.assert_close(moved.norm(dim=1), reference.norm(dim=1), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(moved @ OTHER.T @ OTHER, moved, atol=1e-5, rtol=1e-5)


def test_a_placebo_of_no_move_moves_nothing():
    own = torch.zeros(N, D)
    own[ROWS] = CAME
    assert torch.equal(edits.within_as_far({1: own}, BASIS, OTHER)(CAME, VISIT), CAME)


def test_parts_are_exchanged_as_transformer_lens_exchanges_them():
    inside = SubspaceInterchange(BASIS.T)
    placebo = NormMatchedPlacebo(inside, random_basis(D, RANK, seed=5))
    theirs = placebo.basis.T.contiguous()
    torch.testing.assert_close(edits.within(VALUES, BASIS)(CAME, VISIT), inside(CAME, DONORS[ROWS]))
    ours = edits.within_as_far(VALUES, BASIS, theirs)(CAME, VISIT)
    torch.testing.assert_close(ours, placebo(CAME, DONORS[ROWS]))


def test_the_subspace_of_a_probe_is_that_of_transformer_lens():
    coef = drawn(7, RANK + 1, D)
    ours, theirs = class_subspace(coef.numpy()), probe_basis(coef).numpy()
    np.testing.assert_allclose(ours.T @ ours, theirs @ theirs.T, atol=1e-5)


def test_vectors_with_several_axes_are_exchanged_as_one():
    came, donors = CAME.view(len(ROWS), 4, 5), DONORS.view(N, 4, 5)
    new = edits.within({1: donors}, BASIS)(came, VISIT)
    assert new.shape == came.shape
    torch.testing.assert_close(new.flatten(1), edits.within(VALUES, BASIS)(CAME, VISIT))


def test_noise_is_as_long_as_what_it_replaces_and_points_where_it_is_told():
    directions = edits.unit_directions(DONORS, 0)
    new = edits.noise({1: directions})(CAME, VISIT)
    torch.testing.assert_close(new.norm(dim=1), CAME.norm(dim=1))
    torch.testing.assert_close(new / new.norm(dim=1, keepdim=True), directions[ROWS])


def test_the_mean_of_others_leaves_each_problem_out():
    means = edits.mean_of_others(DONORS)
    for i in range(N):
        torch.testing.assert_close(means[i], torch.cat([DONORS[:i], DONORS[i + 1 :]]).mean(0))
