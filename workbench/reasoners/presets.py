"""What the systems of the feedback family differ in: the function from what is read to what is fed, and when to stop.

Sources: Coconut (Hao et al. 2024, arXiv:2412.06769), CODI (Shen et al. 2025, arXiv:2502.21074), SIM-CoT (Wei et al.
2025, arXiv:2509.20317), Soft Thinking (Zhang et al. 2025, arXiv:2505.15778), LatentMAS (Zou et al. 2025,
arXiv:2511.20639).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from workbench.errors import ConfigError
from workbench.reasoners.backbones import Backbone
from workbench.reasoners.recipe import Recipe, SoftTokens


@dataclass(frozen=True, slots=True)
class Noise:
    """What a step may draw from: each example's own seed and step, so that who runs beside it changes nothing."""

    seeds: Sequence[int]
    steps: Int[Tensor, " example"]
    """Steps that each example took before."""

    def generators(self) -> list[np.random.Generator]:
        """One per example; asked twice, they draw the same numbers."""
        return [np.random.default_rng(key) for key in zip(self.seeds, self.steps.tolist(), strict=True)]


ToInput = Callable[[Float[Tensor, "example d_model"], Noise], Float[Tensor, "example d_model"]]
Stops = Callable[
    [Float[Tensor, "example d_vocab"], Int[Tensor, " example"], Noise],
    tuple[Bool[Tensor, " example"], Int[Tensor, " example"]],
]
"""From next-token logits and the steps in a row whose entropy was low: who stops now, and the new count."""


@dataclass(frozen=True, slots=True)
class Preset:
    """One system of the family."""

    to_input: ToInput | None = None
    """None where what is read is fed as it is."""
    stops: Stops | None = None
    """None where every problem takes all its steps."""


def coconut(backbone: Backbone, recipe: Recipe, end: Sequence[int]) -> Preset:
    """Coconut, and Reasoning by Superposition: the normed last hidden state itself is the next input."""
    if backbone.projection is not None:
        raise ConfigError(
            "the checkpoint has a projection (prj), which this preset does not use",
            field="preset", found=recipe.preset, expected="codi or sim-cot",
        )  # fmt: skip
    return Preset()


def codi(backbone: Backbone, recipe: Recipe, end: Sequence[int]) -> Preset:
    """CODI: the last hidden state through a small projection."""
    projection = backbone.projection
    if projection is None:
        raise ConfigError(
            "the checkpoint has no projection (prj.*)",
            field="preset", found=recipe.preset, expected="coconut, which feeds back without one",
        )  # fmt: skip
    return Preset(lambda source, noise: projection(source))


def sim_cot(backbone: Backbone, recipe: Recipe, end: Sequence[int]) -> Preset:
    """SIM-CoT: thinks as the system that it was trained from; its decoder was needed in training only."""
    return (coconut if backbone.projection is None else codi)(backbone, recipe, end)


def soft_thinking(backbone: Backbone, recipe: Recipe, end: Sequence[int]) -> Preset:
    """Soft Thinking: the expected embedding under the truncated next-token distribution.

    Stops when the likeliest token of the mixture is the one that ends thinking, or when the entropy stays low.
    """
    soft, last = recipe.soft_tokens or SoftTokens(), _last_token(end)

    def to_input(source: Tensor, noise: Noise) -> Tensor:
        weight, token = mixture(backbone.unembed(source), soft, noise)
        expected: Tensor = (weight[..., None] * backbone.embed(token)).sum(1)
        return expected.to(source.dtype)

    def stops(logits: Tensor, low: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        log_share = (logits.float() / soft.temperature).log_softmax(-1)
        entropy = -(log_share.exp() * log_share).sum(-1)
        low = torch.where(entropy < soft.entropy_below, low + 1, 0)
        chosen = logits.argmax(-1) if soft.noise == "none" else mixture(logits, soft, noise)[1][:, 0]
        return (low >= soft.entropy_for) | (chosen == last), low

    return Preset(to_input, stops)


def mixture(
    logits: Float[Tensor, "example d_vocab"], soft: SoftTokens, noise: Noise
) -> tuple[Float[Tensor, "example k"], Int[Tensor, "example k"]]:
    """Shares (float32, summing to 1) and tokens of one soft token, likeliest first."""
    share = (logits.float() / soft.temperature).softmax(-1)
    weight, token = _likeliest(share, soft.top_k)
    before = weight.cumsum(-1) - weight
    weight = torch.where(before < soft.top_p, weight, 0)
    weight = weight / weight.sum(-1, keepdim=True)
    weight = torch.where(weight < soft.min_p * weight[:, :1], 0, weight)
    weight = weight / weight.sum(-1, keepdim=True)
    if soft.noise == "dirichlet":
        weight = _dirichlet(weight, soft.noise_scale, noise)
    weight, kept = _likeliest(weight, soft.max_topk)
    if soft.noise == "gumbel":
        drawn = np.stack([one.gumbel(size=weight.shape[1]) for one in noise.generators()])
        weight = ((weight.log() + torch.from_numpy(drawn).to(weight)) / soft.noise_scale).softmax(-1)
        weight, order = weight.sort(dim=-1, descending=True)
        kept = kept.gather(1, order)
    return weight, token.gather(1, kept)


def _likeliest(share: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The `k` largest shares, made to sum to 1, and their places."""
    weight, place = share.topk(min(k, share.shape[-1]), dim=-1)
    return weight / weight.sum(-1, keepdim=True), place


def _dirichlet(weight: Tensor, scale: float, noise: Noise) -> Tensor:
    """Shares drawn around these; where every draw of an example rounds to 0, its shares as they were."""
    around = weight.double().cpu().numpy()
    gamma = np.stack([one.standard_gamma(row * scale) for one, row in zip(noise.generators(), around, strict=True)])
    total = gamma.sum(-1, keepdims=True)
    drawn = np.divide(gamma, total, out=around, where=total > 0)
    return torch.from_numpy(drawn).to(weight)


def latent_mas(backbone: Backbone, recipe: Recipe, end: Sequence[int]) -> Preset:
    """LatentMAS: the last hidden state, realigned if asked for, at the mean length of an embedding."""
    assert recipe.agents is not None
    embedding = backbone.embed.weight.detach().float()
    length = embedding.norm(dim=1).mean()
    matrix = _realignment(backbone, embedding) if recipe.agents.realign else None

    def to_input(source: Tensor, noise: Noise) -> Tensor:
        aligned = source.float() if matrix is None else source.float() @ matrix
        rescaled: Tensor = aligned * (length / aligned.norm(dim=-1, keepdim=True).clamp(min=1e-6))
        return rescaled.to(source.dtype)

    return Preset(to_input)


def _realignment(backbone: Backbone, embedding: Tensor) -> Tensor:
    """Ridge solution that takes output embeddings to input embeddings."""
    head = backbone.model.get_output_embeddings().weight.detach().float()
    gram = head.T @ head + 1e-5 * torch.eye(head.shape[1], device=head.device)
    solved: Tensor = torch.linalg.solve(gram, head.T @ embedding)
    return solved


def chain_of_thought(backbone: Backbone, recipe: Recipe, end: Sequence[int]) -> Preset:
    """Plain chain of thought: one token passes, and stops when it is the one that ends thinking."""
    last = _last_token(end)
    return Preset(
        lambda source, noise: backbone.embed(backbone.unembed(source).argmax(-1)),
        lambda logits, low, noise: (logits.argmax(-1) == last, low),
    )


def _last_token(end: Sequence[int]) -> int:
    """The token that ends thinking where the model chooses it; -1 where none does.

    Raises:
        ConfigError: the end marker has several tokens, and the first of them alone may mean something else.
    """
    if len(end) > 1:
        raise ConfigError(
            "this preset stops thinking at the end marker, which has to be one token",
            field="thinking.end", expected="1 token, or \"\"", found=f"{len(end)} tokens",
            hint="What is fed after thinking may also stand in `speaking.prefix`.",
        )  # fmt: skip
    return end[0] if end else -1


PRESETS: Mapping[str, Callable[[Backbone, Recipe, Sequence[int]], Preset]] = {
    "coconut": coconut,
    "codi": codi,
    "sim-cot": sim_cot,
    "soft-thinking": soft_thinking,
    "latent-mas": latent_mas,
    "cot": chain_of_thought,
}


def choose_preset(backbone: Backbone, recipe: Recipe, end: Sequence[int]) -> Preset:
    """The preset that a recipe names.

    Raises:
        ConfigError: there is none of this name in the family, or the checkpoint is none of its kind.
    """
    if recipe.preset not in PRESETS:
        raise ConfigError(f"no preset {recipe.preset!r}; there are {', '.join(PRESETS)}", field="preset")
    return PRESETS[recipe.preset](backbone, recipe, end)
