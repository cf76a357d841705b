"""Lenses: from a thought to a distribution over the vocabulary, without labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray

from workbench.errors import ConfigError
from workbench.reasoners.base import Reasoner

BLOCK_LOGITS = 4_000_000
"""Logits that are in memory at once."""


@torch.no_grad()
def logit_lens(
    reasoner: Reasoner, thoughts: Float[np.ndarray, "row d_model"], values: Sequence[str], site: str = "thought"
) -> NDArray[np.intp] | None:
    """The model's own reading of each vector of a site among the given values (nostalgebraist 2020).

    Returns:
        Place in `values` of the likeliest, per row; None where a value is not a single token, or where the head
        reads no such vectors (several side by side, say).
    """
    where = reasoner.sites[site]
    if where.normed is None or where.shape != thoughts.shape[1:]:
        return None
    token_of = [reasoner.single_token(value) for value in values]
    if None in token_of or len(set(token_of)) < len(token_of):
        return None
    logits = reasoner.unembed(reasoner.as_vectors(thoughts), site)
    return np.asarray(logits[:, token_of].argmax(-1).cpu().numpy(), dtype=np.intp)


@torch.no_grad()
def likeliest_tokens(
    reasoner: Reasoner, vectors: Float[np.ndarray, "row width"], *, site: str = "thought", k: int = 5
) -> tuple[Int[np.ndarray, "row k"], Float[np.ndarray, "row k"]]:
    """The logit lens over the whole vocabulary, a block of rows at a time.

    Args:
        reasoner: whose head reads.
        vectors: of one visit of the site, flat, as a store keeps them.
        site: any that the head reads; the final norm is applied where it was not.
        k: tokens of each row; at most as many as the model has.

    Returns:
        Tokens, likeliest first, and their log probabilities in nats.

    Raises:
        UnknownSiteError: no such site.
        ConfigError: the head reads no such vectors, or not of this width.
    """
    refuse_unreadable(reasoner, site, vectors.shape[1])
    tokens: list[NDArray[np.intp]] = []
    log_ps: list[NDArray[np.float64]] = []
    start, step = 0, 1  # the first row says how large the vocabulary is
    while start < len(vectors) or not tokens:
        block = np.ascontiguousarray(vectors[start : start + step])
        logits = reasoner.unembed(reasoner.as_vectors(block), site).float()
        best, token = logits.log_softmax(-1).topk(min(k, logits.shape[1]), dim=-1)
        tokens.append(token.cpu().numpy().astype(np.intp))
        log_ps.append(best.double().cpu().numpy())
        start, step = start + step, max(1, BLOCK_LOGITS // logits.shape[1])
    return np.concatenate(tokens), np.concatenate(log_ps)


def refuse_unreadable(reasoner: Reasoner, site: str, width: int) -> None:
    """Refuse vectors that the model's head does not read.

    Raises:
        UnknownSiteError: no such site.
        ConfigError: the head reads no vectors of this site, or not of this width (several visits side by side, say).
    """
    reasoner.reads_normed(site)
    size = reasoner.sites[site].size
    if width != size:
        raise ConfigError(
            f"the head reads one vector of {site} at a time", field="site",
            expected=f"rows of {size} numbers", found=f"{width}",
        )  # fmt: skip
