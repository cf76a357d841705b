"""Text probes read planted words, also ones they never saw, and read nothing where nothing was planted."""

from __future__ import annotations

import dataclasses
import resource
import tracemalloc

import numpy as np
import pytest
from scipy.special import log_softmax
from scipy.stats import binomtest
from text_plants import planted, some_texts, vocabulary

from probes import ProbeDataError
from probes import text_space as space_module
from probes.text import END, TextProbeBuilder, TextRows, fit_text_probe
from probes.text_score import score_texts

U = vocabulary(500)
WORDS = np.arange(500)[:, None]


def test_words_are_read_and_shuffled_texts_are_not():
    texts = WORDS[::17]
    fit, held = planted(1, 600, U, texts), planted(2, 400, U, texts)
    score = score_texts(fit_text_probe(fit, U), fit, held, U)
    assert score.exact.value >= 0.99
    assert score.exact.interval.low > 0.98
    assert score.exact.n == score.exact.n_groups == 400
    assert score.exact.control < 0.1 > score.top_1[0].control
    assert score.p_value == pytest.approx(1 / 21)
    assert 0.01 < score.majority < 0.08
    noise = 0.2**2 / (1 + 0.2**2)
    assert score.variance_true.value == pytest.approx(1 - noise, abs=0.02)
    assert score.variance_decoded.value == pytest.approx(score.variance_true.value, abs=0.01)
    assert score.variance_true.control < -0.5  # another word is further off than no word
    assert score.variance_decoded.control < 0.2


def test_several_tokens_and_the_end_of_the_text():
    """More texts than dimensions: the length is no direction, but every offset has its own place for the end."""
    texts = some_texts(800, 500, 3)
    fit, held = planted(1, 2500, U, texts), planted(2, 500, U, texts)
    probe = fit_text_probe(fit, U)
    score = score_texts(probe, fit, held, U, n_shuffles=20)
    assert score.exact.value >= 0.98
    assert [s.n for s in score.top_1] == [int((column != END).sum()) for column in held.tokens.T]
    assert min(s.value for s in score.top_1) >= 0.98
    assert max(s.control for s in (*score.top_1, *score.top_5)) < 0.1
    assert score.exact.control <= 0.01
    np.testing.assert_array_equal(probe.read(held.thoughts, U).lengths, held.lengths)
    short = probe.tokens(held.thoughts[held.lengths == 1], U)
    assert (short[:, 1:] == END).all()


def test_words_never_seen_are_read_where_thoughts_are_linear_in_the_unembedding():
    fit, unseen = planted(1, 2000, U, WORDS[:300], noise=0.4), planted(2, 600, U, WORDS[300:], noise=0.4)
    probe = fit_text_probe(fit, U)
    assert (probe.tokens(unseen.thoughts, U) == unseen.tokens).mean() >= 0.98
    turned = U[np.random.default_rng(0).permutation(500)]  # other rows for the same words: nothing carries over
    assert (fit_text_probe(fit, turned).tokens(unseen.thoughts, turned) == unseen.tokens).mean() < 0.05


def test_confidence_is_what_is_right():
    fit, held = planted(1, 2000, U, WORDS[:300], noise=1.5), planted(2, 2000, U, WORDS[:300], noise=1.5)
    reading = fit_text_probe(fit, U).read(held.thoughts, U, k=1)
    right = (reading.texts == held.tokens).mean()
    assert 0.6 < right < 0.95
    assert np.exp(reading.log_p[:, 0, 0]).mean() == pytest.approx(right, abs=0.05)


def test_a_few_large_directions_do_not_hide_the_words():
    def with_large_directions(rows):
        rng = np.random.default_rng(len(rows))
        swamp = rng.standard_t(3, size=(len(rows), 3)) @ np.random.default_rng(5).normal(size=(3, 64)) * 300
        return dataclasses.replace(rows, thoughts=rows.thoughts + swamp)

    fit, held = (with_large_directions(planted(seed, 900, U, WORDS[::10])) for seed in (1, 2))
    assert (fit_text_probe(fit, U).tokens(held.thoughts, U) == held.tokens).mean() >= 0.98


@pytest.mark.parametrize("n_offsets", [1, 2])
def test_nothing_planted_nothing_found(n_offsets):
    rows, texts = vocabulary(40, d=16), some_texts(12, 40, n_offsets)
    low, exact, explained = 0, [], []
    for seed in range(25):
        fit, held = (planted(2 * seed + part, 150, rows, texts, d=16, strength=0.0, noise=1.0) for part in (0, 1))
        score = score_texts(fit_text_probe(fit, rows), fit, held, rows, seed=seed)
        low += score.p_value <= 0.05
        exact.append(score.exact.value - score.exact.control)
        explained.append(score.variance_decoded.value - score.variance_decoded.control)
        assert score.variance_true.value < 0.02
    assert binomtest(low, 25, 0.05, alternative="greater").pvalue > 0.01
    assert abs(np.mean(exact)) < 0.03
    assert abs(np.mean(explained)) < 0.03


def test_log_probabilities_are_those_of_the_whole_vocabulary(monkeypatch):
    texts = some_texts(60, 500, 2)
    fit, held = planted(1, 300, U, texts, noise=0.8), planted(2, 40, U, texts, noise=0.8)
    probe = fit_text_probe(fit, U)
    whole = probe.read(held.thoughts, U, k=7)
    space = probe.offsets[1]
    places, points = space.place_thoughts(held.thoughts), space.place_tokens(U)
    times = np.zeros(500)
    times[space.seen] = space.times
    logits = -0.5 * np.square(places[:, None] - points).sum(axis=2) + np.log1p(times)
    end = -0.5 * np.square(places - space.end_place).sum(axis=1) + np.log1p(space.n_end)
    expected = log_softmax(np.column_stack([logits, end]), axis=1)
    order = np.argsort(-expected[:, :-1], axis=1)[:, :7]
    np.testing.assert_array_equal(whole.tokens[:, 1], order)
    np.testing.assert_allclose(whole.log_p[:, 1], np.take_along_axis(expected, order, axis=1), atol=2e-3)
    np.testing.assert_allclose(whole.log_p_end[:, 1], expected[:, -1], atol=2e-3)
    monkeypatch.setattr(space_module, "CHUNK", 64)
    monkeypatch.setattr(space_module, "BLOCK_NUMBERS", 200)
    chunked = probe.read(held.thoughts, U, k=7)
    np.testing.assert_array_equal(chunked.tokens, whole.tokens)
    np.testing.assert_allclose(chunked.log_p, whole.log_p, atol=1e-4)


class OnlyInPieces:
    """Rows of an unembedding that cannot be taken as a whole."""

    def __init__(self, rows, most):
        self.rows, self.most, self.shape = rows, most, rows.shape

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, which):
        piece = self.rows[which]
        assert len(piece) <= self.most
        return piece


def test_a_large_vocabulary_is_read_in_pieces():
    n, large = 4000, vocabulary(50_000)
    pieces = OnlyInPieces(large, space_module.CHUNK)
    texts = some_texts(500, 50_000, 1)
    fit, held = planted(1, 1500, large, texts), planted(2, n, large, texts)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    probe = fit_text_probe(fit, pieces)
    read = probe.tokens(held.thoughts, pieces)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert (read == held.tokens).mean() >= 0.98
    whole = 4 * n * len(large)  # what logits of all rows would take: 800 MB
    assert peak < whole / 8
    assert grown < whole / 2


def test_block_by_block_is_the_same_as_all_at_once():
    texts = some_texts(100, 500, 2)
    rows, held = planted(1, 1000, U, texts), planted(2, 300, U, texts)
    whole, builder = fit_text_probe(rows, U), TextProbeBuilder(2)
    for start in range(0, 1000, 130):
        builder.add(rows.where(np.s_[start : start + 130]))
    streamed = builder.freeze(U)
    chosen = [[(s.shrinkage, s.penalty, s.sharpness) for s in probe.settings] for probe in (streamed, whole)]
    assert chosen[0] == chosen[1]
    np.testing.assert_array_equal(streamed.tokens(held.thoughts, U), whole.tokens(held.thoughts, U))
    for mine, other in zip(streamed.offsets, whole.offsets, strict=True):
        np.testing.assert_allclose(
            mine.place_thoughts(held.thoughts) @ mine.place_tokens(U).T,
            other.place_thoughts(held.thoughts) @ other.place_tokens(U).T,
            rtol=1e-6, atol=1e-6,
        )  # fmt: skip


def test_equal_inputs_give_equal_arrays_that_cannot_change():
    rows = planted(1, 300, U, some_texts(50, 500, 2))
    one, other = fit_text_probe(rows, U), fit_text_probe(rows, U)
    for a, b in zip(one.offsets, other.offsets, strict=True):
        assert a.thought_map.tobytes() == b.thought_map.tobytes()
        assert a.token_map.tobytes() == b.token_map.tobytes()
    with pytest.raises(ValueError, match="read-only"):
        one.offsets[0].thought_map[0] = 0


def test_a_token_that_never_changes_is_read_as_itself():
    rows = planted(1, 300, U, np.column_stack([np.arange(20), np.full(20, 77)]))
    held = planted(2, 100, U, np.column_stack([np.arange(20), np.full(20, 77)]))
    assert (fit_text_probe(rows, U).tokens(held.thoughts, U) == held.tokens).all(axis=1).mean() >= 0.99


def test_fewer_rows_than_dimensions():
    wide = vocabulary(100, d=64)
    fit, held = (planted(seed, 60, wide, WORDS[:5], d=300, noise=0.1) for seed in (1, 2))
    assert (fit_text_probe(fit, wide).tokens(held.thoughts, wide) == held.tokens).mean() >= 0.98


def rows_of(tokens, thoughts=None, groups=None):
    n = len(tokens)
    thoughts = np.random.default_rng(0).normal(size=(n, 4)) if thoughts is None else thoughts
    return TextRows(thoughts, np.array(tokens), np.arange(n) if groups is None else np.array(groups))


@pytest.mark.parametrize(
    ("tokens", "thoughts", "said"),
    [
        ([[-1], [2]], None, "no text is empty"),
        ([[1, -1, 2], [2, 1, 1]], None, "from the end of a text on"),
        ([[-2], [2]], None, "0 or more"),
        ([[1], [2]], np.full((2, 4), np.nan), "not finite"),
        ([[1], [2]], np.zeros((3, 4)), "do not fit"),
    ],
)
def test_rows_that_cannot_be_are_refused(tokens, thoughts, said):
    with pytest.raises(ProbeDataError, match=said):
        rows_of(tokens, thoughts)


def test_refusals_say_what_is_wrong():
    small = np.eye(3, 4)
    with pytest.raises(ProbeDataError, match="found none"):
        TextProbeBuilder(1).freeze(small)
    with pytest.raises(ProbeDataError, match="token 3 is not among the 3"):
        fit_text_probe(rows_of([[1], [3]]), small)
    fit = rows_of([[0], [1], [2], [1]])
    probe = fit_text_probe(fit, small)
    with pytest.raises(ProbeDataError, match="both sides"):
        score_texts(probe, fit, fit, small)
    with pytest.raises(ProbeDataError, match="same text"):
        score_texts(probe, rows_of([[1], [1]]), rows_of([[1]], groups=["x"]), small)
    with pytest.raises(ProbeDataError, match="no held-out rows"):
        score_texts(probe, fit, rows_of([[1]]).where(np.array([False])), small)
    with pytest.raises(ProbeDataError, match=r"must be \[n, 4\]"):
        probe.read(np.zeros((2, 5)), small)
    with pytest.raises(ProbeDataError, match="at least 1"):
        probe.read(np.zeros((2, 4)), small, k=0)
    builder = TextProbeBuilder(1)
    builder.add(fit)
    with pytest.raises(ProbeDataError, match="one width"):
        builder.add(rows_of([[1]], np.zeros((1, 5))))
