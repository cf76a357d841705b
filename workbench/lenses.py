"""Lenses: from a thought to a distribution over the vocabulary, without labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from workbench.reasoners.base import Reasoner


@torch.no_grad()
def logit_lens(
    reasoner: Reasoner, thoughts: Float[np.ndarray, "row d_model"], values: Sequence[str]
) -> NDArray[np.intp] | None:
    """The model's own reading of each thought among the given values (nostalgebraist 2020).

    Returns:
        Place in `values` of the likeliest, per row; None where a value is not a single token, or where a thought is
        several vectors.
    """
    site = reasoner.sites["thought"]
    if site.normed is None or site.shape != thoughts.shape[1:]:
        return None
    token_of = [reasoner.single_token(value) for value in values]
    if None in token_of or len(set(token_of)) < len(token_of):
        return None
    logits = reasoner.unembed(reasoner.as_vectors(thoughts))
    return np.asarray(logits[:, token_of].argmax(-1).cpu().numpy(), dtype=np.intp)
