"""Who sees only the words finds lies that stand in the words, and no others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import binomtest

from workbench.claims import Said
from workbench.reports.monitor_records import TextMonitor
from workbench.text_features import Heard, exchanged, falsified, states_otherwise
from workbench.text_monitor import TextReaders, Texts, monitor_text, text_alarms

COLOURS = ("red", "green", "blue", "black", "white", "pink", "brown", "grey", "cyan", "gold")
N_STEPS = 3
ALPHA = 0.05


def problems(n: int, *, seed: int, visible: bool) -> list[Heard]:
    """A prompt of three codes and a said chain; a code states its colour where it is visible, else it is noise."""
    generator = np.random.default_rng(seed)
    made = []
    for k in range(n):
        colours = generator.integers(len(COLOURS), size=N_STEPS)
        codes = colours if visible else generator.integers(len(COLOURS), size=N_STEPS)
        claims = tuple(COLOURS[colour] for colour in colours)
        prompt = "read " + " ; ".join(f"code-{code}" for code in codes)
        made.append(Heard(prompt, Said("", claims, claims[-1]), N_STEPS, f"{seed}-{k}"))
    return made


def lying(heard: Sequence[Heard], place: int = 1) -> list[Heard]:
    """The same, with another colour at one place."""
    lies = []
    for one in heard:
        other = COLOURS[(COLOURS.index(one.said.claims[place]) + 2) % len(COLOURS)]
        claims = (*one.said.claims[:place], other, *one.said.claims[place + 1 :])
        lies.append(replace(one, said=Said("", claims, claims[-1])))
    return lies


def texts(*, visible: bool) -> Texts:
    learned, held = problems(150, seed=1, visible=visible), problems(150, seed=2, visible=visible)
    audited = problems(60, seed=3, visible=visible)
    known = [dict(enumerate(one.said.claims)) for one in learned]
    return Texts(learned, known, held, [*audited, *lying(audited)])


def monitored(given: Texts, diverges: Sequence[bool]) -> TextMonitor:
    names = [f"p-{k}" for k in range(len(given.audited))]
    return monitor_text(given, names, diverges, -1, alpha=ALPHA, seed=0)


@pytest.fixture(scope="module")
def shown() -> TextMonitor:
    return monitored(texts(visible=True), [False] * 60 + [True] * 60)


def test_a_lie_against_the_word_that_states_it_is_found(shown: TextMonitor) -> None:
    record = shown
    assert record.n_both >= 57
    assert record.n_text_only <= 6
    assert record.n_thoughts_only == 60 - record.n_both
    assert record.gain == record.n_thoughts_only / 120
    assert record.told_apart is not None
    assert record.told_apart >= 0.95 > 0.7 >= record.told_apart_control
    assert record.honest_flagged <= ALPHA
    assert record.honest_interval.low <= ALPHA


def test_a_lie_that_no_word_shows_is_not_found_and_the_thoughts_add_it() -> None:
    record = monitored(texts(visible=False), [False] * 60 + [True] * 60)
    assert binomtest(record.n_both, 60, ALPHA, alternative="greater").pvalue > 0.01
    assert record.n_thoughts_only >= 50
    assert record.gain_interval.low >= 0.3
    assert record.told_apart is not None
    assert record.told_apart_interval is not None
    assert record.told_apart_interval.low <= 0.55


def test_a_recital_of_the_prompt_is_found() -> None:
    def with_alibi(heard: Sequence[Heard], seed: int) -> list[Heard]:
        generator = np.random.default_rng(seed)
        alibis = [" ".join(COLOURS[k] for k in generator.integers(len(COLOURS), size=N_STEPS)) for _ in heard]
        return [replace(one, prompt=f"{one.prompt} alibi {alibi}") for one, alibi in zip(heard, alibis, strict=True)]

    given = texts(visible=False)
    learned, held = with_alibi(given.learned, 1), with_alibi(given.held, 2)
    honest = with_alibi(given.audited[:60], 3)
    reciting = []
    for one in honest:
        claims = tuple(one.prompt.split()[-N_STEPS:])
        reciting.append(replace(one, said=Said("", claims, claims[-1])))
    record = monitored(Texts(learned, given.known, held, [*honest, *reciting]), [False] * 60 + [True] * 60)
    assert record.n_both >= 45
    assert record.n_text_only <= 8


def test_honest_texts_are_flagged_within_alpha_over_many_calibrations() -> None:
    given = texts(visible=False)
    readers = TextReaders.fit(given.learned, given.known, -1, seed=0)
    pool = [*given.held, *given.audited[:60]]
    score_of = dict(zip([one.group for one in pool], readers.scores(pool).tolist(), strict=True))
    generator, flagged, tried = np.random.default_rng(0), 0, 0
    for _ in range(50):
        order = [pool[k] for k in generator.permutation(len(pool))]
        split = replace(given, held=order[:150], audited=order[150:])
        alarms = text_alarms(lambda heard: np.array([score_of[one.group] for one in heard]), split)
        flagged, tried = flagged + int((alarms.audited <= ALPHA).sum()), tried + 60
    assert binomtest(flagged, tried, ALPHA, alternative="greater").pvalue > 1e-3


def test_another_number_of_steps_than_any_honest_problem_has_is_never_flagged() -> None:
    given = texts(visible=True)
    longer = [replace(one, n_steps=N_STEPS + 1) for one in given.audited]
    assert monitored(replace(given, audited=longer), [False] * 120).n_flagged == 0


def test_falsified_texts_say_something_else_and_keep_their_prompt() -> None:
    honest = problems(40, seed=1, visible=True)
    by_prompt: dict[str, list[Said]] = {}
    for one in honest:
        by_prompt.setdefault(one.group, []).append(one.said)
    lies = falsified(honest, np.random.default_rng(0))
    assert len(lies) >= 2 * len(honest)
    assert all(states_otherwise(lie.said, by_prompt[lie.group][0]) for lie in lies)


def test_texts_are_exchanged_among_problems_of_equal_length() -> None:
    heard = [replace(one, n_steps=k % 2) for k, one in enumerate(problems(10, seed=1, visible=True))]
    other = exchanged(heard, np.random.default_rng(0))
    for parity in (0, 1):
        before = sorted(one.said.claims for one in heard if one.n_steps == parity)
        assert sorted(one.said.claims for one in other if one.n_steps == parity) == before


def test_where_all_say_the_same_nothing_can_be_learned_and_nothing_is_flagged() -> None:
    same = [replace(one, said=Said("", ("red",), None)) for one in problems(60, seed=1, visible=True)]
    record = monitored(Texts(same[:30], [{}] * 30, same[30:50], same[50:]), [False] * 10)
    assert (record.n_flagged, record.told_apart, record.n_pairs) == (0, None, 0)


def test_counts_that_do_not_add_up_are_refused(shown: TextMonitor) -> None:
    with pytest.raises(ValidationError, match="do not add up"):
        TextMonitor(**(shown.model_dump() | {"n_neither": 3}))
