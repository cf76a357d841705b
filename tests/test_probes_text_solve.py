"""The closed form of text probes equals what it stands for, written out; settings are chosen as they should be."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.special import logsumexp
from text_plants import planted, some_texts, vocabulary

from probes import text_space as space_module
from probes.text import END, TextRows, fit_text_probe
from probes.text_choose import SHARPNESSES, Scored, log_losses, rivals_of, whole_vocabulary
from probes.text_score import score_texts
from probes.text_solve import SeenTokens, solve_space, solver_of, whitener_of
from probes.text_sums import TextSums, together

U = vocabulary(60, d=20)


def space_of(rows, offset, *, shrinkage, penalty, unembedding=U):
    sums = TextSums.of(rows)
    seen = SeenTokens.of(sums.offsets[offset], unembedding, whitener_of(unembedding))
    solve = solver_of(sums.covariance(), shrinkage)
    return solve_space(sums.mean, sums.offsets[offset], seen, solve, penalty), seen


@pytest.mark.parametrize("penalty", [1e-4, 0.5])
@pytest.mark.parametrize("shrinkage", [1e-3, 0.3])
def test_distances_are_those_of_a_gaussian_with_linear_means(penalty, shrinkage):
    rows = planted(1, 400, U, some_texts(80, 60, 2), d=30, noise=0.7)
    space, seen = space_of(rows, 1, shrinkage=shrinkage, penalty=penalty)
    X, tokens = rows.thoughts - rows.thoughts.mean(axis=0), rows.tokens[:, 1]
    place_of = dict(zip(np.unique(tokens).tolist(), seen.places, strict=True))
    Z = np.stack([place_of[token] for token in tokens.tolist()])
    ridge = penalty * seen.variance.mean()
    slope = np.linalg.solve(Z.T @ Z / len(Z) + ridge * np.eye(Z.shape[1]), Z.T @ X / len(Z))
    residual = X - Z @ slope
    noise = residual.T @ residual / len(X) + shrinkage * np.trace(X.T @ X / len(X)) / 30 * np.eye(30)

    def logits(places):
        off = X[:50, None] - (places @ slope)[None]
        return -0.5 * np.einsum("nkd,de,nke->nk", off, np.linalg.inv(noise), off)

    own = (U - seen.mean) @ seen.basis + seen.shift
    expected = logits(np.vstack([seen.end, own]))
    placed = space.place_thoughts(rows.thoughts[:50])
    points = np.vstack([space.end_place, space.place_tokens(U)])
    found = -0.5 * np.square(placed[:, None] - points).sum(axis=2)
    np.testing.assert_allclose(
        found - found.mean(axis=1, keepdims=True), expected - expected.mean(axis=1, keepdims=True), rtol=1e-6, atol=1e-6
    )


def test_one_token_in_all_rows_is_read_whatever_the_thought():
    rows = planted(1, 50, U, np.array([[7]]), d=12)
    space, _ = space_of(rows, 0, shrinkage=0.1, penalty=0.01)
    assert space.thought_map.shape == (12, 1)
    assert (fit_text_probe(rows, U).tokens(100 * rows.thoughts[::-1], U) == 7).all()


def test_sums_add_up_whatever_the_order():
    rows = planted(1, 90, U, some_texts(30, 60, 2), d=12)
    whole, parts = TextSums.of(rows), [TextSums.of(rows.where(np.s_[k::3])) for k in range(3)]
    for order in ([0, 1, 2], [2, 0, 1]):
        added = together([parts[k] for k in order])
        assert added.n == whole.n
        np.testing.assert_allclose(added.gram, whole.gram)
        np.testing.assert_allclose(added.covariance(), np.cov(rows.thoughts.T, bias=True), atol=1e-9)
        for mine, other in zip(added.offsets, whole.offsets, strict=True):
            np.testing.assert_array_equal(mine.seen, other.seen)
            np.testing.assert_array_equal(mine.times, other.times)
            np.testing.assert_allclose(mine.sums, other.sums)


def test_a_sample_of_tokens_stands_for_a_large_vocabulary(monkeypatch):
    large = vocabulary(6000, d=20)
    rows = planted(1, 600, large, np.arange(0, 6000, 100)[:, None], d=20, noise=1.5)
    space, _ = space_of(rows, 0, shrinkage=0.1, penalty=0.01, unembedding=large)
    tokens = rows.tokens[:100, 0]
    scored = Scored(rows.thoughts[:100], tokens, large[tokens].astype(float))
    sampled = log_losses(space, scored, [rivals_of(large, tokens, 0)])
    monkeypatch.setattr(space_module, "CHUNK", 700)
    whole = log_losses(space, scored, whole_vocabulary(large))
    best = int(whole.mean(axis=1).argmin())
    assert int(sampled.mean(axis=1).argmin()) == best
    np.testing.assert_allclose(sampled.mean(axis=1)[: best + 1], whole.mean(axis=1)[: best + 1], rtol=0.05)
    place = SHARPNESSES.index(1.0)
    logits = space.place_thoughts(scored.thoughts) @ space.place_tokens(large).T
    logits += space.log_prior(np.arange(6000)) - 0.5 * np.square(space.place_tokens(large)).sum(axis=1)
    expected = logsumexp(logits, axis=1) - logits[np.arange(100), tokens]
    np.testing.assert_allclose(whole[place], expected, rtol=1e-3, atol=1e-3)


def test_shrinkage_follows_the_rows_at_hand():
    """Barely more rows than dimensions: the covariance itself misleads."""
    words = np.arange(12)[:, None]
    fit, held = (planted(seed, n, U, words, d=150, noise=2.0) for seed, n in ((1, 170), (2, 400)))
    probe = fit_text_probe(fit, U)
    right = (probe.tokens(held.thoughts, U) == held.tokens).mean()
    bare, _ = space_of(fit, 0, shrinkage=1e-5, penalty=1e-2)
    unshrunk = (dataclasses.replace(probe, offsets=(bare,)).tokens(held.thoughts, U) == held.tokens).mean()
    assert probe.settings[0].shrinkage >= 0.1
    assert right > unshrunk + 0.2


def test_a_large_direction_of_the_unembedding_does_not_hide_the_words():
    """Words never seen, whose rows share one direction that is a thousand times as large as what tells them apart."""
    rng = np.random.default_rng(0)
    plain = rng.normal(size=(400, 32))
    swamped = plain + 1000 * rng.normal(size=(400, 1)) * rng.normal(size=32)
    turn = rng.normal(size=(32, 64)) / np.sqrt(32)

    def rows(seed, words, n=1500):
        drawn = np.random.default_rng(seed)
        tokens = drawn.choice(words, size=n)
        return TextRows(plain[tokens] @ turn + 0.3 * drawn.normal(size=(n, 64)), tokens[:, None], np.arange(n))

    fit, unseen = rows(1, np.arange(300)), rows(2, np.arange(300, 400), 500)
    fit = dataclasses.replace(fit, groups=np.array([f"f{k}" for k in range(len(fit))]))
    read = fit_text_probe(fit, swamped).tokens(unseen.thoughts, swamped)
    assert (read == unseen.tokens).mean() >= 0.9


def test_a_text_longer_than_the_probe_reads_is_never_read_whole():
    rows = vocabulary(60)
    short, long = np.array([[1, END], [2, END], [3, 4]]), np.array([[3, 4, 5]])
    fit = planted(1, 150, rows, short)
    held = planted(2, 60, rows, short)
    longer = TextRows(held.thoughts[held.tokens[:, 0] == 3], long.repeat((held.tokens[:, 0] == 3).sum(), axis=0), [
        f"l{k}" for k in range((held.tokens[:, 0] == 3).sum())
    ])  # fmt: skip
    score = score_texts(fit_text_probe(fit, rows), fit, longer, rows)
    assert score.exact.value == 0
    assert [one.value for one in score.top_1] == [1.0, 1.0]
