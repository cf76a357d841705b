"""Moments are those of the rows, add up in any order, and lose no digits to large means."""

from __future__ import annotations

import functools
import itertools
import operator

import numpy as np
import pytest
import torch

from probes import byte_products
from probes.byte_products import Digits
from probes.errors import ProbeDataError
from probes.moments import Moments, MomentsBuilder

FIELDS = ("mean", "scatter", "counts", "sums", "target_mean", "target_square", "cross")


def rows_and_labels(seed=0, *, n=3000, d=24, n_classes=(2, 2, 5, 2, 40), offset=0.0, targets=3):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + offset
    codes = np.stack([rng.integers(size, size=n) for size in n_classes]) if n_classes else None
    return X, codes, X[:, :targets] * 2 + rng.normal(size=(n, targets))


def built(X, codes, Y, n_classes, *, precision="float64", cuts=()):
    builder = MomentsBuilder(X.shape[1], n_classes, Y.shape[1], precision=precision)
    edges = [0, *cuts, len(X)]
    for start, end in itertools.pairwise(edges):
        builder.add(X[start:end], codes[:, start:end], Y[start:end])
    return builder.freeze()


def by_hand(X, codes, Y, n_classes):
    centred, targets = X - X.mean(axis=0), Y - Y.mean(axis=0)
    hot = [np.eye(size)[own] for size, own in zip(n_classes, codes, strict=True)]
    return {
        "mean": X.mean(axis=0),
        "scatter": centred.T @ centred,
        "counts": np.concatenate([one.sum(axis=0) for one in hot]),
        "sums": np.concatenate([one.T @ centred for one in hot]),
        "target_mean": Y.mean(axis=0),
        "target_square": np.square(targets).sum(axis=0),
        "cross": targets.T @ centred,
    }


def assert_close(found, expected, *, rtol):
    for name in FIELDS:
        wanted = expected[name] if isinstance(expected, dict) else getattr(expected, name)
        np.testing.assert_allclose(getattr(found, name), wanted, rtol=rtol, atol=rtol * np.abs(wanted).max(initial=0))


N_CLASSES = (2, 2, 5, 2, 40)


@pytest.mark.parametrize(("precision", "rtol"), [("float64", 1e-11), ("float32", 1e-5)])
def test_they_are_those_of_the_rows(precision, rtol):
    X, codes, Y = rows_and_labels(n_classes=N_CLASSES)
    found = built(X, codes, Y, N_CLASSES, precision=precision)
    assert found.n == len(X)
    assert_close(found, by_hand(X, codes, Y, N_CLASSES), rtol=rtol)
    np.testing.assert_array_equal(found.scatter, found.scatter.T)
    assert [sums.shape for sums in found.class_sums] == [(size, X.shape[1]) for size in N_CLASSES]
    assert [int(counts.sum()) for counts in found.class_counts] == [len(X)] * len(N_CLASSES)


def test_a_stream_of_blocks_gives_what_one_block_gives():
    X, codes, Y = rows_and_labels(n=12_000, n_classes=N_CLASSES)  # more than one product even as one block
    whole = built(X, codes, Y, N_CLASSES)
    assert_close(built(X, codes, Y, N_CLASSES, cuts=(1, 40, 5000, 11_999)), whole, rtol=1e-9)


def test_the_order_of_merging_does_not_matter():
    X, codes, Y = rows_and_labels(n_classes=N_CLASSES)
    parts = [built(X[k::7], codes[:, k::7], Y[k::7], N_CLASSES) for k in range(7)]
    forward = functools.reduce(operator.add, parts)
    assert_close(forward, built(X, codes, Y, N_CLASSES), rtol=1e-9)
    assert_close(functools.reduce(operator.add, parts[::-1]), forward, rtol=1e-12)
    pairs = (parts[0] + parts[1]) + (parts[2] + parts[3]) + ((parts[4] + parts[5]) + parts[6])
    assert_close(pairs, forward, rtol=1e-12)


def test_nothing_is_the_neutral_element():
    X, codes, Y = rows_and_labels(n_classes=N_CLASSES)
    some, none = built(X, codes, Y, N_CLASSES), built(X[:0], codes[:, :0], Y[:0], N_CLASSES)
    assert none.n == 0
    for total in (some + none, none + some):
        assert all(np.array_equal(getattr(total, name), getattr(some, name)) for name in FIELDS)


def test_a_mean_far_larger_than_the_deviation_costs_no_digits():
    rng = np.random.default_rng(3)
    X = (60 + 0.1 * rng.normal(size=(6000, 32))).astype(np.float32)
    codes = rng.integers(2, size=(1, 6000))
    found = MomentsBuilder(32, [2])
    found.add(X[:2500], codes[:, :2500])
    found.add(X[2500:], codes[:, 2500:])
    exact = X.astype(np.float64) - X.astype(np.float64).mean(axis=0)
    expected = exact.T @ exact
    assert np.linalg.norm(found.freeze().scatter - expected) < 1e-6 * np.linalg.norm(expected)
    unshifted = (X.T @ X).astype(np.float64) - len(X) * np.outer(X.mean(axis=0), X.mean(axis=0)).astype(np.float64)
    assert np.linalg.norm(unshifted - expected) > 0.1 * np.linalg.norm(expected)  # why rows are shifted


def test_rows_of_few_bits_are_not_rounded_all_the_same_way():
    """A shift with more bits than the rows would give each of them the same last bits."""
    rng = np.random.default_rng(8)
    X = (60 + rng.normal(size=(4096, 32))).astype(np.float16)
    codes = rng.integers(2, size=(1, 4096))
    fine, coarse = (MomentsBuilder(32, [2], precision=name) for name in ("float64", "float32"))
    for builder in (fine, coarse):
        builder.add(X, codes)
    expected, found = fine.freeze(), coarse.freeze()
    np.testing.assert_allclose(found.scatter, expected.scatter, atol=1e-7 * expected.scatter.max())
    np.testing.assert_allclose(found.sums, expected.sums, rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_float64_products_of_coarser_rows_lose_nothing(dtype):
    X, codes, Y = rows_and_labels(n_classes=N_CLASSES, offset=60)
    X, Y = X.astype(dtype), Y.astype(dtype)
    expected = by_hand(X.astype(np.float64), codes, Y.astype(np.float64), N_CLASSES)
    assert_close(built(X, codes, Y, N_CLASSES), expected, rtol=1e-11)
    assert_close(built(X, codes, Y, N_CLASSES, precision="float32"), expected, rtol=1e-5)


def test_blocks_whose_means_drift_far_apart():
    rng = np.random.default_rng(4)
    X = 0.1 * rng.normal(size=(4000, 8)) + np.repeat([[-300.0], [300.0]], 2000, axis=0)
    codes = rng.integers(3, size=(1, 4000))
    Y = rng.normal(size=(4000, 1))
    assert_close(built(X, codes, Y, [3], precision="float32", cuts=(2000,)), by_hand(X, codes, Y, [3]), rtol=1e-6)


def test_rows_without_a_class_are_in_no_class_sum():
    X, codes, Y = rows_and_labels(n_classes=N_CLASSES)
    missing = np.random.default_rng(5).random(codes.shape) < 0.3
    missing[3] = False
    found = built(X, np.where(missing, -1, codes), Y, N_CLASSES)
    centred = X - X.mean(axis=0)
    for label, size in enumerate(N_CLASSES):
        hot = np.eye(size)[codes[label]] * ~missing[label][:, None]
        np.testing.assert_allclose(found.class_sums[label], hot.T @ centred, atol=1e-9)
        np.testing.assert_array_equal(found.class_counts[label], hot.sum(axis=0))
    with pytest.raises(ProbeDataError, match=r"label 0 has a class for 2[01][0-9]{2} of 3000 rows"):
        found.rows_of(0)
    assert found.rows_of(3) == slice(9, 11)


def test_many_labels_of_mixed_sizes_land_in_their_own_rows():
    n_classes = tuple(np.random.default_rng(6).choice([2, 3, 7, 20], size=60))
    X, codes, Y = rows_and_labels(n=500, n_classes=n_classes)
    assert_close(built(X, codes, Y, n_classes), by_hand(X, codes, Y, n_classes), rtol=1e-10)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint32, np.int64, bool])
def test_codes_of_any_whole_type(dtype):
    X, codes, Y = rows_and_labels(n=200, n_classes=(2,))
    expected = built(X, codes, Y, (2,))
    given = codes.astype(dtype)
    given.setflags(write=False)
    assert_close(built(X, given, Y, (2,)), expected, rtol=1e-15)


@pytest.mark.parametrize("given", ["float16", "read-only", "backwards", "big-endian", "tensor", "bfloat16"])
def test_rows_of_any_kind(given):
    X = np.random.default_rng(7).integers(-8, 9, size=(300, 6)).astype(np.float32)  # exact in every type
    expected = built(X, np.zeros((0, 300), int), np.ones((300, 1)), ())
    kinds = {
        "float16": X.astype(np.float16),
        "read-only": np.broadcast_to(X, X.shape),
        "backwards": np.ascontiguousarray(X[::-1])[::-1],
        "big-endian": X.astype(">f4"),
        "tensor": torch.from_numpy(X).requires_grad_(),
        "bfloat16": torch.from_numpy(X).bfloat16(),
    }
    builder = MomentsBuilder(6)
    builder.add(kinds[given])
    np.testing.assert_allclose(builder.freeze().scatter, expected.scatter, rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(builder.freeze().mean, expected.mean, rtol=1e-12)


@pytest.mark.parametrize("spread", [0.1, 1e-30, 1e14, "far out"])
def test_a_thousand_labels_in_bytes_are_as_exact_as_in_float32(spread, monkeypatch):
    """The products in bytes are forced where this machine would not choose them."""
    monkeypatch.setattr(byte_products, "bytes_are_faster", lambda: True)
    rng = np.random.default_rng(9)
    X = rng.normal(size=(5000, 16)) * (0.1 if spread == "far out" else spread) * 10.0 ** rng.uniform(-3, 3, 16)
    X[:, 3] = 0
    if spread == "far out":
        X[17] *= 1e6
    X = X.astype(np.float32)
    codes = rng.integers(-1, 3, size=(300, 5000))
    found, expected = (MomentsBuilder(16, [3] * 300, precision=name) for name in ("float32", "float64"))
    for builder in (found, expected):
        builder.add(X, codes)
    size = np.sqrt(np.diag(expected.freeze().scatter) / 3)  # of the sum of a class whose rows differ at random
    assert (np.abs(found.freeze().sums - expected.freeze().sums) <= 3e-6 * size).all()
    np.testing.assert_array_equal(found.freeze().counts, expected.freeze().counts)
    centred = X.astype(np.float64) - X.astype(np.float64).mean(axis=0)
    assert (np.abs(expected.freeze().class_sums[7][2] - centred[codes[7] == 2].sum(axis=0)) <= 1e-9 * size).all()


def test_rows_in_digits_are_the_rows(monkeypatch):
    monkeypatch.setattr(byte_products, "bytes_are_faster", lambda: True)
    rows = torch.randn(500, 7, generator=torch.Generator().manual_seed(0)) * torch.logspace(-6, 6, 7)
    rows[:, 3] = rows[:, 3].clamp(-0.999, 0.997)  # near the largest number that the digits write
    rows[9], rows[:, 5] = -rows[9], 0
    digits = Digits.of(rows)
    counts, found = digits.sums(torch.eye(500, dtype=torch.int8))
    assert (counts == 1).all()
    assert ((found - rows).abs().amax(0) <= rows.abs().amax(0) * 2.0**-22).all()
    rows[3, 2] = 1e4 * rows[:, 2].abs().max()
    assert Digits.of(rows) is None  # the other rows of this column would be left with few digits


def test_adding_leaves_the_rows_as_they_were():
    X, codes, Y = rows_and_labels(n_classes=N_CLASSES)
    rows, dense = X.astype(np.float32), Y.copy()
    kept = rows.copy()
    built(rows, codes, dense, N_CLASSES)
    built(X, codes, dense, N_CLASSES)
    np.testing.assert_array_equal(rows, kept)
    np.testing.assert_array_equal(dense, Y)


def test_equal_rows_give_equal_bytes_and_survive_their_tensors():
    X, codes, Y = rows_and_labels(n_classes=N_CLASSES)
    first, again = (built(X, codes, Y, N_CLASSES, precision="float32").to_tensors() for _ in range(2))
    assert {name: array.tobytes() for name, array in first.items()} == {
        name: array.tobytes() for name, array in again.items()
    }
    assert all(array.dtype == np.float64 for array in first.values())
    back = Moments.from_tensors(first)
    assert back.n == len(X)
    assert back.n_classes == N_CLASSES
    assert all(array.tobytes() == first[name].tobytes() for name, array in back.to_tensors().items())


def test_they_cannot_be_changed_and_can_be_taken_midway():
    X, codes, Y = rows_and_labels(n_classes=N_CLASSES)
    builder = MomentsBuilder(X.shape[1], N_CLASSES, 3, precision="float64")
    builder.add(X[:100], codes[:, :100], Y[:100])
    midway = builder.freeze()
    kept = midway.to_tensors()
    builder.add(X[100:], codes[:, 100:], Y[100:])
    builder.freeze()
    assert all(np.array_equal(array, kept[name]) for name, array in midway.to_tensors().items())
    with pytest.raises(ValueError, match="read-only"):
        midway.scatter[0, 0] = 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, c, Y: (X[:, :3], c, Y), "must have the shapes"),
        (lambda X, c, Y: (X, c[:, :9], Y), "must have the shapes"),
        (lambda X, c, Y: (X, None, Y), "must have the shapes"),
        (lambda X, c, Y: (X, c, None), "must have the shapes"),
        (lambda X, c, Y: (X, c + 1, Y), "codes of label 0 must lie in -1 .* to 1; found 1 to 2"),
        (lambda X, c, Y: (X, c - 2, Y), "codes of label 0 must lie in"),
        (lambda X, c, Y: (X, c * 1.0, Y), "whole numbers"),
        (lambda X, c, Y: (np.where(X[7, 1] == X, np.nan, X), c, Y), "X holds values that are not finite"),
        (lambda X, c, Y: (X, c, np.where(Y[7, 1] == Y, np.inf, Y)), "targets holds values that are not finite"),
        (lambda X, c, Y: (X * 1e30, c, Y), "overflow; use precision='float64'"),
        (lambda X, c, Y: (X.astype(str), c, Y), "must hold numbers"),
    ],
)
def test_what_cannot_be_added_is_refused(change, message):
    X, codes, Y = rows_and_labels(n=50, n_classes=(2, 5))
    builder = MomentsBuilder(X.shape[1], (2, 5), 3)
    with pytest.raises(ProbeDataError, match=message):
        builder.add(*change(X, codes, Y))


def test_builders_and_moments_refuse_what_is_impossible():
    for wrong in ({"d": 0}, {"d": 2, "n_classes": [1]}, {"d": 2, "targets_dim": 0}, {"d": 2, "precision": "bf16"}):
        with pytest.raises(ProbeDataError):
            MomentsBuilder(**wrong)
    X, codes, Y = rows_and_labels(n=50, n_classes=(2, 5))
    one, tensors = built(X, codes, Y, (2, 5)), built(X, codes, Y, (2, 5)).to_tensors()
    with pytest.raises(ProbeDataError, match="do not add up"):
        _ = one + built(X[:, :9], codes, Y, (2, 5))
    for name, wrong in (
        ("n", np.array([3.0])),
        ("n", np.array([np.nan])),
        ("counts", -tensors["counts"]),
        ("scatter", tensors["scatter"] * np.nan),
        ("sums", tensors["sums"][1:]),
        ("n_classes", np.array([7.0])[None]),
    ):
        with pytest.raises(ProbeDataError):
            Moments.from_tensors(tensors | {name: wrong})
    with pytest.raises(ProbeDataError, match="need the arrays"):
        Moments.from_tensors({})
