"""Near-duplicates across a split: those that were planted are counted, and no others."""

import numpy as np
import pytest

from probes.errors import ProbeDataError
from probes.near_duplicates import near_duplicates

WORDS = np.array([f"word{k}" for k in range(3000)])


def texts(n, seed=0, length=60):
    return [" ".join(np.random.default_rng([seed, k]).choice(WORDS, length)) for k in range(n)]


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2])
def test_planted_near_duplicates_are_all_counted(share):
    fit = texts(400)
    n = round(share * 400)
    changed = [text.upper().replace(" ", "\t ", 3) + " one" for text in fit[:n]]  # case, white space, a word more
    held = [*changed, *texts(400 - n, seed=1)]
    found = near_duplicates(fit + held, np.arange(800) >= 400)
    assert (found.n_pairs, found.n_rows) == (n, n)


def test_texts_that_differ_are_not_counted():
    found = near_duplicates(texts(300), np.arange(300) % 2 == 0)
    assert (found.n_pairs, found.n_rows) == (0, 0)


def test_exact_duplicates_are_counted_as_often_as_they_occur():
    found = near_duplicates(["a b c d", "a b c d", "A  b c d", "e f g h"], [False, False, True, True])
    assert (found.n_pairs, found.n_rows) == (2, 1)


def test_nearly_is_a_matter_of_the_threshold():
    pair = ["a b c d e f g h i j", "a b c d e f g h i k"]
    assert near_duplicates(pair, [False, True], threshold=0.9).n_pairs == 0
    assert near_duplicates(pair, [False, True], threshold=0.5).n_pairs == 1


def test_one_side_only_has_no_pairs():
    assert near_duplicates(["a", "a"], [True, True]).n_pairs == 0


@pytest.mark.parametrize("arguments", [(["a"], [True, False]), (["a"], [True], 0.0)])
def test_wrong_arguments_are_refused(arguments):
    names = ("texts", "held_out", "threshold")
    with pytest.raises(ProbeDataError):
        near_duplicates(**dict(zip(names, arguments, strict=False)))


@pytest.mark.parametrize("threshold", [0.3, 0.6, 0.9, 1.0])
def test_the_count_is_that_of_comparing_every_pair(threshold):
    rng = np.random.default_rng(1)
    some = [" ".join(rng.choice(["a", "b", "c", "d"], size=rng.integers(2, 7))) for _ in range(120)]
    held = np.arange(120) % 3 == 0

    def triples(text):
        words = ["", "", *text.split(), "", ""]
        return {tuple(words[k : k + 3]) for k in range(len(words) - 2)}

    similar = [
        [len(triples(a) & triples(b)) >= threshold * len(triples(a) | triples(b)) for b in np.array(some)[~held]]
        for a in np.array(some)[held]
    ]
    found = near_duplicates(some, held, threshold=threshold)
    assert (found.n_pairs, found.n_rows) == (np.sum(similar), np.any(similar, axis=1).sum())
    assert found.n_rows > 0
