"""A model that is driven as Ouro is: the same names and calls, another and smaller inside."""

from types import SimpleNamespace

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention, silu
from transformers import PreTrainedModel
from transformers.masking_utils import create_causal_mask, create_sliding_window_causal_mask

from .configuration_ouro import OuroConfig


def turned(heads, position_embeddings):
    cos, sin = (part[:, None] for part in position_embeddings)
    one, other = heads.chunk(2, -1)
    return torch.cat([one * cos - other * sin, other * cos + one * sin], -1)


class OuroAttention(nn.Module):
    def __init__(self, config, layer):
        super().__init__()
        self.layer, self.n_layers = layer, config.num_hidden_layers
        d, n_keys = config.hidden_size, config.num_key_value_heads
        self.d_head = d // config.num_attention_heads
        self.q_proj, self.o_proj = nn.Linear(d, d, bias=False), nn.Linear(d, d, bias=False)
        self.k_proj, self.v_proj = (nn.Linear(d, n_keys * self.d_head, bias=False) for _ in range(2))

    def forward(self, x, mask, position_embeddings, cache, current_ut):
        parts = (
            part(x).unflatten(-1, (-1, self.d_head)).transpose(1, 2) for part in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k, v = parts
        q, k = turned(q, position_embeddings), turned(k, position_embeddings)
        if cache is not None:
            k, v = cache.update(k, v, current_ut * self.n_layers + self.layer)
        causal = mask is None and q.shape[2] > 1
        seen = scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=True)
        return self.o_proj(seen.transpose(1, 2).flatten(2))


class OuroDecoderLayer(nn.Module):
    def __init__(self, config, layer):
        super().__init__()
        d = config.hidden_size
        self.attention_type = "sliding_attention" if layer % 2 else "full_attention"
        self.self_attn = OuroAttention(config, layer)
        self.before, self.between = nn.RMSNorm(d), nn.RMSNorm(d)
        self.up, self.down = nn.Linear(d, 2 * d), nn.Linear(2 * d, d)

    def forward(
        self, hidden_states, attention_mask=None, position_ids=None, past_key_value=None, use_cache=False,
        cache_position=None, position_embeddings=None, current_ut=0,
    ):  # fmt: skip
        read = self.self_attn(
            self.before(hidden_states), attention_mask, position_embeddings, past_key_value, current_ut
        )
        hidden_states = hidden_states + read
        return hidden_states + self.down(silu(self.up(self.between(hidden_states))))


class OuroPreTrainedModel(PreTrainedModel):
    config_class = OuroConfig
    base_model_prefix = "model"
    _supports_sdpa = True

    def _init_weights(self, module):
        for weight in module.parameters(recurse=False):
            nn.init.normal_(weight, std=0.3)


class OuroModel(OuroPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(OuroDecoderLayer(config, layer) for layer in range(config.num_hidden_layers))
        self.norm = nn.RMSNorm(config.hidden_size)
        self.early_exit_gate = nn.Linear(config.hidden_size, 1)
        self.post_init()

    def rotary_emb(self, x, position_ids):
        half = torch.arange(self.layers[0].self_attn.d_head // 2, device=x.device)
        angle = position_ids[..., None] * self.config.rope_theta ** (-half / len(half))
        return angle.cos().to(x.dtype), angle.sin().to(x.dtype)

    def forward(self, input_ids):
        hidden_states = self.embed_tokens(input_ids)
        position_ids = torch.arange(input_ids.shape[1])[None]
        given = {  # as transformers 4 named them
            "config": self.config, "input_embeds": hidden_states, "attention_mask": None, "past_key_values": None,
            "cache_position": position_ids[0], "position_ids": position_ids,
        }  # fmt: skip
        masks = {
            "full_attention": create_causal_mask(**given),
            "sliding_attention": create_sliding_window_causal_mask(**given),
        }
        places = self.rotary_emb(hidden_states, position_ids)
        states, gates = [], []
        for step in range(self.config.total_ut_steps):
            for layer in self.layers:
                hidden_states = layer(
                    hidden_states, masks[layer.attention_type], position_embeddings=places, current_ut=step
                )
            hidden_states = self.norm(hidden_states)
            states.append(hidden_states)
            gates.append(self.early_exit_gate(hidden_states))
        return SimpleNamespace(last_hidden_state=hidden_states), states, gates


class OuroForCausalLM(OuroPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.model = OuroModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.model.embed_tokens

    def forward(self, input_ids, use_cache=False, exit_at_step=None):
        _, states, _ = self.model(input_ids)
        return SimpleNamespace(logits=self.lm_head(states[-1 if exit_at_step is None else exit_at_step]))
