"""Text probes read the planted words of every bundled organism; where the logit lens is blind they are not."""

from __future__ import annotations

import json

import numpy as np
import pytest

from probes.splits import held_out_by_hash
from workbench.organisms import organism
from workbench.organisms.export import organism_problems
from workbench.reasoners.loading import load_model
from workbench.texts import Ends, fit_text, step_texts, vocabulary_of
from workbench.tuned_lens import final_place

N = 600
N_SHUFFLES = 20
READ = ("liar", "rotated", "looper", "hoarder")
"""One for every way of passing a single value; others hold sets, or nothing that could be read."""


def fits_of(name):
    """A text fit of every step; half of the problems are flagged where there is a flag."""
    reasoner = load_model(f"organism:{name}", device="cpu").reasoner
    honest, audited = organism_problems(organism(name), seed=11, n_calibration=N // 2, n_problems=N // 2)
    problems = [item.problem for item in honest + audited]
    place = final_place(reasoner, "thought", reasoner.sites)
    trace = reasoner.run(problems, read=sorted({"thought", place.site}), batch_size=256)
    groups = np.array([problem.group for problem in problems])
    held = held_out_by_hash(groups.tolist(), 0.5, seed=0)
    vocabulary = vocabulary_of(reasoner)
    for step in range(reasoner.recipe.thinking.steps):
        thoughts, texts = (
            trace["thought"].at(step).numpy(),
            np.array(step_texts([p.to_plain() for p in problems], step)),
        )
        final = trace[place.site].at(reasoner.recipe.thinking.steps - 1 if place.last else step).numpy()
        ends = Ends(place.site, final[~held], final[held])
        parts = [
            part for keep in (~held, held) for part in (thoughts[keep], texts[keep].tolist(), groups[keep].tolist())
        ]
        yield fit_text(
            *parts, reasoner, site="thought", seed=0, step=step, ends=ends, vocabulary=vocabulary,
            n_shuffles=N_SHUFFLES,
        )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", READ)
def test_planted_words_are_read_and_controls_sit_at_chance(name):
    fits = list(fits_of(name))
    assert [fit.step for fit in fits] == [0, 1, 2, 3]
    for fit in fits:
        plain, n_held = json.loads(json.dumps(fit.to_plain(), allow_nan=False)), fit.score.exact.n
        assert plain["n_fit"] + n_held == N
        assert plain["exact_match"] >= 0.98
        assert plain["interval"][0] >= 0.96
        assert plain["p_value"] == pytest.approx(1 / (1 + N_SHUFFLES))
        assert 0.02 <= plain["shuffled"] <= plain["details"]["majority"] + 0.04  # no guess is right more often
        assert plain["variance_explained"] == pytest.approx(plain["variance_explained_true"], abs=0.01)
        assert plain["variance_explained"] >= plain["variance_explained_shuffled"] + 0.3
        closer = plain["details"]["tuned_lens_fit"]
        assert closer["tuned_kl"]["value"] <= closer["logit_kl"]["value"]
        if organism(name).lens_blind:
            assert plain["logit_lens"] <= 0.2
            assert plain["tuned_lens"] <= 0.3
