"""Chains that part are found where they part; chains that agree are left alone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.claims import parse_said
from workbench.divergence import (
    Reading,
    align,
    compare_chains,
    find_answer_place,
    problem_score,
    step_at,
)
from workbench.reasoners.recipe import Speaking

VALUES = ("atrium", "bakery", "cellar", "dairy", "foyer", "gallery", "kitchen", "library")


def reading(step: int, value: str, confidence: float = 0.99) -> Reading:
    rest = (1 - confidence) / (len(VALUES) - 1)
    proba = np.array([confidence if v == value else rest for v in VALUES])
    return Reading(step, VALUES, np.log(proba))


def chain(*values: str) -> list[Reading]:
    return [reading(step, value) for step, value in enumerate(values)]


def statuses(thoughts: list[Reading], claims: list[str], **more: object) -> list[str]:
    return [p.status for p in compare_chains(thoughts, claims, **more)]  # type: ignore[arg-type]


def test_equal_chains_agree_and_score_zero() -> None:
    pairings = compare_chains(chain("vault", "cellar")[:0] + chain("cellar", "dairy"), ["cellar", "dairy"])
    assert [p.status for p in pairings] == ["agree", "agree"]
    assert problem_score(pairings) == 0


def test_a_less_sharp_thought_that_reads_as_said_scores_zero() -> None:
    assert problem_score(compare_chains([reading(0, "cellar", confidence=0.2)], ["cellar"])) == 0


def test_one_planted_conflict_is_found_at_its_step() -> None:
    pairings = compare_chains(chain("cellar", "dairy", "foyer"), ["cellar", "kitchen", "foyer"])
    assert [p.status for p in pairings] == ["agree", "conflict", "agree"]
    conflict = pairings[1]
    assert (conflict.step, conflict.said, conflict.claim_index) == (1, "kitchen", 1)
    assert conflict.margin == pytest.approx(np.log(0.99 / (0.01 / 7)))
    assert problem_score(pairings) == pytest.approx(conflict.margin)


@given(
    st.lists(st.sampled_from(VALUES), min_size=4, max_size=4), st.lists(st.sampled_from(VALUES), min_size=4, max_size=4)
)
def test_equal_lengths_stay_side_by_side_unless_a_shift_fits_far_better(held: list[str], said: list[str]) -> None:
    places = align(chain(*held), said)
    shifted = max(
        sum(h == s for h, s in zip(held, said[1:], strict=False)),
        sum(h == s for h, s in zip(held[1:], said, strict=False)),
    )
    side_by_side = sum(h == s for h, s in zip(held, said, strict=True))
    if shifted < 3 or side_by_side >= shifted:
        assert places == [(k, k) for k in range(4)]


@given(st.integers(0, 5), st.integers(0, 5))
def test_alignment_is_monotone_and_keeps_everything(n: int, m: int) -> None:
    held = list(itertools.islice(itertools.cycle(VALUES), n))
    said = list(itertools.islice(itertools.cycle(reversed(VALUES)), m))
    places = align(chain(*held), said)
    assert [i for i, _ in places if i is not None] == list(range(n))
    assert [j for _, j in places if j is not None] == list(range(m))


def test_a_skipped_claim_is_unsaid() -> None:
    assert statuses(chain("cellar", "dairy", "foyer"), ["cellar", "foyer"]) == ["agree", "unsaid", "agree"]


def test_a_claim_without_thought_is_unsupported() -> None:
    pairings = compare_chains(chain("cellar", "foyer"), ["cellar", "dairy", "foyer"])
    assert [p.status for p in pairings] == ["agree", "unsupported", "agree"]
    assert pairings[1].step is None
    assert pairings[1].margin > 0


def test_a_value_held_before_it_is_said_is_ahead_by_as_many_claims() -> None:
    thoughts = [
        reading(0, "foyer"),
        reading(1, "cellar"),
        reading(2, "dairy"),
        reading(3, "kitchen"),
        reading(4, "foyer"),
    ]
    pairings = compare_chains(thoughts, ["cellar", "dairy", "kitchen", "foyer"])
    assert [p.status for p in pairings] == ["ahead", "agree", "agree", "agree", "agree"]
    assert pairings[0].held_before == 4
    assert problem_score(pairings) == 0


def test_nothing_said_leaves_every_thought_unsaid() -> None:
    assert statuses(chain("cellar", "dairy"), []) == ["unsaid", "unsaid"]


def test_an_unknown_value_counts_as_the_least_likely() -> None:
    margin = compare_chains(chain("cellar"), ["moon"])[0].margin
    assert margin == pytest.approx(np.log(0.99 / (0.01 / 7)))


def test_an_answer_that_contradicts_a_truthful_chain_diverges() -> None:
    thoughts = chain("cellar", "dairy")
    pairings = compare_chains(thoughts, ["cellar", "dairy"], answer="kitchen", answer_step=1)
    assert [p.status for p in pairings] == ["agree", "conflict"]
    assert pairings[1].said == "kitchen"
    assert statuses(thoughts, ["cellar", "dairy"], answer="dairy", answer_step=1) == ["agree", "agree"]


def test_an_answer_alone_is_compared() -> None:
    assert statuses(chain("cellar", "dairy"), [], answer="kitchen", answer_step=1) == ["unsaid", "conflict"]


def test_divergence_bits_run_from_zero_to_one() -> None:
    sharp = reading(0, "cellar", confidence=1 - 1e-9)
    assert sharp.divergence_bits("cellar") == pytest.approx(0, abs=1e-6)
    assert sharp.divergence_bits("dairy") == pytest.approx(1, abs=1e-6)
    assert sharp.divergence_bits(None) == 1
    assert 0 < reading(0, "cellar", confidence=0.5).divergence_bits("cellar") < 0.5


def test_the_answer_step_is_where_honest_answers_come_from() -> None:
    labels = [{0: a, 1: b} for a, b in itertools.product(VALUES, VALUES)]
    two = [2] * len(labels)
    assert step_at(find_answer_place(labels, [known[1] for known in labels], two), 2) == 1
    assert step_at(find_answer_place(labels, [known[0] for known in labels], two), 2) == 0
    assert find_answer_place(labels, ["moon"] * len(labels), two) is None
    assert find_answer_place(labels, [None] * len(labels), two) is None


def test_the_last_thought_is_the_answer_whatever_the_length() -> None:
    chains = [list(chain)[: 3 + k % 3] for k, chain in enumerate(itertools.permutations(VALUES, 5))][:300]
    labels = [dict(enumerate(chain)) for chain in chains]
    place = find_answer_place(labels, [chain[-1] for chain in chains], [len(chain) for chain in chains])
    assert place == -1
    assert [step_at(place, n) for n in (3, 4, 5)] == [2, 3, 4]


@pytest.mark.parametrize(("n_values", "length"), [(13, 4), (13, 12), (11, 30), (11, 60), (5, 12)])
def test_independent_chains_of_any_length_stay_side_by_side(n_values: int, length: int) -> None:
    generator = np.random.default_rng(length)
    values = tuple(f"v{k}" for k in range(n_values))
    sure = np.log(np.full((n_values, n_values), 1e-6) + np.eye(n_values) * (1 - n_values * 1e-6))
    right = total = 0
    for _ in range(60):
        held, said = generator.integers(n_values, size=(2, length))
        pairings = compare_chains([Reading(k, values, sure[v]) for k, v in enumerate(held)], [values[v] for v in said])
        status = {p.step: p.status for p in pairings if p.step is not None}
        right += sum((status[k] != "agree") == (held[k] != said[k]) for k in range(length))
        total += length
    assert right / total >= 0.97


SPEAKING = Speaking(max_new_tokens=8, claims=r"steps ([^<]+)", separator=" ", answer=r"answer (\S+)")


@pytest.mark.parametrize(
    ("text", "claims", "answer"),
    [
        ("<say> answer library steps vault  cellar library ", ("vault", "cellar", "library"), "library"),
        ("<say> answer library", (), "library"),
        ("steps vault", ("vault",), None),
        ("", (), None),
    ],
)
def test_claims_are_read_as_the_recipe_says(text: str, claims: tuple[str, ...], answer: str | None) -> None:
    said = parse_said(text, SPEAKING)
    assert (said.claims, said.answer) == (claims, answer)


def test_another_separator_and_an_optional_group() -> None:
    speaking = Speaking(max_new_tokens=8, claims=r"because ([^|]+)", separator=" -> ", answer=r"result(?: (\w+))?")
    said = parse_said("result because v3 -> v9 ->  -> v7 | end", speaking)
    assert said.claims == ("v3", "v9", "v7")
    assert said.answer == "because"
    assert parse_said("result", speaking).answer is None
