"""The bits of a chain whose values depend on each other never exceed what the chain has; an upper bound that does not
hold is called one that does not."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from probes.errors import ProbeDataError
from workbench.bits.decode import chain_bits, step_bits
from workbench.bits.known import Sides, Thoughts
from workbench.bits.neighbours import entropy_of, told_by
from workbench.bits.sweep import sweep
from workbench.reports.bandwidth_records import ChainRecord
from workbench.reports.fields import Interval
from workbench.tasks import Rooms
from workbench.tasks.rooms import MAX_DISTANCE, MOVES, ROOMS, follow

N, N_STEPS = 800, 3


def exact_entropy(n_steps: int) -> float:
    """Of a chain of rooms: the first is drawn evenly, each next by one of twelve moves from the one before."""
    given = []
    for room in range(len(ROOMS)):
        reached = [follow(room, move, far) for move in MOVES for far in range(1, MAX_DISTANCE + 1)]
        given.append(entropy_of(reached))
    return float(np.log2(len(ROOMS)) + (n_steps - 1) * np.mean(given))


def decoded(chains, *, noise, groups=None):
    """Steps and record of chains whose thoughts hold their values beside so much noise."""
    rng = np.random.default_rng(0)
    groups = groups or [f"g{k}" for k in range(len(chains))]
    sides = Sides(tuple(groups), tuple("fit" if k % 2 else "search" for k in range(len(chains))))
    names = sorted({value for chain in chains for value in chain})
    words = rng.normal(size=(len(names), 24))
    steps = range(len(chains[0]))
    vectors = {(s, 0): words[[names.index(chain[s]) for chain in chains]] + noise * rng.normal(size=(len(chains), 24))
               for s in steps}  # fmt: skip
    thoughts = Thoughts(vectors, {place: np.arange(len(chains)) for place in vectors})
    known = [dict(enumerate(chain)) for chain in chains]
    read = [step_bits(thoughts, known, sides, s, seed=0) for s in steps]
    return read, chain_bits(read, sides, seed=0)


@pytest.fixture(scope="module")
def rooms():
    return [problem.thoughts for problem in Rooms(N_STEPS).make(N, seed=1)]


def test_thoughts_that_hold_every_room_give_no_more_than_the_chain_has(rooms):
    exact = exact_entropy(N_STEPS)
    assert exact == pytest.approx(3.700 + 2 * 3.175, abs=0.01)
    _, record = decoded(rooms, noise=0.01)
    assert record.bits <= exact
    assert record.bits <= record.entropy <= exact
    assert record.bits > exact - 1  # 400 rows for 169 pairs take off some 0.3 bits a step too many
    assert record.told_before > 2 * 0.526
    assert record.interval.low <= record.bits <= record.interval.high


def test_rooms_of_which_nothing_can_be_read_give_nothing(rooms):
    _, record = decoded(rooms[:300], noise=1e6)
    assert record.bits < 0.1
    assert record.interval.low == 0


def test_a_step_that_cannot_be_read_takes_nothing_from_the_others():
    chains = [(f"m{k // 2 % 4}",) * 2 for k in range(400)]
    read, alone = decoded([chain[:1] for chain in chains], noise=0.05)
    blind, _ = decoded(chains, noise=1e6)
    both = chain_bits([read[0], blind[1]], Sides(tuple(map(str, range(400))), ("search",) * 400), seed=0)
    assert both.bits == pytest.approx(alone.bits, abs=0.01)
    assert both.bits == pytest.approx(2, rel=0.1)


def test_what_is_told_before_is_the_mutual_information():
    rng = np.random.default_rng(3)
    first = rng.integers(5, size=500)
    second = (first + rng.integers(3, size=500)) % 5
    told = told_by(first.tolist(), second.tolist())
    assert told.shape == (500,)
    assert told.mean() == pytest.approx(mutual_info_score(first, second) / np.log(2))
    assert told_by(["a", "b"] * 50, [("x",), ("x", "y")] * 50).mean() == pytest.approx(1)
    assert told_by(["a"] * 9, ["b"] * 9).mean() == 0
    assert entropy_of(["a", "b", ("a",), ("b",)]) == pytest.approx(2)


def test_values_that_are_not_pairs_are_refused():
    with pytest.raises(ProbeDataError, match="not pairs"):
        told_by(["a"], ["a", "b"])
    with pytest.raises(ProbeDataError, match="no values"):
        told_by([], [])


def test_a_record_of_more_bits_than_the_chain_has_is_refused():
    values = {"interval": Interval(low=0, high=5), "told_before": 0.5, "shuffled": 0.0, "n": 9, "n_groups": 9}
    assert ChainRecord(bits=4.0, entropy=4.0, **values).bits == 4.0
    with pytest.raises(ValueError, match="chain that has"):
        ChainRecord(bits=4.1, entropy=4.0, **values)


class Bench:
    """Every code keeps what is said on the problems searched on, and changes so many of ten on others."""

    seed, n_fit = 0, 1
    sides = SimpleNamespace(groups=tuple(f"g{k}" for k in range(10)))

    def __init__(self, n_changed):
        self.n_changed = n_changed
        self.measured = {"search": list(range(10)), "confirm": list(range(10))}

    def n_values(self, step):
        return None

    def rank(self, step):
        return 0

    def hear(self, what, step, role):
        changed = np.arange(10) < (self.n_changed if role == "confirm" else 0)
        return SimpleNamespace(bits=np.ones(10), changed=changed, answers_changed=None)


def test_a_code_that_changes_more_than_was_allowed_does_not_hold():
    broken = sweep(Bench(1), None, 24, allowed=0.01).used
    assert broken.changed == 0.1
    assert broken.changed_interval.low < 0.01
    assert not broken.holds
    assert sweep(Bench(0), None, 24, allowed=0.01).used.holds
    assert sweep(Bench(1), None, 24, allowed=0.1).used.holds
