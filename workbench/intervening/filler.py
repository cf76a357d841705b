"""A token that means nothing, to stand where a thought would stand: what is left is the time it takes to read it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.reasoners.backbones import Backbone
from workbench.reasoners.base import Reasoner
from workbench.reasoners.feedback import FeedbackReasoner

BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Filler:
    """An input embedding, and whose it is."""

    vector: Float[Tensor, " d_model"]
    what: str


@torch.no_grad()
def find_filler(reasoner: Reasoner) -> Filler | str:
    """The embedding of the begin marker's last token, or the mean token embedding where there is no marker.

    A pause (Goyal et al. 2024, arXiv:2310.02226) gives a model the same number of positions and nothing to carry
    from one to the next. Only where thoughts are fed as input embeddings does such a vector fit; elsewhere the
    answer is why not.
    """
    if not isinstance(reasoner, FeedbackReasoner):
        return "thoughts of this family are not fed as input embeddings: no token could stand in their place"
    backbone, thinking = reasoner.backbone, reasoner.recipe.thinking
    marker = [*reasoner.coder.token_ids(thinking.begin), *thinking.begin_ids]
    if marker:
        name = thinking.begin or f"id {marker[-1]}"
        last = torch.tensor(marker[-1:], device=backbone.device)
        return Filler(backbone.embed(last)[0], f"the embedding of the begin marker {name}")
    return Filler(_mean_embedding(backbone), "the mean of all token embeddings")


def _mean_embedding(backbone: Backbone) -> Float[Tensor, " d_model"]:
    total = torch.zeros(backbone.d_model, dtype=torch.float64, device=backbone.device)
    for start in range(0, backbone.d_vocab, BLOCK):
        ids = torch.arange(start, min(start + BLOCK, backbone.d_vocab), device=backbone.device)
        total += backbone.embed(ids).double().sum(0)
    return (total / backbone.d_vocab).to(backbone.dtype)
