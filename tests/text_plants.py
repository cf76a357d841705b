"""Thoughts with planted texts: a sum of one linear map per offset of the rows of an unembedding, and noise."""

from __future__ import annotations

import numpy as np

from probes.text import TextRows

WIDTHS = np.linspace(0.2, 3.0, 64)


def vocabulary(n_tokens, d=64, seed=99):
    """Rows of an unembedding whose directions differ in size, around a mean that is not 0."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n_tokens, d)) * WIDTHS[:d] + 2 * rng.normal(size=d)).astype(np.float32)


def some_texts(n_texts, n_tokens, n_offsets, seed=98):
    """Different texts of 1 to `n_offsets` tokens, -1 past the end."""
    rng = np.random.default_rng(seed)
    texts = rng.integers(n_tokens, size=(n_texts, n_offsets))
    texts[np.arange(n_offsets) >= rng.integers(1, n_offsets + 1, size=n_texts)[:, None]] = -1
    return np.unique(texts, axis=0)


def planted(seed, n, unembedding, texts, *, d=64, noise=0.2, strength=1.0, bend=lambda x: x):
    """`n` rows that hold one of the texts each; with strength 0 they hold nothing."""
    rng, fixed = np.random.default_rng(seed), np.random.default_rng(97)
    tokens = texts[rng.integers(len(texts), size=n)]
    held = np.zeros((n, d))
    for column in tokens.T:
        turn = fixed.normal(size=(unembedding.shape[1], d)) / 8
        here = column >= 0
        held[here] += bend(unembedding[column[here]] @ turn)
    size = (held - held.mean(axis=0)).std() if strength else 1.0
    thoughts = strength * held + noise * size * rng.normal(size=(n, d)) + 5
    return TextRows(thoughts, tokens, np.array([f"{seed}-{row}" for row in range(n)]))
