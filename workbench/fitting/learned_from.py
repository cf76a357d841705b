"""Which prompts a fit learned from, as short hashes that travel with it: no later score may count them as new."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

HASH_BYTES = 8
"""Of each prompt; two of a million differ in all likelihood."""


def _hashed(prompt: str) -> bytes:
    return hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest()[:HASH_BYTES]


def hashes_of(prompts: Iterable[str]) -> str:
    """Sorted hashes of different prompts, in one base64 text: 11 characters each."""
    return base64.b64encode(b"".join(sorted({_hashed(prompt) for prompt in prompts}))).decode("ascii")


def are_among(prompts: Sequence[str], hashes: str) -> NDArray[np.bool_]:
    """Whether the prompts are among those that were hashed, [n].

    Raises:
        ValueError: not what `hashes_of` gives.
    """
    plain = base64.b64decode(hashes, validate=True)
    if len(plain) % HASH_BYTES:
        raise ValueError(f"{len(plain)} bytes are no hashes of {HASH_BYTES} bytes each")
    known = {plain[start : start + HASH_BYTES] for start in range(0, len(plain), HASH_BYTES)}
    return np.array([_hashed(prompt) in known for prompt in prompts], dtype=np.bool_)
