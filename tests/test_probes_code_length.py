"""Online coding: labels a probe can read are cheap, labels it cannot read cost what they cost without it."""

import numpy as np
import pytest

from probes.code_length import CodeLength, code_length, prefix_sizes
from probes.errors import ProbeDataError


def readings(targets, sizes, n_classes, share_right):
    """Log probabilities that give the right class `share_right` and the others the rest."""
    ends = [*sizes[1:], len(targets)]
    blocks = []
    for start, end in zip(sizes, ends, strict=True):
        p = np.full((end - start, n_classes), (1 - share_right) / (n_classes - 1))
        p[np.arange(end - start), targets[start:end]] = share_right
        blocks.append(np.log(p))
    return blocks


def test_a_known_code_has_its_known_length():
    targets = np.random.default_rng(0).integers(4, size=640)
    sizes = [80, 160, 320]
    length = code_length(readings(targets, sizes, 4, 0.9), targets, sizes, 4)
    assert length.plain_bits == 1280
    assert length.bits == pytest.approx(80 * 2 - 560 * np.log2(0.9), rel=0.03)
    assert length.compression > 4


def test_guessing_compresses_nothing():
    targets = np.random.default_rng(1).integers(4, size=640)
    length = code_length(readings(targets, [80], 4, 0.25), targets, [80], 4)
    assert length.bits == pytest.approx(length.plain_bits)


def test_a_common_label_is_no_merit_of_the_vectors():
    """A probe that knows nothing but how common each label is saves no bits over counting the labels."""
    targets = (np.random.default_rng(2).random(640) < 0.1).astype(int)
    sizes = [80, 160, 320]
    shares = [np.bincount(targets[:size]) / size for size in sizes]
    ends = [*sizes[1:], 640]
    blocks = [np.tile(np.log(p), (end - size, 1)) for p, size, end in zip(shares, sizes, ends, strict=True)]
    length = code_length(blocks, targets, sizes, 2)
    assert length.plain_bits == pytest.approx(length.bits)
    assert length.plain_bits < 400
    assert length.compression == pytest.approx(1.0)


def test_a_class_that_a_prefix_lacks_costs_finitely_many_bits():
    block = np.array([[0.0, -np.inf]])
    length = code_length([block], np.array([0, 0, 0, 1]), [3], 2)
    assert length.bits == pytest.approx(3 + np.log2(8))


def test_prefixes_double_and_are_large_enough():
    assert prefix_sizes(6400, 4) == [100, 200, 400, 800, 1600, 3200]
    assert prefix_sizes(640, 13) == [40, 80, 160, 320]
    assert prefix_sizes(30, 13) == []


@pytest.mark.parametrize("sizes", [[], [4], [3, 2]])
def test_blocks_that_do_not_follow_each_other_are_refused(sizes):
    with pytest.raises(ProbeDataError):
        code_length([np.zeros((1, 2))] * len(sizes), np.zeros(4, int), sizes, 2)


def test_impossible_lengths_are_refused():
    with pytest.raises(ProbeDataError):
        CodeLength(float("nan"), 10.0)
