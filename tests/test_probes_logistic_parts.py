"""Parts of the batched solver: every path ends at the same optimum, rows of every kind are read, nothing is written."""

import numpy as np
import pytest
import torch

from probes import batched
from probes.batched import fit_logistic
from probes.errors import ProbeDataError
from probes.logistic_curvature import cheapest_path
from probes.logistic_labels import Labels
from probes.logistic_memory import Memory
from probes.logistic_rows import share_rows


def planted(n=300, d=20, seed=0, heavy=False):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) * (rng.standard_t(1.5, size=(n, d)) if heavy else 1)
    scores = np.tanh(X) @ rng.normal(size=(d, 3))
    return X, (scores + rng.gumbel(size=scores.shape)).argmax(axis=1)


@pytest.mark.parametrize("heavy", [False, True])
@pytest.mark.parametrize("path", ["plain", "sampled", "eigenbasis", "span"])
def test_every_path_ends_at_the_same_optimum(path, heavy, monkeypatch):
    X, y = planted(n=60 if path == "span" else 300, d=80 if path == "span" else 20, heavy=heavy)
    targets, C = np.stack([y, y > 0]), np.array([1.0, 0.05])
    reference = fit_logistic(X, targets, C=C, precision="float64", tol=1e-9, max_iter=2000)
    monkeypatch.setattr(batched, "cheapest_path", lambda *shape: path)
    for precision, tol, nats in (("float64", 1e-9, 1e-11), ("float32", 1e-4, 5e-5), ("bf16", 1e-4, 5e-5)):
        fits = fit_logistic(X, targets, C=C, precision=precision, tol=tol, max_iter=2000)
        assert fits.converged.all()
        np.testing.assert_allclose(fits.objective, reference.objective, rtol=0, atol=nats)


def test_the_path_follows_from_the_shape():
    assert cheapest_path(20_000, 256, 1) == "sampled"
    assert cheapest_path(20_000, 256, 1000) == "eigenbasis"
    assert cheapest_path(200, 4096, 100) == "span"
    assert cheapest_path(5_000, 20_000, 1) == "plain"
    assert cheapest_path(20_000, 256, 24, bands=24) == "eigenbasis"  # a factor for every penalty costs more


@pytest.mark.parametrize("kind", ["float16", "integers", "fortran", "read-only", "reversed", "tensor", "big-endian"])
def test_rows_of_every_kind_are_read_and_left_alone(kind):
    X, y = planted(n=120, d=5)
    X = np.round(X * 8) / 8  # exact in every type
    given = {
        "float16": lambda: X.astype(np.float16),
        "integers": lambda: (X * 8).astype(np.int16),
        "fortran": lambda: np.asfortranarray(X),
        "read-only": lambda: np.frombuffer(X.tobytes()).reshape(X.shape),
        "reversed": lambda: np.ascontiguousarray(X[::-1])[::-1],
        "tensor": lambda: torch.from_numpy(X.astype(np.float32)),
        "big-endian": lambda: X.astype(">f8"),
    }[kind]()
    before = np.asarray(given).copy()
    scale = 8 if kind == "integers" else 1
    fits = fit_logistic(given, y[None], C=1.0 / scale**2, precision="float64", tol=1e-9)
    plain = fit_logistic(X, y[None], C=1.0, precision="float64", tol=1e-9)
    np.testing.assert_allclose(fits.coef[0] * scale, plain.coef[0], atol=1e-7)
    np.testing.assert_array_equal(np.asarray(given), before)


def test_centred_rows_are_taken_as_they_are_and_others_copied():
    X = np.random.default_rng(1).normal(size=(4000, 6)).astype(np.float32)
    centred = X - X.mean(axis=0)
    taken = share_rows(centred, precision="float32", device="cpu")
    copied = share_rows(centred + 3, precision="float32", device="cpu")
    assert taken.values.data_ptr() == centred.ctypes.data
    np.testing.assert_allclose(copied.values.numpy() * copied.scale + copied.mean, centred + 3, atol=1e-5)


def test_codes_with_gaps_and_classes_without_weight_keep_their_names():
    X, y = planted()
    codes = np.array([7, 300, 2])[y]
    weight = np.where(codes == 300, 0.0, 1.0)
    fits = fit_logistic(X, np.stack([codes, codes]), C=1.0, sample_weight=np.stack([np.ones(300), weight]))
    assert fits.classes[0].tolist() == [2, 7, 300]
    assert fits.classes[1].tolist() == [2, 7]
    alone = fit_logistic(X[codes != 300], codes[None, codes != 300], C=1.0)
    np.testing.assert_allclose(fits.objective[1], alone.objective[0], rtol=1e-5)


def test_groups_hold_fits_of_one_kind_and_every_fit_once():
    rng = np.random.default_rng(2)
    targets = np.stack([rng.integers(2 + k % 3, size=50) for k in range(30)])
    labels = Labels.of(targets, 50)
    groups = list(labels.groups(8, None))
    assert sorted(np.concatenate(groups).tolist()) == list(range(30))
    for places in groups:
        sizes = {len(labels.classes[k]) for k in places}
        assert len(sizes) == 1
        assert len(places) * (1 if sizes == {2} else sizes.pop()) <= 8


def test_memories_joined_give_each_fit_its_own_direction():
    generator = torch.Generator().manual_seed(0)
    whole = Memory()
    for _ in range(3):
        step = torch.randn(5, 1, 4, generator=generator, dtype=torch.float64)
        whole.push(step, step * 2 + 0.1 * torch.randn(5, 1, 4, generator=generator, dtype=torch.float64))
    early, late = torch.tensor([2, 0]), torch.tensor([1, 3])
    joined = Memory.joined([(early, whole.of(early)), (late, whole.of(late))])
    gradient = torch.randn(5, 1, 4, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(joined.direction(gradient, torch.clone), whole.direction(gradient, torch.clone))
    assert whole.forget(torch.tensor([True, False, False, False])).tolist() == [False] * 4
    forgotten = whole.direction(gradient, torch.clone)
    torch.testing.assert_close(forgotten[..., 0], -gradient[..., 0])


@pytest.mark.parametrize(
    ("start_targets", "match"),
    [(np.arange(300)[None] % 2, "classes"), (np.stack([np.arange(300) % 3] * 2), "2 fits for 1")],
)
def test_a_start_of_other_fits_is_refused(start_targets, match):
    X, y = planted()
    start = fit_logistic(X, start_targets, C=1.0)
    with pytest.raises(ProbeDataError, match=match):
        fit_logistic(X, y[None], C=1.0, start=start)
