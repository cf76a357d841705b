"""Planted vectors and labels for timing probes: spectra as residual streams have them, labels of any difficulty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Planted:
    """Standardised rows to learn from and to score on, and many binary labels of each."""

    X: Floats32
    """[n, d]."""
    y: NDArray[np.int8]
    """[labels, n]."""
    X_test: Floats32
    y_test: NDArray[np.int8]


def planted(n: int, d: int, n_labels: int, *, n_test: int = 5000, hostile: bool = False, seed: int = 0) -> Planted:
    """Variance falling as a power law in a turned basis, clusters, massive directions; labels mostly linear.

    Args:
        n: rows to learn from.
        d: features.
        n_labels: binary labels; one class holds 10 to 50 % of the rows.
        n_test: rows to score on.
        hostile: also unbalanced labels (1 to 10 %), heavy-tailed features and collinear columns.
        seed: of everything.
    """
    rng = np.random.default_rng(seed)
    total = n + n_test
    deviation = np.arange(1, d + 1) ** -0.5
    latent = rng.standard_normal((total, d), dtype=np.float32)
    latent += 0.7 * rng.standard_normal((32, d), dtype=np.float32)[rng.integers(32, size=total)]
    if hostile:
        latent[:, : d // 8] *= rng.standard_t(2.5, size=(total, d // 8)).astype(np.float32)
    else:
        latent[:, :4] *= np.exp(0.5 * rng.standard_normal((total, 4), dtype=np.float32))
    signal = latent @ (rng.standard_normal((d, n_labels)) * deviation[:, None] ** 0.5).astype(np.float32)
    signal /= signal.std(axis=0)
    signal *= rng.permutation(np.linspace(0.3, 3.0, n_labels)).astype(np.float32)
    signal += 0.3 * (signal**2 - 1) + rng.standard_normal(signal.shape, dtype=np.float32)
    shares = rng.uniform(0.01, 0.1, n_labels) if hostile else rng.uniform(0.1, 0.5, n_labels)
    bounds = np.array([np.quantile(signal[:n, k], 1 - share) for k, share in enumerate(shares)])
    turn = np.linalg.qr(rng.standard_normal((d, d)))[0].astype(np.float32)
    X = (latent * deviation.astype(np.float32)) @ turn
    X = (X - X[:n].mean(axis=0)) / X[:n].std(axis=0)
    if hostile:
        X[:, -d // 16 :] = X[:, : d // 16] + 1e-4 * rng.standard_normal((total, d // 16), dtype=np.float32)
    y = np.ascontiguousarray((signal > bounds).T.astype(np.int8))
    return Planted(np.ascontiguousarray(X[:n]), y[:, :n], np.ascontiguousarray(X[n:]), y[:, n:])


def planted_values(n: int, d: int, n_values: int, *, n_test: int = 5000, seed: int = 0) -> Planted:
    """One label of several values, drawn from a softmax of linear scores."""
    two = planted(n, d, 1, n_test=n_test, seed=seed)
    rng = np.random.default_rng([seed, 1])
    both = np.concatenate([two.X, two.X_test])
    scores = both @ rng.standard_normal((d, n_values)).astype(np.float32) * 3 / np.sqrt(d)
    y = (scores + rng.gumbel(size=scores.shape)).argmax(axis=1).astype(np.int8)[None]
    return Planted(two.X, y[:, :n], two.X_test, y[:, n:])
