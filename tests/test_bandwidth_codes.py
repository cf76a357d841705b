"""Bits that labels have are found, bits that they have not are not; codes give back what they were given."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from probes.errors import ProbeDataError
from probes.information import decodable_bits
from probes.quantise import named_code, principal_axes, scalar_code, vector_code


def split(n):
    return [f"g{k}" for k in range(n)], np.arange(n) % 2 == 1


def planted(n, n_values, *, noise, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.integers(n_values, size=n)
    return rng.normal(size=(n_values, 12))[values] + noise * rng.normal(size=(n, 12)), [f"v{k}" for k in values]


def test_planted_values_give_their_entropy():
    X, labels = planted(400, 4, noise=0.05)
    found = decodable_bits(X, labels, *split(400))
    assert found.bits == pytest.approx(2, abs=0.1)
    assert found.bits <= found.entropy
    assert found.interval.low <= found.bits <= found.interval.high
    assert found.shuffled < 0.1
    assert (found.n, found.n_groups, found.n_labels) == (200, 200, 4)


def test_noise_gives_nothing():
    X, labels = planted(400, 4, noise=0.0)
    found = decodable_bits(np.random.default_rng(9).normal(size=X.shape), labels, *split(400))
    assert found.bits < 0.05
    assert found.interval.low == 0


def test_noisy_values_give_what_a_noisy_channel_passes():
    """A sign seen through a Gaussian channel at signal to noise 1 passes 0.486 bits."""
    rng = np.random.default_rng(1)
    signs = rng.integers(2, size=4000)
    found = decodable_bits((2 * signs - 1 + rng.normal(size=4000))[:, None], [f"{s}" for s in signs], *split(4000))
    assert found.bits == pytest.approx(0.486, abs=0.04)
    assert found.interval.low < 0.486 < found.interval.high


def test_a_set_gives_the_bits_of_its_members():
    rng = np.random.default_rng(2)
    member = rng.integers(2, size=(400, 3))
    labels = [tuple(f"m{k}" for k in range(3) if row[k]) for row in member]
    found = decodable_bits(member + 0.02 * rng.normal(size=member.shape), labels, *split(400))
    assert found.bits == pytest.approx(3, abs=0.15)
    assert found.n_labels == 3
    assert decodable_bits(rng.normal(size=(400, 3)), labels, *split(400)).bits < 0.1


def test_a_value_that_was_never_learned_costs_finitely_many_bits():
    X, labels = planted(200, 3, noise=0.05)
    held = np.arange(200) % 2 == 1
    labels[1] = "never seen"
    assert np.isfinite(decodable_bits(X, labels, [f"g{k}" for k in range(200)], held).pointwise).all()


def test_one_value_has_no_bits():
    X, _ = planted(60, 2, noise=0.1)
    assert decodable_bits(X, ["same"] * 60, *split(60)).bits == 0


def test_misfits_are_refused():
    X, labels = planted(60, 2, noise=0.1)
    groups, held = split(60)
    with pytest.raises(ProbeDataError, match="differ"):
        decodable_bits(X, labels[:-1], groups, held)
    with pytest.raises(ProbeDataError, match="one kind"):
        decodable_bits(X, [("a",), *labels[1:]], groups, held)
    with pytest.raises(ProbeDataError, match="to learn from"):
        decodable_bits(X, labels, groups, np.ones(60, dtype=bool))


def test_a_vector_code_gives_back_the_words_at_the_rate_of_their_number():
    X, labels = planted(400, 8, noise=0.0)
    code = vector_code(X[:200], 8)
    symbols = code.encode(X[200:])
    assert_allclose(code.decode(symbols), X[200:])
    assert code.bits(symbols).mean() == pytest.approx(3, abs=0.15)
    assert len(set(map(tuple, symbols.tolist()))) == len(set(labels)) == 8


def test_one_word_takes_no_bits():
    X, _ = planted(50, 8, noise=0.3)
    code = vector_code(X, 1)
    assert_allclose(code.decode(code.encode(X)), np.tile(X.mean(axis=0), (50, 1)))
    assert_allclose(code.bits(code.encode(X)), 0)


def test_a_named_code_sends_the_value_that_is_read_whatever_else_varies():
    X, labels = planted(400, 8, noise=0.05)
    rng = np.random.default_rng(5)
    X = np.hstack([X, 20 * rng.normal(size=(400, 1))])  # far more than the values differ by
    groups = [f"g{k}" for k in range(200)]
    code = named_code(X[:200], labels[:200], groups)
    symbols = code.encode(X[200:])
    names = np.unique(labels[:200])
    assert (names[symbols[:, 0]] == np.array(labels[200:])).mean() > 0.97
    assert code.bits(symbols).mean() == pytest.approx(3, abs=0.2)
    blind = vector_code(X[:200], 8)
    assert np.abs(blind.decode(blind.encode(X[200:]))[:, :12] - X[200:, :12]).mean() > 0.3
    assert np.abs(code.decode(symbols)[:, :12] - X[200:, :12]).mean() < 0.1


def test_a_named_code_of_one_value_takes_no_bits_and_misfits_are_refused():
    X, labels = planted(30, 3, noise=0.1)
    groups = [f"g{k}" for k in range(30)]
    code = named_code(X, ["same"] * 30, groups)
    assert_allclose(code.bits(code.encode(X)), 0)
    with pytest.raises(ProbeDataError, match="equally many"):
        named_code(X, labels[1:], groups)


def test_a_scalar_code_errs_by_half_its_width_and_no_more():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(300, 5)) * [5, 2, 1, 0.5, 0.1]
    axes = principal_axes(X)
    for width in (1.0, 0.25):
        code = scalar_code(X, axes, 5, width)
        error = (code.decode(code.encode(X)) - X) @ axes.directions
        assert np.abs(error).max() <= width / 2 + 1e-9
    assert np.abs(scalar_code(X, axes, 2, 0.01).decode(scalar_code(X, axes, 2, 0.01).encode(X)) - X).max() > 0.5


def test_the_rate_of_a_scalar_code_is_that_of_a_gaussian_and_does_not_stop_at_the_number_of_rows():
    """Entropy of a finely rounded Gaussian: log2(deviation sqrt(2 pi e) / width) a component."""
    rng = np.random.default_rng(4)
    X, Y = rng.normal(size=(2000, 3)), rng.normal(size=(1000, 3))
    axes = principal_axes(X)
    for width in (0.5, 2.0**-6, 2.0**-12):
        code = scalar_code(X, axes, 3, width)
        true = 3 * np.log2(np.sqrt(2 * np.pi * np.e) / width)
        assert code.bits(code.encode(Y)).mean() == pytest.approx(true, rel=0.12)


def test_tuples_that_recur_cost_no_more_than_their_number():
    X, _ = planted(800, 8, noise=0.0)
    code = scalar_code(X[:400], principal_axes(X[:400]), 7, 0.05)
    assert code.bits(code.encode(X[400:])).mean() == pytest.approx(3, abs=0.15)


def test_symbols_far_beyond_the_fit_rows_are_dear_and_finite():
    X, _ = planted(100, 4, noise=0.1)
    code = scalar_code(X, principal_axes(X), 3, 0.1)
    far = code.bits(code.encode(X + 1e6))
    assert np.isfinite(far).all()
    assert far.min() > 50


def test_constant_rows_have_no_axis_and_take_no_bits():
    X = np.ones((30, 4))
    axes = principal_axes(X)
    assert axes.directions.shape == (4, 0)
    code = scalar_code(X, axes, 0, 1.0)
    assert_allclose(code.decode(code.encode(X)), X)
    assert_allclose(code.bits(code.encode(X)), 0)


def test_impossible_codes_are_refused():
    X, _ = planted(30, 3, noise=0.1)
    with pytest.raises(ProbeDataError, match="at least one word"):
        vector_code(X, 0)
    with pytest.raises(ProbeDataError, match="rank is"):
        scalar_code(X, principal_axes(X), 99, 1.0)
    with pytest.raises(ProbeDataError, match="width above 0"):
        scalar_code(X, principal_axes(X), 1, 0.0)
    with pytest.raises(ProbeDataError, match="finite rows"):
        vector_code(X * np.nan, 2)
