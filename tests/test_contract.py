"""The reasoner contract: real backbones keep it, and each promise can be broken in a way that its check notices."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from conftest import BACKBONES

from workbench.errors import ConfigError, ContractError, UnknownSiteError
from workbench.reasoners import contract
from workbench.reasoners.contract import CHECKS, check_reasoner, random_problems
from workbench.reasoners.feedback import FeedbackReasoner
from workbench.tasks import Problem

RAGGED = [
    Problem(id="short", prompt="start atrium"),
    Problem(id="long", prompt="start vault ; east 2 ; west 1 ; mirror 4 ; east 3"),
    Problem(id="middle", prompt="start foyer ; mirror 2 ; west 3"),
]


def build(model, kind=FeedbackReasoner):
    """A reasoner that speaks two tokens only: no check is about more."""
    recipe = model.reasoner.recipe
    speaking = recipe.speaking.model_copy(update={"max_new_tokens": 2})
    return kind(model.reasoner.backbone, recipe.model_copy(update={"speaking": speaking}))


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_every_backbone_keeps_the_contract(loaded_models, name, check):
    check(build(loaded_models[name]), RAGGED)


def test_random_problems_have_different_lengths(loaded):
    problems = random_problems(loaded.reasoner, 5)
    assert len({len(problem.prompt.split()) for problem in problems}) == 5
    assert random_problems(loaded.reasoner, 5) == problems != random_problems(loaded.reasoner, 5, seed=9)


# Broken on purpose: each breaks one promise and keeps the others.


def nudged(vectors):
    return vectors * (1 + 2**-22)


class ReadingNudges(FeedbackReasoner):
    def tap(self, site, vectors):
        passed = super().tap(site, vectors)
        return nudged(passed) if site in self._recording.read else passed


class EditingNudges(FeedbackReasoner):
    def tap(self, site, vectors):
        passed = super().tap(site, vectors)
        return nudged(passed) if site in self._recording.edits else passed


class DropsTheThought(FeedbackReasoner):
    def step(self, state):
        self.tap("thought", state.hidden)
        forward = self.backbone.forward_vectors(state.hidden[:, None], state.forward)
        return replace(state, forward=forward, hidden=forward.hidden[:, -1])


class DeclaresAnotherShape(FeedbackReasoner):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.sites = {**self.sites, "thought": replace(self.sites["thought"], shape=(self.backbone.d_model + 1,))}


class ReadsBeforeEditing(FeedbackReasoner):
    def tap(self, site, vectors):
        recording = self._recording
        edited = super().tap(site, vectors)
        if site in recording.read and site in recording.edits:
            recording.vectors[site][-1] = vectors.clone()
        return edited


class MixesUpRows(FeedbackReasoner):
    """Tells an edit that the rows belong to the problems in reverse order."""

    def tap(self, site, vectors):
        recording = self._recording
        if site in recording.read:
            return super().tap(site, vectors)
        examples = recording.examples
        recording.examples = examples[::-1]
        try:
            return super().tap(site, vectors)
        finally:
            recording.examples = examples


class IgnoresPadding(FeedbackReasoner):
    def padded(self, rows):
        return super().padded(rows)[0], None


class IgnoresUnknownSites(FeedbackReasoner):
    def run(self, problems, read=(), edits=None, seeds=None, **settings):
        return super().run(problems, [site for site in read if site in self.sites], edits, seeds, **settings)


class DoesNotNameSites(FeedbackReasoner):
    def run(self, problems, read=(), edits=None, seeds=None, **settings):
        if set(read) - set(self.sites):
            raise UnknownSiteError("no such site")
        return super().run(problems, read, edits, seeds, **settings)


class LeavesHooksBehind(FeedbackReasoner):
    def watch(self, sites):
        @contextmanager
        def forgetful() -> Iterator[None]:
            with super(LeavesHooksBehind, self).watch(sites):
                try:
                    yield
                except Exception:
                    embedding = self.backbone.model.get_input_embeddings()
                    hook = embedding.register_forward_hook(lambda module, ids, vectors: vectors + 0.1)
                    self.left_behind = [*getattr(self, "left_behind", ()), hook]
                    raise

        return forgetful()


class SwallowsEdits(FeedbackReasoner):
    """Never lets an edit at keys run, yet says that the site fired."""

    def tap(self, site, vectors):
        if site.endswith("hook_k") and site not in self._recording.read:
            self._recording.fired[site] += 1
            return vectors
        return super().tap(site, vectors)


class _VisitedTwice(FeedbackReasoner):
    """A looped site: the thought passes twice in every step."""

    def step(self, state):
        return super().step(replace(state, hidden=self.tap("thought", state.hidden)))


class KeepsTheLastVisit(_VisitedTwice):
    def tap(self, site, vectors):
        passed = super().tap(site, vectors)
        recording = self._recording
        if site in recording.read and recording.fired[site] == 2:
            del recording.vectors[site][-1], recording.address[site][-1]
        return passed


class IgnoresStepCounts(FeedbackReasoner):
    def n_steps(self, problem):
        return self.recipe.thinking.steps


class CutsStepCounts(FeedbackReasoner):
    def n_steps(self, problem):
        return min(problem.steps or 4, 8)


class RefusesStepsAsMisuse(FeedbackReasoner):
    def n_steps(self, problem):
        if (problem.steps or 0) > 1000:
            raise ConfigError("no")
        return super().n_steps(problem)


class CrashesOnSteps(FeedbackReasoner):
    def n_steps(self, problem):
        if (problem.steps or 0) > 1000:
            raise IndexError("index out of range in self")
        return super().n_steps(problem)


class BendsTheLens(FeedbackReasoner):
    def unembed(self, vectors, site="thought"):
        return super().unembed(vectors / vectors.norm(dim=-1, keepdim=True), site)


BROKEN = [
    (ReadingNudges, contract.reading_changes_nothing, "logits differ once vectors are read"),
    (EditingNudges, contract.identity_edit_changes_nothing, "logits differ under an identity edit"),
    (DropsTheThought, contract.writing_matters, "thoughts are not put back"),
    (DeclaresAnotherShape, contract.shapes_match_axes, r"thought: \(32,\), not \(33,\)"),
    (ReadsBeforeEditing, contract.read_after_edit, "not the edited ones"),
    (MixesUpRows, contract.self_patch_is_identity, "changes the logits"),
    (IgnoresPadding, contract.batch_equals_singles, "largest difference between batch and single"),
    (IgnoresUnknownSites, contract.unknown_site_names_the_known, "an unknown site was accepted"),
    (DoesNotNameSites, contract.unknown_site_names_the_known, "does not name the known"),
    (LeavesHooksBehind, contract.failing_edit_leaves_no_residue, "changed later runs"),
    (KeepsTheLastVisit, contract.every_visit_is_kept, "24 visits, 12 kept"),
    (IgnoresStepCounts, contract.step_counts_are_kept, r"asked for \[4, 3, 4\] steps"),
    (CutsStepCounts, contract.step_counts_are_kept, "was accepted"),
    (RefusesStepsAsMisuse, contract.step_counts_are_kept, "gave ConfigError"),
    (CrashesOnSteps, contract.step_counts_are_kept, "gave IndexError"),
    (BendsTheLens, contract.lens_agrees_with_the_model, "lens and model differ"),
]


@pytest.mark.parametrize(("broken", "check", "message"), BROKEN, ids=lambda value: getattr(value, "__name__", None))
def test_a_broken_promise_is_noticed_by_its_check_alone(loaded, broken, check, message):
    failed = {}
    for one in CHECKS:
        reasoner = build(loaded, broken)
        try:
            one(reasoner, RAGGED)
        except ContractError as error:
            failed[one] = str(error)
        finally:
            for hook in getattr(reasoner, "left_behind", ()):  # the model is shared with other tests
                hook.remove()
    assert list(failed) == [check], failed
    with pytest.raises(ContractError, match=message):
        raise ContractError(failed[check])


def test_every_check_has_been_seen_failing():
    assert {check for _, check, _ in BROKEN} == set(CHECKS)


def test_an_edit_that_never_runs_is_noticed(loaded):
    reasoner = build(loaded, SwallowsEdits)
    with pytest.raises(ContractError, match=r"edit at blocks\.0\.attn\.hook_k never ran"):
        contract.failing_edit_leaves_no_residue(reasoner, RAGGED)


def test_one_failing_check_stops_no_other(loaded):
    results = check_reasoner(build(loaded, BendsTheLens), RAGGED)
    assert [result.passed for result in results] == [True] * (len(CHECKS) - 1) + [False]
    assert "lens and model differ" in results[-1].detail
    assert all(result.name and not result.name.endswith(".") for result in results)
