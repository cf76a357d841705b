"""Sets planted in vectors are read whole, with controls that read nothing; other sets are told from those shown."""

from __future__ import annotations

import numpy as np
import pytest

from probes import load_probes, save_probes
from probes.errors import ProbeDataError
from probes.sets import SetProbe, freeze_sets, members, shuffled_sets
from probes.unseen_sets import UnseenSetTest

VALUES = tuple("abcdefgh")
D = 24
MOVES = np.linalg.qr(np.random.default_rng(3).normal(size=(D, D)))[0][: len(VALUES)] * 3


def planted(n: int, *, seed: int, values: tuple[str, ...] = VALUES) -> tuple[np.ndarray, list[tuple[str, ...]]]:
    """Vectors that are the sum of what their members add, and the sets they hold."""
    generator = np.random.default_rng(seed)
    sets = [tuple(sorted(generator.choice(values, size=generator.integers(1, 4), replace=False))) for _ in range(n)]
    return members(sets, VALUES) @ MOVES + 0.3 * generator.normal(size=(n, D)), sets


def test_sets_that_were_planted_are_read_whole() -> None:
    X, sets = planted(400, seed=0)
    queries, asked = planted(200, seed=1)
    probe = SetProbe().fit(X, sets)
    assert np.mean([read == one for read, one in zip(probe.predict(queries), asked, strict=True)]) >= 0.98
    control = shuffled_sets(X, sets, queries, asked, n_shuffles=50)
    assert control.p_value == pytest.approx(1 / 51)
    assert control.mean <= 0.1


def test_nothing_is_read_where_nothing_was_planted() -> None:
    rows, sets = planted(300, seed=0)
    noise = np.random.default_rng(7).normal(size=rows.shape)
    p_values = [
        shuffled_sets(
            np.random.default_rng(k).normal(size=(200, D)), sets[:200], noise[200:], sets[200:], n_shuffles=20, seed=k
        ).p_value
        for k in range(20)
    ]
    assert np.mean(np.array(p_values) <= 0.05) <= 0.2


def test_the_probability_of_a_member_is_calibrated_where_vectors_are_faint() -> None:
    X, sets = planted(1200, seed=0)
    faint = X + 3 * np.random.default_rng(1).normal(size=X.shape)
    probe = SetProbe().fit(faint[:800], sets[:800])
    said = probe.predict_proba(faint[800:])
    held = members(sets[800:], probe.values_)
    for low in (0.1, 0.3, 0.6):
        inside = (said >= low) & (said < low + 0.2)
        assert abs(said[inside].mean() - held[inside].mean()) < 0.1


def test_a_value_of_every_set_is_read_everywhere_and_moves_nothing() -> None:
    X, sets = planted(200, seed=2)
    probe = SetProbe().fit(X, [(*one, "z") for one in sets])
    assert all("z" in read for read in probe.predict(planted(50, seed=3)[0]))
    assert not probe.coef_[probe.values_.index("z")].any()


def test_a_frozen_set_probe_comes_back_from_its_files() -> None:
    X, sets = planted(200, seed=4)
    frozen = freeze_sets(SetProbe().fit(X, sets), {"step": 0})
    again = load_probes(*save_probes({"x": frozen}))["x"]
    assert again.reads_sets
    np.testing.assert_array_equal(again.log_odds(X), frozen.log_odds(X))
    assert again.predict(X)[0] == ", ".join(sets[0])
    with pytest.raises(ProbeDataError, match="log_odds"):
        again.log_proba(X)


def test_members_that_were_never_shown_are_told_from_those_that_were() -> None:
    shown = VALUES[:-1]
    X, sets = planted(500, seed=5, values=shown)
    held, asked = planted(300, seed=6, values=shown)
    test = UnseenSetTest.fit(freeze_sets(SetProbe().fit(X, sets)), X, sets, held, asked)
    known, _ = planted(300, seed=8, values=shown)
    strange, holding = planted(400, seed=9)
    strange = strange[["h" in one for one in holding]]
    random = np.random.default_rng(0).normal(size=(200, D)) * known.std()
    assert (test.p_value(known) <= 0.05).mean() >= 0.95
    assert (test.p_value(strange) <= 0.05).mean() <= 0.2
    assert (test.p_value(random) <= 0.05).mean() <= 0.1


@pytest.mark.parametrize("sets", [[("a",)] * 20, [()] * 20, [("a", "b")] * 20])
def test_sets_that_do_not_differ_are_refused(sets: list[tuple[str, ...]]) -> None:
    with pytest.raises(ProbeDataError, match="sets that differ"):
        SetProbe().fit(np.random.default_rng(0).normal(size=(20, 4)), sets)
