"""Splits keep groups whole, do not depend on order or process, and refuse leaks."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes import ProbeDataError, assert_no_leakage, merge_duplicate_groups, split_groups
from probes.splits import hash_order, held_out_by_hash

GROUPS = [f"g{number % 40}" for number in range(100)]


def test_whole_groups_and_just_enough_rows():
    second = split_groups(GROUPS, 30, seed=0)
    assert second.dtype == np.bool_
    assert 30 <= second.sum() <= 32
    chosen = np.array(GROUPS)
    assert not set(chosen[second]) & set(chosen[~second])


def test_the_order_of_rows_does_not_matter():
    order = np.random.default_rng(0).permutation(100)
    shuffled = split_groups([GROUPS[i] for i in order], 30, seed=0)
    np.testing.assert_array_equal(shuffled, split_groups(GROUPS, 30, seed=0)[order])


def test_seeds_differ_and_larger_parts_contain_smaller_ones():
    assert (split_groups(GROUPS, 30, seed=0) != split_groups(GROUPS, 30, seed=1)).any()
    assert (split_groups(GROUPS, 30, seed=0) <= split_groups(GROUPS, 60, seed=0)).all()


def test_the_split_is_fair():
    taken = np.mean([split_groups(GROUPS, 50, seed=seed) for seed in range(300)], axis=0)
    assert np.abs(taken - 0.5).max() < 0.15


def test_the_hash_seed_of_python_does_not_matter():
    code = "from probes import split_groups; print(split_groups([f'g{i}' for i in range(30)], 9, seed=4).tolist())"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert outputs.pop().decode().strip() == str(split_groups([f"g{i}" for i in range(30)], 9, seed=4).tolist())


def test_nothing_may_be_kept_back():
    assert not split_groups(GROUPS, 0, seed=0).any()


@pytest.mark.parametrize(
    ("groups", "n_second"),
    [(["a"] * 9, 3), (["a", "b"], 2), (["a", "b"], -1), ([], 0), (["b"] * 9 + ["a"], 9)],
)
def test_splits_that_cannot_be(groups, n_second):
    with pytest.raises(ProbeDataError, match="second part"):
        split_groups(groups, n_second, seed=0)


def test_duplicates_share_a_group_through_any_chain():
    groups = ["z", "b", "c", "d", "b"]
    keys = ["one", "one", "two", "three", "two"]
    assert merge_duplicate_groups(groups, keys) == ["b", "b", "b", "d", "b"]
    with pytest.raises(ProbeDataError, match="5 groups for 1 keys"):
        merge_duplicate_groups(groups, ["one"])


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("123456")), max_size=30), st.randoms())
def test_merging_is_the_smallest_that_keeps_keys_and_groups_together(rows, random):
    merged = merge_duplicate_groups([group for group, _ in rows], [key for _, key in rows])
    for (group, key), name in zip(rows, merged, strict=True):
        for (other_group, other_key), other_name in zip(rows, merged, strict=True):
            if group == other_group or key == other_key:
                assert name == other_name
    # Smallest: walking between rows that share a group or a key reaches every row of a merged group.
    for index, name in enumerate(merged):
        reached, frontier = {index}, [index]
        while frontier:
            group, key = rows[frontier.pop()]
            for j, (other_group, other_key) in enumerate(rows):
                if j not in reached and (group == other_group or key == other_key):
                    reached.add(j)
                    frontier.append(j)
        assert reached == {j for j, other in enumerate(merged) if other == name}
    order = list(range(len(rows)))
    random.shuffle(order)
    again = merge_duplicate_groups([rows[i][0] for i in order], [rows[i][1] for i in order])
    assert again == [merged[i] for i in order]


def test_merged_groups_make_a_split_without_leaks():
    prompts = [f"prompt {number % 17}" for number in range(100)]
    merged = merge_duplicate_groups([f"p{number}" for number in range(100)], prompts)
    second = split_groups(merged, 30, seed=0)
    assert_no_leakage(*([p for p, kept in zip(prompts, second, strict=True) if kept == side] for side in (True, False)))


def test_a_leak_is_counted_and_shown():
    with pytest.raises(ProbeDataError, match=r"^4 keys are on both sides of the split: 'a', 'b', 'c' and 1 more"):
        assert_no_leakage(["d", "c", "b", "a", "a"], ["a", "b", "c", "d", "e"])
    with pytest.raises(ProbeDataError, match="x…'"):
        assert_no_leakage(["x" * 500], ["x" * 500])
    assert_no_leakage(["a"], ["b"])


def test_a_group_is_held_out_whatever_other_groups_there_are():
    names = [f"g{k}" for k in range(4000)]
    whole = held_out_by_hash(names, 0.3, seed=1)
    alone = [bool(held_out_by_hash([name], 0.3, seed=1)[0]) for name in names]
    assert whole.tolist() == alone
    assert abs(whole.mean() - 0.3) < 0.03
    assert (held_out_by_hash(names, 0.3, seed=2) != whole).mean() > 0.3
    assert not (held_out_by_hash(names, 0.2, seed=1) & ~whole).any()  # a smaller share is part of a larger one
    with pytest.raises(ProbeDataError, match="between 0 and 1"):
        held_out_by_hash(names, 1.0, seed=1)


def test_hash_order_keeps_groups_together_and_does_not_look_at_the_order_of_rows():
    groups = [f"g{k % 7}" for k in range(70)]
    order = hash_order(groups, purpose="coding", seed=3)
    assert sorted(order.tolist()) == list(range(70))
    changes = sum(groups[a] != groups[b] for a, b in itertools.pairwise(order))
    assert changes == 6
    turned = hash_order(groups[::-1], purpose="coding", seed=3)
    assert [groups[::-1][k] for k in turned] == [groups[k] for k in order]


def test_an_order_has_nothing_to_do_with_what_is_held_out():
    names = [f"g{k}" for k in range(4000)]
    held = held_out_by_hash(names, 0.5, seed=0)
    first = hash_order(names, purpose="sample", seed=0)[:1000]
    assert abs(held[first].mean() - 0.5) < 0.06
