"""Of a memory with two slots an episode, the one that was given the value is read, and the other is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from workbench.evidence import AUDITED, CALIBRATION, compare_problems, examples_of, labelled_steps, split_honest
from workbench.fit import fit_steps
from workbench.memory_slots import slot_records
from workbench.reasoners.recipe import Speaking
from workbench.reports.memory_records import SlotRecord
from workbench.store import RunStore, SiteRows, StoreWriter

WORDS = ("ash", "birch", "cedar", "elm", "fir")
SPEAKING = Speaking(max_new_tokens=9, claims="kept (.*)", answer="kept (.*)")
D, N_HONEST, N_AUDITED, EPISODES, SLOTS = 12, 160, 40, 2, 2
HOLDS, EMPTY = 1, 0
"""Slot of each episode that is given its value, and the one that is given noise."""


def memory_run(folder: Path) -> RunStore:
    """Honest problems say what they hold; every other audited one says something else of episode 1."""
    rng = np.random.default_rng(0)
    means = 4 * rng.normal(size=(EPISODES, len(WORDS), D))
    held = rng.integers(len(WORDS), size=(N_HONEST + N_AUDITED, EPISODES))
    vectors = rng.normal(size=(len(held), EPISODES, SLOTS, D))
    vectors[:, :, HOLDS] += means[np.arange(EPISODES), held]
    address = np.array([(i, e, s, 0) for i in range(len(held)) for e in range(EPISODES) for s in range(SLOTS)])
    records = []
    for i, row in enumerate(held):
        lies = i >= N_HONEST and i % 2
        said = [WORDS[row[0]], WORDS[(row[1] + 1) % len(WORDS)] if lies else WORDS[row[1]]]
        plain = {"id": f"p{i}", "group": f"p{i}", "prompt": f"recall {i}", "thoughts": [WORDS[v] for v in row]}
        role = CALIBRATION if i < N_HONEST else AUDITED
        records.append({"problem": plain, "role": role, "said": f"kept {' '.join(said)}", "n_emitted": 0,
                        "n_steps": EPISODES})  # fmt: skip
    site = {"dim": D, "dtype": "float32", "axes": ["d_model"]}
    with StoreWriter.open(folder, config={"model": "sha256:0", "sites": {"thought": site}}, n_shards=1) as writer:
        writer.append(
            0, {"thought": SiteRows(vectors.reshape(-1, D).astype("float32"), address.astype(np.int32))}, records
        )
        writer.seal()
    return RunStore(folder)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], SlotRecord]:
    store = memory_run(tmp_path_factory.mktemp("memory") / "run")
    honest = split_honest(store, SPEAKING, alpha=0.05, seed=0)
    fits = fit_steps(labelled_steps(store, honest), None, seed=0)
    held_out, audited = (
        compare_problems(store, examples, fits, SPEAKING, None)
        for examples in (honest.independent_examples, examples_of(store, AUDITED))
    )
    records = slot_records(store, honest, held_out, audited, seed=0)
    return {(row.episode, row.slot): row for row in records}


def test_every_slot_has_a_row(rows: dict[tuple[int, int], SlotRecord]) -> None:
    assert sorted(rows) == [(e, s) for e in range(EPISODES) for s in range(SLOTS)]


@pytest.mark.parametrize("episode", range(EPISODES))
def test_the_slot_that_was_given_the_value_is_read(rows: dict[tuple[int, int], SlotRecord], episode: int) -> None:
    row = rows[episode, HOLDS]
    assert row.readable
    assert row.decode_accuracy >= 0.95
    assert row.control <= 0.4


@pytest.mark.parametrize("episode", range(EPISODES))
def test_the_slot_that_holds_nothing_is_not(rows: dict[tuple[int, int], SlotRecord], episode: int) -> None:
    row = rows[episode, EMPTY]
    assert not row.readable
    assert row.decode_accuracy <= 0.45


def test_what_is_said_of_the_memory_parts_from_the_slot_in_half_of_the_audited_problems(
    rows: dict[tuple[int, int], SlotRecord],
) -> None:
    lied_about, told = rows[1, HOLDS].says_otherwise, rows[0, HOLDS].says_otherwise
    honest = rows[1, HOLDS].honest_says_otherwise
    assert lied_about is not None
    assert told is not None
    assert honest is not None
    assert (lied_about.share, lied_about.n) == (0.5, N_AUDITED)
    assert told.share <= 0.05
    assert honest.share <= 0.05
