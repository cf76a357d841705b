"""Lenses read what the model's head reads, block by block, and refuse what it does not read."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from preset_factory import PROBLEMS as WORD_PROBLEMS
from preset_factory import make_reasoner

from workbench.capture import capture
from workbench.errors import ConfigError, InsufficientData, UnknownSiteError
from workbench.lenses import likeliest_tokens, logit_lens
from workbench.reasoners.loading import load_model
from workbench.tasks import Rooms
from workbench.texts import fit_text, step_texts, vocabulary_of
from workbench.tuned_lens import LensRows, final_place, tune, tune_on_store

PROBLEMS = Rooms(3).make(60, seed=1)
LAST = "blocks.1.hook_resid_post"


@pytest.fixture(scope="module")
def organisms():
    return {name: load_model(f"organism:{name}", device="cpu").reasoner for name in ("rotated", "looper", "hoarder")}


def weights_of(reasoner):
    model = reasoner.backbone.model
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


@pytest.mark.parametrize("site", ["thought", LAST, "ln_final.hook_out"])
def test_the_likeliest_tokens_of_the_whole_vocabulary(loaded, site, monkeypatch):
    reasoner = loaded.reasoner
    vectors = reasoner.run(PROBLEMS[:9], read=[site])[site].vectors
    log_p, token = reasoner.unembed(vectors, site).log_softmax(-1).topk(4)
    monkeypatch.setattr("workbench.lenses.BLOCK_LOGITS", 5 * loaded.d_vocab)
    tokens, log_ps = likeliest_tokens(reasoner, vectors.numpy(), site=site, k=4)
    np.testing.assert_array_equal(tokens, token.numpy())
    np.testing.assert_allclose(log_ps, log_p.numpy(), atol=1e-4)
    assert likeliest_tokens(reasoner, vectors.numpy()[:0], site=site)[0].shape == (0, 5)
    assert likeliest_tokens(reasoner, vectors.numpy()[:2], site=site, k=10_000)[0].shape == (2, loaded.d_vocab)


def test_among_values_and_among_all_tokens_agree_where_values_are_all_there_is(organisms):
    reasoner = organisms["rotated"]
    thoughts = np.random.default_rng(0).normal(size=(50, 64)).astype(np.float32)
    words = [reasoner.coder.text([token]) for token in range(1, reasoner.coder.d_vocab)]
    read, _ = likeliest_tokens(reasoner, thoughts, k=2)
    best = np.where(read[:, 0] == 0, read[:, 1], read[:, 0])  # <unk> says nothing
    np.testing.assert_array_equal(logit_lens(reasoner, thoughts, words), best - 1)


def test_what_the_head_does_not_read_is_refused(loaded):
    rows = np.zeros((2, 32), dtype=np.float32)
    with pytest.raises(UnknownSiteError, match="thought"):
        likeliest_tokens(loaded.reasoner, rows, site="thoughts")
    with pytest.raises(ConfigError, match="head reads no vectors"):
        likeliest_tokens(loaded.reasoner, rows, site="blocks.0.attn.hook_k")
    with pytest.raises(ConfigError, match="one vector of thought at a time") as caught:
        likeliest_tokens(loaded.reasoner, np.zeros((2, 64), dtype=np.float32))
    assert "rows of 32 numbers" in str(caught.value)


@pytest.mark.parametrize("name", ["gpt2", "llama", "gpt_neox", "bloom"])
def test_the_unembedding_is_the_weight_of_the_head(loaded_models, name):
    reasoner = loaded_models[name].reasoner
    assert torch.equal(reasoner.unembedding(), reasoner.backbone.model.get_output_embeddings().weight)


def test_the_unembedding_of_loops_and_memories(organisms):
    looper = organisms["looper"]
    head = looper.loop.model
    expected = head.embed.weight if head.config.tied else head.head.weight
    torch.testing.assert_close(looper.unembedding(), expected)
    hoarder = organisms["hoarder"]
    torch.testing.assert_close(hoarder.unembedding(), hoarder.backbone.model.get_output_embeddings().weight)
    assert vocabulary_of(hoarder).unembedding.dtype == np.float32


def test_tokens_of_words_within_a_sentence(loaded):
    reasoner = loaded.reasoner
    assert reasoner.tokens_of("atrium") == (reasoner.single_token("atrium"),)
    assert reasoner.tokens_of("atrium vault") == (reasoner.single_token("atrium"), reasoner.single_token("vault"))
    assert reasoner.tokens_of("atrium zeppelin") is None
    assert reasoner.tokens_of("") is None


def test_what_a_step_ends_with_depends_on_the_family(organisms, loaded):
    def place(reasoner, site, stored=None):
        found = final_place(reasoner, site, reasoner.sites if stored is None else stored)
        return found.site, found.last

    assert place(loaded.reasoner, "thought") == ("thought", False)
    assert place(loaded.reasoner, LAST) == ("ln_final.hook_out", False)
    assert place(organisms["rotated"], "thought") == ("thought.source", False)
    assert place(organisms["rotated"], "thought.source") == ("thought.source", False)
    assert place(organisms["looper"], "thought") == ("coda_lens", True)
    assert place(organisms["looper"], "thought", ["thought"]) == ("thought", True)
    assert place(organisms["hoarder"], "thought") == ("thought", False)
    with pytest.raises(ConfigError, match="was not captured") as caught:
        place(loaded.reasoner, LAST, ["thought", LAST])
    assert "--sites ln_final.hook_out" in str(caught.value)


@pytest.mark.parametrize("in_pieces", [False, True])
def test_a_lens_tuned_on_a_store_is_closer_than_logit_lens_and_control(tmp_path, loaded, monkeypatch, in_pieces):
    monkeypatch.setattr("workbench.capture.SHARD_PROBLEMS", 50)
    if in_pieces:
        monkeypatch.setattr("workbench.lens_rows.BLOCK_BYTES", 20_000)
    reasoner, problems = loaded.reasoner, Rooms(3).make(400, seed=3)
    before = weights_of(reasoner)
    store = capture(loaded, problems, tmp_path / "run", sites=["blocks.0.hook_resid_post", "ln_final.hook_out"])
    groups = [problem.group for problem in problems]
    fit, held = range(300), range(300, 400)
    lens = tune_on_store(store, reasoner, site="blocks.0.hook_resid_post", step=1, fit=fit, held=held, groups=groups)
    assert not lens.translator.is_identity
    assert lens.tuned.kl.value < 0.8 * lens.logit.kl.value
    assert lens.tuned.kl.value < lens.tuned.kl.control
    assert lens.tuned.kl.n == lens.tuned.kl.n_groups == 100
    assert lens.tuned.kl.interval.low < lens.tuned.kl.value < lens.tuned.kl.interval.high
    rows = store.select("blocks.0.hook_resid_post", step=1), store.select("ln_final.hook_out", step=1)
    parts = [
        LensRows(rows[0].vectors[place], rows[1].vectors[place], tuple(groups[i] for i in place))
        for place in map(list, (fit, held))
    ]
    arrays = tune(reasoner, *parts, site="blocks.0.hook_resid_post", final_site="ln_final.hook_out")
    assert arrays.logit.kl.value == pytest.approx(lens.logit.kl.value, rel=1e-5)
    assert arrays.tuned.kl.value == pytest.approx(lens.tuned.kl.value, rel=0.25)  # rows come in another order
    after = weights_of(reasoner)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(weight.requires_grad for weight in reasoner.backbone.model.parameters())


def test_the_last_step_is_each_examples_own(tmp_path, organisms):
    looper = load_model("organism:looper", device="cpu")
    problems = Rooms(4).make(40, seed=2)
    store = capture(looper, problems, tmp_path / "run", sites=["thought"])
    groups = [problem.group for problem in problems]
    last = store.select("thought", step=3).vectors
    with torch.no_grad():
        ends, reads = (
            looper.reasoner.unembed(torch.from_numpy(rows).float()).log_softmax(-1)
            for rows in (last, store.select("thought", step=0).vectors)
        )
    lens = tune_on_store(
        store, looper.reasoner, site="thought", step=0, fit=range(30), held=range(30, 40), groups=groups
    )
    expected = (ends.exp() * (ends - reads)).sum(-1)[30:].mean()
    assert lens.logit.kl.value == pytest.approx(float(expected), rel=1e-3)


def test_too_little_to_tune_on_is_said(loaded):
    one = LensRows(np.zeros((1, 32), np.float32), np.zeros((1, 32), np.float32), ("a",))
    with pytest.raises(InsufficientData, match="to choose by"):
        tune(loaded.reasoner, one, one, site="thought", final_site="thought")


def test_words_of_a_step():
    problems = [{"thoughts": ["one", ["two", "three"]]}, {"thoughts": ["four"]}, {}]
    assert step_texts(problems, 0) == ["one", "four", None]
    assert step_texts(problems, 1) == [None, None, None]


def test_rows_without_a_readable_text_are_left_out_and_counted(loaded):
    rng = np.random.default_rng(0)
    thoughts, held = (rng.normal(size=(n, 32)).astype(np.float32) for n in (80, 40))
    texts, held_texts = (["atrium", "vault vault", "tower", "no such words"] * n for n in (20, 10))
    texts[0] = None
    thoughts[1] = np.nan
    groups, held_groups = ([f"{part}{n}" for n in range(size)] for part, size in (("f", 80), ("h", 40)))
    fit = fit_text(
        thoughts, texts, groups, held, held_texts, held_groups, loaded.reasoner, site="thought", seed=0, n_shuffles=20
    )
    assert (fit.n_fit, fit.score.exact.n, fit.n_left_out) == (58, 30, 32)
    assert fit.probe.n_offsets == 2
    assert fit.score.p_value > 0.05  # the thoughts hold nothing
    assert fit.tuned_lens is None
    assert fit.to_plain()["tuned_lens"] is None
    assert fit.logit_lens.n == 30


def test_what_cannot_be_told_apart_is_said(loaded):
    rows = np.zeros((4, 32), dtype=np.float32)
    names = list("abcd")
    with pytest.raises(InsufficientData, match=r"thoughts\[2\].*1 texts in 4 fit rows, 4 rows held out"):
        fit_text(
            rows, ["atrium"] * 4, names, rows, ["atrium"] * 4, list("efgh"), loaded.reasoner,
            site="thought", seed=0, step=2,
        )  # fmt: skip
    with pytest.raises(InsufficientData, match="0 rows held out"):
        fit_text(
            rows, ["atrium", "vault"] * 2, names, rows, [None] * 4, list("efgh"), loaded.reasoner,
            site="thought", seed=0,
        )  # fmt: skip


def test_lenses_of_thoughts_that_are_made_of_something_else():
    reasoner = make_reasoner("codi")
    thoughts = reasoner.run(WORD_PROBLEMS, read=["thought.source"])["thought.source"].vectors.numpy()
    tokens, _ = likeliest_tokens(reasoner, thoughts, site="thought.source", k=1)
    assert tokens.shape == (9, 1)
