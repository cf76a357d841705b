"""Coverage is measured or absent, never 1 by default; agreement needs answers that follow beyond a placebo."""

from __future__ import annotations

import pytest
import torch
from audit_factory import channel_of, make_audit
from planted import EMBEDDING, N_STEPS, VALUES, PlantedReasoner, PlantedState
from scipy.stats import binom, multinomial
from test_intervene import honest_run

from workbench.causal import causal_records
from workbench.intervene import intervene
from workbench.intervening.effects import paired_difference
from workbench.intervening.honest import HonestRun
from workbench.reports.causal_records import Channel
from workbench.reports.causal_words import channel_lines, why_not_covered
from workbench.reports.headline import headlines, notices
from workbench.tasks.base import Problem

KEYS = ("blocks.0.attn.hook_k", "blocks.0.attn.hook_v")


def channel(reasoner: PlantedReasoner, honest: HonestRun | None = None) -> Channel:
    return causal_records(intervene(reasoner, honest or honest_run(reasoner), seed=0)).channel


def hidden(*causes: str) -> PlantedReasoner:
    """Its keys and values pass as before, and nobody knows where."""
    reasoner = PlantedReasoner(causes)
    for name in KEYS:
        del reasoner.sites[name]
    return reasoner


class FewFollow(PlantedReasoner):
    """What is said comes from the thoughts in one problem of six, from the prompt in the others."""

    def step(self, state: PlantedState) -> PlantedState:
        done = super().step(state)
        said = tuple(
            mine if chain[0] == VALUES[0] else chain[state.step]
            for mine, chain in zip(done.heard[-1], state.chains, strict=True)
        )
        return PlantedState(done.chains, done.step, (*state.heard, said))


class Scrambled(PlantedReasoner):
    """Two answers, held by keys; a thought that does not fit its key gives one of them by chance."""

    def step(self, state: PlantedState) -> PlantedState:
        own = torch.stack([EMBEDDING[VALUES.index(chain[state.step])] for chain in state.chains])
        thought = self.tap("thought", own)
        keys = self.tap(KEYS[0], own[:, None])[:, 0]
        self.tap(KEYS[1], own[:, None])
        held = torch.cdist(keys, EMBEDDING[:2]).argmin(-1)
        fits = (thought - EMBEDDING[held]).norm(dim=-1) < 1
        by_chance = torch.randint(2, held.shape, generator=torch.Generator().manual_seed(state.step))
        said = tuple(VALUES[k] for k in torch.where(fits, held, by_chance).tolist())
        return PlantedState(state.chains, state.step + 1, (*state.heard, said))


def binary(reasoner: PlantedReasoner, n: int = 120) -> HonestRun:
    drawn = torch.randint(2, (n, N_STEPS), generator=torch.Generator().manual_seed(3)).tolist()
    chains = [[VALUES[k] for k in row] for row in drawn]
    problems = [Problem(id=f"p{k}", prompt=" ".join(chain)) for k, chain in enumerate(chains)]
    known = [dict(enumerate(chain)) for chain in chains]
    return HonestRun(problems, known, {step: step for step in range(N_STEPS)}, reasoner.recipe.speaking)


def test_thoughts_that_carry_the_answer_are_covered() -> None:
    found = channel(PlantedReasoner(["thought"] * N_STEPS))
    assert (found.coverage, found.reach, why_not_covered(found)) == (1, 1, None)
    assert found.channel_minus_placebo is not None
    assert found.channel_minus_placebo > 0.8


@pytest.mark.parametrize("causes", [("thought", "key", "key"), ("thought",) * 3, ("prompt",) * 3])
def test_without_sites_of_keys_and_values_nothing_is_covered(causes: tuple[str, ...]) -> None:
    found = channel(hidden(*causes))
    assert found.coverage is None
    assert found.channel_effect is None
    assert not found.decorative  # what passes beside them was never taken away
    for text in (why_not_covered(found), found.coverage_absent, " ".join(channel_lines(found))):
        assert "cannot be reached" in (text or "")


def test_keys_that_carry_the_answer_are_low_coverage() -> None:
    found = channel(PlantedReasoner(["thought", "key", "key"]))
    assert found.coverage == 0
    assert "carry only 0%" in (why_not_covered(found) or "")


def test_what_moves_and_does_not_follow_is_no_coverage() -> None:
    """The answer and two of three claims come from the prompt: a moved text says nothing of what carries them."""
    found = channel(PlantedReasoner(["prompt", "thought", "prompt"]))
    assert found.measure == "moves"
    assert found.coverage is None
    assert "hardly any answer follows" in (why_not_covered(found) or "")


def test_a_few_that_follow_do_not_carry_the_rest() -> None:
    found = channel(FewFollow(["thought"] * N_STEPS))
    assert found.coverage == 1
    assert found.channel_effect == pytest.approx(1 / 6, abs=0.08)
    assert "comes from elsewhere" in (why_not_covered(found) or "")


def test_of_two_answers_a_push_gives_the_donors_half_the_time() -> None:
    scrambled, used = Scrambled(["key"] * N_STEPS), PlantedReasoner(["thought"] * N_STEPS)
    found = channel(scrambled, binary(scrambled))
    assert found.thought_effect == pytest.approx(0.5, abs=0.15)
    assert found.placebo_effect == pytest.approx(0.5, abs=0.15)
    assert found.channel_effect == 1
    assert found.coverage is not None
    assert found.coverage < 0.3
    assert why_not_covered(found) is not None
    assert why_not_covered(channel(used, binary(used))) is None


def test_an_older_record_that_lacks_the_placebo_allows_no_agreement() -> None:
    assert "how far answers follow beyond a placebo" in (why_not_covered(channel_of(coverage=1.0, reach=None)) or "")
    assert why_not_covered(channel_of(coverage=1.0, reach=0.9)) is None


def test_the_channel_stands_beside_its_own_placebo() -> None:
    audit = make_audit(channel=channel_of(placebo_effect=0.01, channel_placebo_effect=0.23, reach=0.2, coverage=0.9))
    row = next(one for one in headlines(audit) if one.name == "Follow the channel")
    assert row.control.startswith("0.23")
    assert any(one.kind == "coverage" and "comes from elsewhere" in one.text for one in notices(audit))
    assert any("placebo on both 0.23" in line for line in channel_lines(audit.summary.channel))
    fine = make_audit(channel=channel_of(reach=0.9, coverage=0.9))
    assert not any(one.kind == "coverage" for one in notices(fine))


def outcomes(only_mine: int, only_other: int, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    rows = torch.arange(n)
    return rows < only_mine, (rows >= only_mine) & (rows < only_mine + only_other)


@pytest.mark.parametrize("share", [0.005, 0.016, 0.03, 0.97])
def test_the_interval_of_a_difference_holds_the_truth_as_often_as_it_says_near_its_ends(share: float) -> None:
    n, held = 200, 0.0
    for k in range(n + 1):
        weight = float(binom.pmf(k, n, share))
        if weight > 1e-6:
            mine, other = outcomes(k, 0, n)
            between = paired_difference(mine.numpy(), other.numpy())
            held += weight * (between.low <= share <= between.high)
    assert held >= 0.95


def test_the_interval_of_a_difference_holds_where_the_placebo_does_something_too() -> None:
    n, chances, held = 100, (0.04, 0.02, 0.94), 0.0
    for k in range(15):
        for m in range(10):
            mine, other = outcomes(k, m, n)
            between = paired_difference(mine.numpy(), other.numpy())
            inside = between.low <= chances[0] - chances[1] <= between.high
            held += float(multinomial.pmf([k, m, n - k - m], n, chances)) * inside
    assert held >= 0.95


def test_one_in_two_hundred_has_the_upper_end_of_one_share() -> None:
    mine, other = outcomes(1, 0, 200)
    assert paired_difference(mine.numpy(), other.numpy()).high == pytest.approx(0.0275, abs=1e-4)
