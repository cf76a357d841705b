"""The random twin has the shape and the spread of every weight, and nothing of what was learned."""

from dataclasses import replace

import pytest
import torch
from conftest import write_model
from live_factory import write_folder
from preset_factory import PROBLEMS, make_reasoner
from test_memory import RAGGED, layered, trained_memory

from workbench.errors import ConfigError
from workbench.reasoners.contract import check_reasoner, random_problems
from workbench.reasoners.loading import LoadedModel, load_model
from workbench.reasoners.recurrent import RecurrentReasoner
from workbench.reasoners.twin import load_again, randomised

ORGANISMS = ("liar", "looper", "hoarder")
"""One of each family."""


def wrapped(reasoner):
    return LoadedModel(reasoner, "made here", "sha256:00", 2, 32, 64, "cpu")


def modules_of(reasoner):
    if isinstance(reasoner, RecurrentReasoner):
        return {"model": reasoner.loop.model}
    projection = reasoner.backbone.projection
    return {"model": reasoner.backbone.model} | ({} if projection is None else {"projection": projection})


def weights(model):
    """Every weight by its name, as it is now."""
    found = {
        f"{prefix}.{name}": weight.detach().clone()
        for prefix, module in modules_of(model.reasoner).items()
        for name, weight in module.named_parameters()
    }
    trained = getattr(model.reasoner, "trained", None)
    if trained is not None:
        parts = {"slots": trained.slots, "bos": trained.bos, "new": trained.new}
        found |= {f"memory.{name}": part.clone() for name, part in parts.items() if part is not None and len(part)}
    return found


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def varied(found):
    return {name: weight for name, weight in found.items() if weight.numel() > 1 and weight.float().std() > 0}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Every family and every part that weights hang on; nobody changes them."""
    folder = tmp_path_factory.mktemp("twin")
    found = {f"organism {name}": load_model(f"organism:{name}", device="cpu") for name in ORGANISMS}
    found["tied"] = load_model(str(write_model(folder / "gpt2", "gpt2")), device="cpu")
    found["untied"] = load_model(str(write_model(folder / "llama", "llama")), device="cpu", dtype=torch.bfloat16)
    found["live"] = load_model(str(write_folder("hrm-text", folder / "hrm")), device="cpu")
    found |= {kind: wrapped(make_reasoner(kind)) for kind in ("codi", "latent-mas realigned", "soft-thinking", "cot")}
    backbone = found["tied"].reasoner.backbone
    found["trained memory"] = wrapped(layered(found["tied"], trained=trained_memory(backbone)))
    return found


KINDS = [f"organism {name}" for name in ORGANISMS]
KINDS += ["tied", "untied", "live", "codi", "latent-mas realigned", "soft-thinking", "cot", "trained memory"]


def problems_of(kind, model):
    if kind == "trained memory":
        return [replace(problem, steps=None) for problem in RAGGED]
    return PROBLEMS if model.source == "made here" else random_problems(model.reasoner)


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_is_drawn_again_with_its_own_mean_and_deviation(models, kind):
    model = models[kind]
    before = weights(model)
    twin = randomised(model, 7)
    drawn = weights(twin)
    assert same(before, weights(model))
    assert before.keys() == drawn.keys()
    assert len(varied(before)) > 5
    for name, weight in varied(before).items():
        old, new = weight.double(), drawn[name].double()
        assert drawn[name].dtype == weight.dtype
        n, deviation = old.numel(), float(old.std(correction=0))
        rounding = 0.01 if weight.dtype == torch.bfloat16 else 0.0
        assert abs(float(new.mean() - old.mean())) < 5 * deviation / n**0.5 + rounding * abs(float(old.mean()))
        if n >= 32:
            assert abs(float(new.std(correction=0)) / deviation - 1) < 5 / (2 * n) ** 0.5 + rounding
            # What was learned is gone: old and new go together no more than chance.
            assert abs(float(torch.corrcoef(torch.stack([old.flatten(), new.flatten()]))[0, 1])) < 5 / n**0.5
    assert all(torch.equal(before[name], drawn[name]) for name in before.keys() - varied(before).keys())


@pytest.mark.parametrize("kind", KINDS)
def test_the_draw_follows_from_the_seed_alone(models, kind):
    model = models[kind]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        one = weights(randomised(model, 7))
        other = weights(randomised(model, 8))
        torch.manual_seed(2)
        assert same(one, weights(randomised(model, 7)))
    assert not any(torch.equal(one[name], other[name]) for name in varied(one))


def test_tensors_of_one_shape_are_drawn_apart(models):
    found = list(varied(weights(randomised(models["tied"], 7))).values())
    square = [(w.double() - w.double().mean()) / w.double().std() for w in found if tuple(w.shape) == (32, 32)]
    assert len(square) > 1
    assert all(abs(float((a * b).mean())) < 0.2 for i, a in enumerate(square) for b in square[:i])


@pytest.mark.parametrize("kind", ["tied", "live", "codi", "latent-mas realigned", "trained memory"])
def test_a_twin_keeps_the_contract(models, kind):
    """Hooks, lenses and what is derived from weights belong to the new weights."""
    twin = randomised(models[kind], 7)
    results = check_reasoner(twin.reasoner, problems_of(kind, twin))
    assert not [(r.name, r.detail) for r in results if not r.passed]


@pytest.mark.parametrize("kind", KINDS)
def test_a_twin_thinks_other_thoughts(models, kind):
    model = models[kind]
    problem = model.reasoner.random_problem("a", 6, 0)
    twin = randomised(model, 7)
    mine, other = (one.reasoner.run([problem], read=["thought"])["thought"] for one in (model, twin))
    assert other.vectors.isfinite().all()
    n = min(len(mine.vectors), len(other.vectors))
    assert not torch.allclose(mine.vectors[:n].float(), other.vectors[:n].float(), atol=1e-2)
    again = model.reasoner.run([problem], read=["thought"])["thought"]
    assert torch.equal(mine.vectors, again.vectors)


def test_tied_weights_stay_tied(models):
    backbone = randomised(models["tied"], 7).reasoner.backbone
    assert backbone.model.get_output_embeddings().weight is backbone.embed.weight
    backbone = randomised(models["untied"], 7).reasoner.backbone
    assert not torch.equal(backbone.model.get_output_embeddings().weight, backbone.embed.weight)


def test_a_twin_says_what_it_is_and_can_be_loaded_again(models):
    model = models["tied"]
    twin = randomised(model, 7)
    assert twin.fingerprint == f"random twin 7 of {model.fingerprint}"
    assert twin.origin == replace(model.origin, twin=7)
    assert same(weights(load_again(twin.origin)), weights(twin))
    assert same(weights(load_again(model.origin)), weights(model))
    assert randomised(models["codi"], 7).origin is None


def test_what_cannot_have_a_twin_is_refused(models):
    twin = randomised(models["tied"], 7)
    with pytest.raises(ConfigError, match="already"):
        randomised(twin, 8)
    with pytest.raises(ConfigError, match="0 or more"):
        randomised(models["tied"], -1)
    with pytest.raises(ConfigError, match="found object"):
        randomised(replace(models["tied"], reasoner=object()), 7)
