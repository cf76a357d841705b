"""The subspace of a probe holds all that it reads; random ones are what they should be."""

import numpy as np
import pytest

from probes import FrozenProbe, ProbeDataError
from probes.subspaces import class_subspace, random_subspace

RNG = np.random.default_rng(0)


def test_rows_that_differ_only_outside_the_subspace_are_read_alike():
    coef, rows, others = RNG.normal(size=(5, 16)), RNG.normal(size=(30, 16)), RNG.normal(size=(30, 16))
    probe = FrozenProbe("lda", tuple("abcde"), coef, RNG.normal(size=5))
    basis = class_subspace(coef)
    assert basis.shape == (4, 16)
    np.testing.assert_allclose(basis @ basis.T, np.eye(4), atol=1e-12)
    mixed = others + (rows - others) @ basis.T @ basis
    np.testing.assert_allclose(probe.log_proba(mixed), probe.log_proba(rows), atol=1e-9)


def test_weights_that_all_classes_share_are_no_part_of_it_unless_several_may_hold():
    coef = np.zeros((3, 6))
    coef[:, 5] = 2.0
    coef[0, 0], coef[1, 1], coef[2, 2] = 1.0, 1.0, 1.0
    assert np.allclose(class_subspace(coef)[:, 5], 0)
    together = class_subspace(coef, exclusive=False)
    assert together.shape == (3, 6)
    assert np.abs(together[:, 5]).max() > 0.1


def test_dependent_weights_have_a_smaller_rank():
    direction = RNG.normal(size=(1, 8))
    assert class_subspace(np.concatenate([direction, 2 * direction, -direction])).shape == (1, 8)


@pytest.mark.parametrize("coef", [np.ones((1, 4)), np.ones((3, 4)), np.full((2, 4), np.nan), np.ones(4)])
def test_weights_that_tell_nothing_are_refused(coef):
    with pytest.raises(ProbeDataError):
        class_subspace(coef)


def test_random_subspaces_are_orthonormal_seeded_and_cover_their_share():
    basis = random_subspace(5, 40, seed=1)
    np.testing.assert_allclose(basis @ basis.T, np.eye(5), atol=1e-12)
    np.testing.assert_array_equal(basis, random_subspace(5, 40, seed=1))
    covered = [np.square(random_subspace(5, 40, seed=seed)[:, 0]).sum() for seed in range(400)]
    assert np.mean(covered) == pytest.approx(5 / 40, abs=0.015)


@pytest.mark.parametrize("rank", [0, 41])
def test_ranks_that_do_not_fit_are_refused(rank):
    with pytest.raises(ProbeDataError, match="rank from 1 to 40"):
        random_subspace(rank, 40, seed=0)
