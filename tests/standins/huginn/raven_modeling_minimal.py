"""A model that is driven as Huginn is: the same names, another and smaller inside."""

from types import SimpleNamespace

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention, silu
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from .raven_config_minimal import RavenConfig


class HuginnDynamicCache:
    """Keys and values by count of blocks; the coda counts below zero and may be written again."""

    def __init__(self):
        self.held, self.seen = {}, 0

    def update(self, k, v, slot):
        slot, q = int(slot), k.shape[2]
        self.seen += q if slot == 0 else 0
        before = self.seen - q
        if before:
            k, v = (torch.cat([old[:, :, :before], new], 2) for old, new in zip(self.held[slot], (k, v), strict=True))
        assert slot < 0 or slot not in self.held or self.held[slot][0].shape[2] == before, "a pass was run twice"
        self.held[slot] = k, v
        return k, v


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        d = config.n_embd
        self.n_heads = config.n_heads
        self.Wqkv = nn.Linear(d, 3 * d, bias=False)
        self.qk_bias = nn.Parameter(torch.zeros(2, d))
        self.proj = nn.Linear(d, d, bias=False)

    def forward(self, x, slot, cache):
        q, k, v = self.Wqkv(x).chunk(3, -1)
        q, k = q + self.qk_bias[0], k + self.qk_bias[1]
        q, k, v = (part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for part in (q, k, v))
        if cache is not None:
            k, v = cache.update(k, v, slot)
        seen = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=x.device).tril(k.shape[2] - q.shape[2])
        return self.proj(scaled_dot_product_attention(q, k, v, attn_mask=seen).transpose(1, 2).flatten(2))


class SandwichBlock(nn.Module):
    def __init__(self, config):
        super().__init__()
        d = config.n_embd
        self.norm_1, self.norm_2, self.norm_3 = nn.RMSNorm(d), nn.RMSNorm(d), nn.RMSNorm(d)
        self.attn, self.up, self.down = Attention(config), nn.Linear(d, 2 * d), nn.Linear(2 * d, d)

    def forward(self, x, slot, cache):
        x = self.norm_2(self.attn(self.norm_1(x), slot, cache) + x)
        return self.norm_3(self.down(silu(self.up(x))) + x)


class RavenPreTrainedModel(PreTrainedModel):
    config_class = RavenConfig
    _tied_weights_keys = {"lm_head.weight": "transformer.wte.weight"}  # noqa: RUF012

    def _init_weights(self, module):
        for weight in module.parameters(recurse=False):
            nn.init.normal_(weight, std=0.3)


class RavenForCausalLM(RavenPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        d = config.n_embd
        stacks = {"prelude": config.n_prelude, "core_block": config.n_core, "coda": config.n_coda}
        blocks = {name: nn.ModuleList(SandwichBlock(config) for _ in range(n)) for name, n in stacks.items()}
        self.transformer = nn.ModuleDict({
            "wte": nn.Embedding(config.vocab_size, d), "wpe": nn.Embedding(config.block_size, d),
            "adapter": nn.Linear(2 * d, d, bias=False), "ln_f": nn.RMSNorm(d), **blocks,
        })  # fmt: skip
        self.lm_head = nn.Linear(d, config.vocab_size, bias=False)
        self.lm_head.weight = self.transformer.wte.weight
        self.post_init()

    @property
    def emb_scale(self):
        return self.config.n_embd**0.5

    def get_input_embeddings(self):
        return self.transformer.wte

    def get_output_embeddings(self):
        return self.lm_head

    def embed_inputs(self, input_ids, past_key_values=None, cache_position=None):
        x = (self.transformer.wte(input_ids) + self.transformer.wpe(cache_position)) * self.emb_scale
        slot = torch.tensor(-1)
        for block in self.transformer.prelude:
            slot = slot + 1
            x = block(x, slot, past_key_values)
        return x, slot

    def iterate_one_step(
        self, input_embeds, input_states, *, block_idx, cache_position=None, past_key_values=None, current_step=0
    ):
        x = self.transformer.adapter(torch.cat([input_states, input_embeds], -1))
        for block in self.transformer.core_block:
            block_idx = block_idx + 1
            x = block(x, block_idx, past_key_values)
        return x, block_idx, current_step + 1

    def predict_from_latents(self, latents, cache_position=None, past_key_values=None):
        x, slot = self.transformer.ln_f(latents), torch.tensor(0)
        for block in self.transformer.coda:
            slot = slot - 1
            x = block(x, slot, past_key_values)
        x = self.transformer.ln_f(x)
        return SimpleNamespace(latent_states=x, logits=self.lm_head(x))

    def forward(self, input_ids, input_states, num_steps, past_key_values=None, cache_position=None):
        at = torch.arange(input_ids.shape[1]) if cache_position is None else cache_position
        injected, slot = self.embed_inputs(input_ids, past_key_values, at)
        x = input_states
        for step in range(int(num_steps)):
            x, slot, _ = self.iterate_one_step(
                injected, x, block_idx=slot, past_key_values=past_key_values, current_step=step
            )
        return SimpleNamespace(latents=x, logits=self.predict_from_latents(x, at, past_key_values).logits)


AutoConfig.register("huginn_raven", RavenConfig, exist_ok=True)
AutoModelForCausalLM.register(RavenConfig, RavenForCausalLM, exist_ok=True)
