"""Chains that do not line up: sets in one thought, paraphrases, repeats, values said elsewhere than held."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from workbench.claims import parse_said
from workbench.divergence import compare_chains, find_answer_place, problem_score
from workbench.errors import SchemaError
from workbench.readings import Reading, SetReading
from workbench.reasoners.recipe import Speaking, parse_recipe

NODES = ("ada", "bo", "cy", "dot", "eli", "fay")


def holding(step: int, *members: str, odds: float = 6.0) -> SetReading:
    return SetReading(step, NODES, np.array([odds if node in members else -odds for node in NODES]))


def reading(step: int, value: str, confidence: float = 0.99) -> Reading:
    rest = (1 - confidence) / (len(NODES) - 1)
    return Reading(step, NODES, np.log([confidence if node == value else rest for node in NODES]))


def chain(*values: str) -> list[Reading]:
    return [reading(step, value) for step, value in enumerate(values)]


def statuses(readings: list[Reading] | list[SetReading], claims: list[str]) -> list[str]:
    return [pairing.status for pairing in compare_chains(readings, claims)]


def test_a_path_through_the_sets_that_are_held_agrees() -> None:
    pairings = compare_chains([holding(0, "ada", "bo"), holding(1, "cy", "dot", "eli")], ["bo", "dot"])
    assert [p.status for p in pairings] == ["agree", "agree"]
    assert problem_score(pairings) == 0


def test_a_node_outside_the_set_is_a_conflict_as_large_as_the_odds_against_it() -> None:
    pairings = compare_chains([holding(0, "ada", "bo"), holding(1, "cy", "dot")], ["bo", "fay"])
    assert [p.status for p in pairings] == ["agree", "conflict"]
    assert pairings[1].margin == pytest.approx(6.0)


def test_a_claim_of_a_whole_set_must_name_all_of_it() -> None:
    thought = holding(0, "ada", "bo")
    assert thought.says("bo + ada")
    assert thought.margin("ada + bo") == 0
    assert thought.margin("ada + cy") == pytest.approx(12.0)  # one that is not held, and one that is left out
    assert not thought.says("ada + bo + cy")


def test_a_set_says_how_sure_it_is() -> None:
    assert holding(0, "ada").confidence == pytest.approx((1 / (1 + np.exp(-6))) ** 6)
    assert holding(0, "ada").divergence_bits("ada") < 0.01 < 0.9 < holding(0, "ada").divergence_bits("bo")
    assert holding(0, "ada").divergence_bits("zoe") == holding(0, "ada").divergence_bits(None) == 1.0
    assert holding(0).best == "(none)"
    assert holding(0, "bo", "ada").likeliest(2) == [
        ("ada", pytest.approx(0.9975, abs=1e-4)), ("bo", pytest.approx(0.9975, abs=1e-4))
    ]  # fmt: skip


def test_an_answer_that_the_last_set_holds_comes_from_there() -> None:
    known = [{0: ("ada", "bo"), 1: ("cy", "dot")}, {0: ("bo",), 1: ("eli", "ada")}] * 5
    assert find_answer_place(known, ["dot", "eli"] * 5, [2] * 10) == -1


def test_a_value_held_twice_and_said_once_is_no_divergence() -> None:
    pairings = compare_chains(chain("ada", "ada", "bo", "cy"), ["ada", "bo", "cy"])
    assert [p.status for p in pairings] == ["agree"] * 4
    assert problem_score(pairings) == 0


def test_a_value_held_once_and_said_twice_is_no_divergence() -> None:
    pairings = compare_chains(chain("ada", "bo", "cy"), ["ada", "bo", "bo", "cy"])
    assert sorted(p.status for p in pairings) == ["agree", "agree", "agree", "unsupported"]
    assert problem_score(pairings) == 0


def test_another_value_in_the_place_of_a_repeat_is_one() -> None:
    assert statuses(chain("ada", "dot", "bo", "cy"), ["ada", "bo", "cy"]) == ["agree", "unsaid", "agree", "agree"]
    assert problem_score(compare_chains(chain("ada", "bo", "cy"), ["ada", "dot", "bo", "cy"])) > 1.5


def test_a_value_said_before_its_place_counts_as_said() -> None:
    pairings = compare_chains(chain("ada", "bo", "cy", "dot"), ["dot", "ada", "bo", "cy"])
    assert [p.status for p in pairings] == ["unsupported", "agree", "agree", "agree", "ahead"]
    assert pairings[-1].held_before == -4
    assert problem_score(pairings) == 0


@pytest.mark.parametrize(("held", "said"), [
    (("ada", "bo", "cy", "dot", "eli"), ("ada", "cy", "eli")),
    (("ada", "bo", "cy"), ("ada", "fay", "bo", "dot", "cy")),
])  # fmt: skip
def test_chains_of_different_length_line_up_where_they_can(held: tuple[str, ...], said: tuple[str, ...]) -> None:
    agreeing = [p for p in compare_chains(chain(*held), list(said)) if p.status == "agree"]
    assert [p.said for p in agreeing] == [value for value in said if value in held]


SPEAKING = Speaking(
    max_new_tokens=9, claims="via (.+?) to ", answer=r" to (.+)", separator=", ",
    same={"north tower": ["the tower", "Tower (north)"], "bakery": ["bakehouse"]},
)  # fmt: skip


def test_paraphrases_count_as_the_value_they_mean_and_values_may_be_several_words() -> None:
    said = parse_said("via THE  tower, cellar, bakehouse to Tower (North)", SPEAKING)
    assert said.claims == ("north tower", "cellar", "bakery")
    assert said.answer == "north tower"
    assert said.text == "via THE  tower, cellar, bakehouse to Tower (North)"


@pytest.mark.parametrize(("same", "named"), [
    ('a = ["x"]\nb = ["X"]', "stands for both"),
    ('a = ["b"]\nb = ["y"]', "value of its own"),
])  # fmt: skip
def test_a_phrase_that_means_two_values_is_refused_by_file_and_field(same: str, named: str) -> None:
    text = f"""
schema = 1
family = "feedback"
preset = "coconut"
[thinking]
steps = 2
[speaking]
max_new_tokens = 4
claims = "(.+)"
answer = "(.+)"
[speaking.same]
{same}
"""
    with pytest.raises(SchemaError, match=named) as caught:
        parse_recipe(text, path="reasoner.toml")
    assert caught.value.field == "speaking.same"


@pytest.mark.parametrize("p", [1.0, 1 - 1e-16, 0.999, 0.5, 0.01, 1e-300])
def test_bits_are_those_of_the_jensen_shannon_divergence_and_zero_where_it_is_certain(p: float) -> None:
    reading = Reading(0, ("a", "b", "c"), np.log(np.array([p, max((1 - p) / 2, 1e-320), max((1 - p) / 2, 1e-320)])))
    known = 0.0 if p > 0.9999 else jensenshannon(np.exp(reading.log_proba), [1.0, 0.0, 0.0], base=2) ** 2
    assert reading.divergence_bits("a") == pytest.approx(known, abs=1e-9)
