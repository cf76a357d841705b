"""What is tried on a model, and why something is not."""

import numpy as np
import pytest
import torch

from probes import FrozenProbe
from workbench import edits
from workbench.intervening.filler import Filler, find_filler
from workbench.intervening.plans import subspace_of
from workbench.reasoners.feedback import FeedbackReasoner
from workbench.sites import Visit, channel_sites
from workbench.tasks import Problem

RNG = np.random.default_rng(0)


def probe(n_classes, d, kind="lda"):
    names = tuple(f"v{k}" for k in range(n_classes))
    return FrozenProbe(kind, names, RNG.normal(size=(n_classes, d)), np.zeros(n_classes))


def thoughts(*shape, visits=1):
    return {(2, visit): torch.zeros(4, *shape) for visit in range(visits)}


@pytest.mark.parametrize(
    ("one", "vectors", "why"),
    [
        (None, thoughts(8), "no probe"),
        (probe(3, 16), thoughts(8, visits=2), "2 thoughts"),
        (probe(3, 12), thoughts(8), "reads 12 numbers, its thought has 8"),
        (probe(20, 8), thoughts(8), "all 8 dimensions"),
    ],
)
def test_why_there_is_no_subspace(one, vectors, why):
    assert why in subspace_of(one, vectors)


def test_the_rank_is_one_less_than_the_values_unless_several_may_hold():
    assert subspace_of(probe(3, 8), thoughts(8)).shape == (2, 8)
    assert subspace_of(probe(3, 8, "binary-logistic"), thoughts(8)).shape == (3, 8)
    assert subspace_of(probe(3, 8), thoughts(2, 4)).shape == (2, 8)


def test_each_problem_has_a_random_subspace_of_its_own():
    own, donors = torch.zeros(4, 8), torch.as_tensor(RNG.normal(size=(4, 8)), dtype=torch.float32)
    basis, others = torch.eye(8)[:2], torch.eye(8)[torch.arange(8).view(4, 2)]
    visit = Visit("thought", 2, 0, (3, 1))
    moved = edits.within_as_far({2: donors}, basis, others)(own[:2], visit)
    outside = moved.clone()
    outside[0, 6:] = outside[1, 2:4] = 0
    assert not outside.any()
    torch.testing.assert_close(moved.norm(dim=1), donors[[3, 1], :2].norm(dim=1))


def remarked(loaded, **thinking):
    """The same model with another begin marker."""
    recipe = loaded.reasoner.recipe
    changed = recipe.model_copy(update={"thinking": recipe.thinking.model_copy(update=thinking)})
    return FeedbackReasoner(loaded.reasoner.backbone, changed)


def test_the_filler_is_the_begin_marker(loaded):
    found = find_filler(loaded.reasoner)
    assert isinstance(found, Filler)
    assert found.what == "the embedding of the begin marker <bot>"
    weight = loaded.reasoner.backbone.embed.weight
    assert torch.equal(found.vector, weight[loaded.reasoner.coder.token_ids("<bot>")[-1]])
    assert find_filler(remarked(loaded, begin="", begin_ids=[3])).what.endswith("id 3")


def test_without_a_marker_the_filler_is_the_mean_embedding(loaded):
    found = find_filler(remarked(loaded, begin=""))
    assert found.what == "the mean of all token embeddings"
    torch.testing.assert_close(found.vector, loaded.reasoner.backbone.embed.weight.mean(0))


def test_a_paused_model_thinks_nothing(loaded):
    """The filler stands where the thought stood: all that a thought carried is gone."""
    reasoner = loaded.reasoner
    filler = find_filler(reasoner).vector
    problems = [Problem(id=str(k), prompt=f"start vault ; east {k}", steps=2) for k in (1, 2)]
    put = edits.replace({step: filler.expand(2, -1) for step in range(2)})
    read = ["thought", *channel_sites(reasoner.sites)]
    kept = reasoner.run(problems, read=read, edits={"thought": put})
    for step in range(2):
        assert torch.equal(kept["thought"].at(step), filler.expand(2, -1))
    first = kept["blocks.0.attn.hook_k"]
    torch.testing.assert_close(first.at(0)[0], first.at(0)[1])
