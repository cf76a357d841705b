"""Which rows may be learned from, and which are kept back: whole groups, decided by hash."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from probes.errors import ProbeDataError


def split_groups(groups: Sequence[str], n_second: int, *, seed: int) -> NDArray[np.bool_]:
    """Rows of the second part, [n]: whole groups, in the order of their hash, until it holds `n_second` rows.

    The part of a group depends on its name, the seed and the other groups, never on the order of rows.

    Raises:
        ProbeDataError: nothing would be left for the first part, or `n_second` is negative.
    """
    sizes = Counter(groups)
    if not 0 <= n_second < len(groups):
        raise ProbeDataError(
            f"cannot keep {n_second} of {len(groups)} rows for the second part and leave some for the first"
        )
    taken: set[str] = set()
    n_taken = 0
    for group in sorted(sizes, key=lambda name: (_rank(seed, name), name)):
        if n_taken >= n_second:
            break
        taken.add(group)
        n_taken += sizes[group]
    if len(taken) == len(sizes) and n_second > 0:
        raise ProbeDataError(
            f"{len(sizes)} groups cannot give {n_second} of {len(groups)} rows to the second part: "
            "the first part would be empty. Give more groups, or ask for fewer rows."
        )
    return np.array([group in taken for group in groups], dtype=np.bool_)


def _rank(seed: int | str, group: str) -> bytes:
    return hashlib.sha256(f"{seed}\x00{group}".encode("utf-8", "surrogatepass")).digest()


def held_out_by_hash(groups: Sequence[str], share: float, *, seed: int) -> NDArray[np.bool_]:
    """Rows that are held out, [n]: those whose group's hash falls into the first `share` of all hashes.

    Unlike `split_groups`, no group's part depends on any other group: rows may arrive in shards, be added later, or
    lie on several machines, and a group is always on the same side. The share is met on average, not exactly.

    Raises:
        ProbeDataError: `share` is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise ProbeDataError(f"a share lies between 0 and 1; found {share}")
    bound = round(share * 2**64)
    side = {group: int.from_bytes(_rank(seed, group)[:8], "big") < bound for group in set(groups)}
    return np.array([side[group] for group in groups], dtype=np.bool_)


def hash_order(groups: Sequence[str], *, purpose: str, seed: int) -> NDArray[np.intp]:
    """Order of the rows, [n], by the hash of their group: a random order that keeps groups together.

    Orders of different purposes, and what `held_out_by_hash` decides, have nothing to do with each other.
    """
    rank = {group: (_rank(f"{purpose} {seed}", group), group) for group in set(groups)}
    return np.array(sorted(range(len(groups)), key=lambda row: rank[groups[row]]), dtype=np.intp)


def merge_duplicate_groups(groups: Sequence[str], keys: Sequence[Hashable]) -> list[str]:
    """Groups in which rows of equal key (an exact prompt, say) share one group: the first name sorted.

    Raises:
        ProbeDataError: `groups` and `keys` differ in length.
    """
    if len(groups) != len(keys):
        raise ProbeDataError(f"{len(groups)} groups for {len(keys)} keys; every row needs one of each")
    parent = {group: group for group in groups}

    def root(group: str) -> str:
        while parent[group] != group:
            parent[group] = parent[parent[group]]
            group = parent[group]
        return group

    first_with: dict[Hashable, str] = {}
    for group, key in zip(groups, keys, strict=True):
        a, b = root(first_with.setdefault(key, group)), root(group)
        parent[max(a, b)] = min(a, b)
    return [root(group) for group in groups]


def assert_no_leakage(keys_a: Iterable[str], keys_b: Iterable[str]) -> None:
    """Refuse two parts that share a key (an exact prompt, a group).

    Raises:
        ProbeDataError: with the number of shared keys and the first few.
    """
    shared = sorted(set(keys_a) & set(keys_b))
    if shared:
        shown = ", ".join(repr(key if len(key) <= 60 else key[:60] + "…") for key in shared[:3])
        more = f" and {len(shared) - 3} more" if len(shared) > 3 else ""
        raise ProbeDataError(
            f"{len(shared)} keys are on both sides of the split: {shown}{more}. Put equal keys in one group."
        )
