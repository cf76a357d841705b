"""A translator finds a planted turn, stays the identity where nothing is gained, and leaves the head alone."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
import torch

from probes import ProbeDataError
from probes.translator import Translator, fit_translator, measure, mismatched

D, V = 24, 60
HEAD = torch.from_numpy(np.random.default_rng(7).normal(size=(V, D)) * 0.8).float()


def head(rows):
    return rows @ HEAD.T


def planted(seed, n, *, noise=0.2, turned=True):
    """Vectors, and the vectors that the model ends with: turned, shifted, and with noise."""
    rng, fixed = np.random.default_rng(seed), np.random.default_rng(8)
    turn, shift = np.linalg.qr(fixed.normal(size=(D, D)))[0], fixed.normal(size=D)
    final = rng.normal(size=(n, D))
    vectors = final @ turn + shift if turned else final
    return vectors + noise * rng.normal(size=(n, D)), final


def both(translator, block, final_head=head):
    found = measure(translator, head, final_head, [block])
    return found.kl.mean(), found.agrees.mean()


def test_a_planted_turn_is_found_and_a_mismatch_teaches_only_what_all_rows_share():
    fit, chosen, held = planted(1, 1500), planted(2, 300), planted(3, 600)
    tuned = fit_translator(head, head, lambda: [fit], lambda: [chosen])
    control = fit_translator(head, head, mismatched(lambda: [fit]), mismatched(lambda: [chosen]))
    logit_kl, logit_agrees = both(Translator.identity(D), held)
    tuned_kl, tuned_agrees = both(tuned, held)
    control_kl, control_agrees = both(control, held)
    undone = np.linalg.lstsq(np.column_stack([fit[0], np.ones(1500)]), fit[1], rcond=None)[0]
    best_kl, _ = both(Translator(undone[:-1] - np.eye(D), undone[-1], np.zeros(D)), held)
    assert logit_kl > 10 > 5 * tuned_kl
    assert tuned_kl < best_kl + 0.1
    assert logit_agrees < 0.15 < 0.65 < tuned_agrees
    assert tuned_kl < 0.2 * control_kl < 0.2 * logit_kl
    assert control_agrees < 0.15


def test_nothing_planted_nothing_found():
    """Vectors that know nothing of the end: no closer than what all rows share."""
    fit, chosen, held = (
        (np.random.default_rng(seed).normal(size=(n, D)), planted(seed + 50, n)[1])
        for seed, n in ((1, 1000), (2, 300), (3, 600))
    )
    tuned = fit_translator(head, head, lambda: [fit], lambda: [chosen])
    control = fit_translator(head, head, mismatched(lambda: [fit]), mismatched(lambda: [chosen]))
    assert both(tuned, held)[0] == pytest.approx(both(control, held)[0], rel=0.05)
    assert both(tuned, held)[1] < 0.1


def test_what_the_model_ends_with_stays_as_it_is():
    rows = np.random.default_rng(0).normal(size=(200, D))
    assert fit_translator(head, head, lambda: [(rows, rows)], lambda: [(rows[:50], rows[:50])]).is_identity


@pytest.mark.parametrize("n_fit", [24, 48])
def test_never_worse_than_the_logit_lens(n_fit):
    """Few rows around an identity that cannot be bettered; chosen without doubt, some would be twice as far off."""
    for seed in range(12):
        fit, chosen, held = (planted(3 * seed + k, n, noise=0.1, turned=False) for k, n in enumerate((n_fit, 8, 300)))
        tuned = fit_translator(head, head, lambda fit=fit: [fit], lambda chosen=chosen: [chosen], n_steps=100)
        assert both(tuned, held)[0] <= 1.02 * both(Translator.identity(D), held)[0]


def test_equal_seeds_give_equal_bytes_and_blocks_are_seen_one_at_a_time():
    parts = [planted(seed, 100) for seed in (1, 2, 3)]
    chosen, held = planted(4, 100), planted(5, 300)
    alive = []

    def blocks():
        for vectors, final in parts:
            mine = vectors.copy()
            assert sum(one() is not None for one in alive) <= 1  # at most the block before
            alive.append(weakref.ref(mine))
            yield mine, final
            del mine

    one, same, other = (
        fit_translator(head, head, blocks, lambda: [chosen], n_steps=200, seed=seed) for seed in (0, 0, 1)
    )
    assert one.change.tobytes() == same.change.tobytes() != other.change.tobytes()
    whole = tuple(np.concatenate(pair) for pair in zip(*parts, strict=True))
    at_once = fit_translator(head, head, lambda: [whole], lambda: [chosen], n_steps=200)
    assert both(one, held)[0] == pytest.approx(both(at_once, held)[0], rel=0.2)


def test_the_head_is_left_alone():
    layer = torch.nn.Linear(D, V)
    before = {name: weight.detach().clone() for name, weight in layer.named_parameters()}
    fit, chosen = planted(1, 200), planted(2, 100)
    tuned = fit_translator(layer, layer, lambda: [fit], lambda: [chosen], n_steps=50)
    assert not tuned.is_identity
    for name, weight in layer.named_parameters():
        assert weight.grad is None
        assert torch.equal(weight, before[name])


def test_closeness_is_measured_row_by_row_whatever_the_block(monkeypatch):
    vectors, final = planted(1, 50)
    whole = measure(Translator.identity(D), head, head, [(vectors, final)])
    ends, reads = (torch.from_numpy(rows).float() @ HEAD.T for rows in (final, vectors))
    expected = torch.nn.functional.kl_div(
        reads.log_softmax(-1), ends.log_softmax(-1), reduction="none", log_target=True
    ).sum(-1)
    np.testing.assert_allclose(whole.kl, expected.numpy(), rtol=1e-3, atol=1e-5)
    monkeypatch.setattr("probes.translator.ROWS_AT_ONCE", 3 * V)
    pieces = measure(Translator.identity(D), head, head, [(vectors[:7], final[:7]), (vectors[7:], final[7:])])
    np.testing.assert_allclose(pieces.kl, whole.kl, rtol=1e-5)
    assert whole.agrees.mean() == pieces.agrees.mean()


def test_a_token_that_is_impossible_at_the_end_costs_nothing():
    def without_first(rows):
        logits = head(rows)
        return torch.cat([torch.full_like(logits[:, :1], -torch.inf), logits[:, 1:]], dim=1)

    fit, chosen = planted(1, 300), planted(2, 100)
    tuned = fit_translator(head, without_first, lambda: [fit], lambda: [chosen], n_steps=200)
    assert np.isfinite(tuned.change).all()
    assert not tuned.is_identity
    assert np.isfinite(both(tuned, chosen, without_first)[0])


@pytest.mark.parametrize("what", ["no rows", "nothing to choose by", "not finite"])
def test_refusals(what):
    rows = planted(1, 20)
    blocks = {"no rows": [], "nothing to choose by": [rows], "not finite": [(rows[0] * np.nan, rows[1])]}[what]
    with pytest.raises(ProbeDataError, match={"no rows": "to learn from"}.get(what, "chosen|not finite")):
        fit_translator(head, head, lambda: blocks, lambda: [] if what != "no rows" else [rows])
    with pytest.raises(ProbeDataError, match="rows of 24 numbers"):
        Translator.identity(D).translate(np.zeros((2, 5)))
    with pytest.raises(ProbeDataError, match="not finite"):
        Translator(np.full((2, 2), np.inf), np.zeros(2), np.zeros(2))
