"""Keys and values out of fused projections of every layout, or a clear word that they cannot be reached."""

import pytest
import torch
import transformers

from workbench.organisms.recipes import VOCABULARY
from workbench.reasoners.backbones import Backbone, new_word_gpt2
from workbench.sites import Site, channel_gap, channel_sites

SIZES = {"vocab_size": len(VOCABULARY), "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
ENDS = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None, "initializer_range": 0.2}
NEW_FALCON = {"new_decoder_architecture": True}


def phi3(n_key_heads):
    sizes = {"intermediate_size": 64, "max_position_embeddings": 96, "original_max_position_embeddings": 96}
    config = transformers.Phi3Config(num_key_value_heads=n_key_heads, **sizes, **SIZES, **ENDS)
    return transformers.Phi3ForCausalLM(config)


def falcon(**kind):
    return transformers.FalconForCausalLM(transformers.FalconConfig(**SIZES, **ENDS, **kind))


def bigcode():
    return transformers.GPTBigCodeForCausalLM(transformers.GPTBigCodeConfig(n_positions=96, **SIZES, **ENDS))


MODELS = {
    "phi3": lambda: phi3(4),
    "phi3 grouped": lambda: phi3(2),
    "falcon, one head": lambda: falcon(multi_query=True),
    "falcon, all heads": lambda: falcon(multi_query=False),
    "falcon grouped": lambda: falcon(num_kv_heads=2, **NEW_FALCON),
    "bigcode": bigcode,
}


@pytest.fixture(scope="module")
def tokenizer():
    return new_word_gpt2(VOCABULARY, d_model=8, n_layers=1, n_heads=1, n_positions=96, seed=0)[1]


@pytest.mark.parametrize("name", MODELS)
def test_what_is_put_in_at_a_key_or_value_site_is_what_the_model_keeps(tokenizer, name):
    torch.manual_seed(0)
    backbone = Backbone(MODELS[name](), tokenizer)
    assert channel_gap(backbone.sites) is None
    for letter, kept in (("k", "keys"), ("v", "values")):
        site = f"blocks.1.attn.hook_{letter}"
        n_heads, d_head = backbone.sites[site].shape
        put = torch.arange(1.0, n_heads + 1)[:, None].expand(n_heads, d_head)
        with torch.no_grad(), backbone.hooked({site: lambda came, put=put: put.expand_as(came)}):
            cache = backbone.forward_vectors(torch.randn(1, 1, 32)).cache
        plain = getattr(cache.layers[1], kept)[0, :, 0]  # at position 0, where nothing is turned
        torch.testing.assert_close(plain, put.repeat_interleave(len(plain) // n_heads, 0))


def test_a_layout_that_cannot_be_cut_gives_no_sites_and_no_error(tokenizer):
    torch.manual_seed(0)
    model = falcon(num_kv_heads=2, **NEW_FALCON)
    for layer in model.transformer.h:
        layer.self_attention.query_key_value.out_features += 1
    backbone = Backbone(model, tokenizer)
    assert not channel_sites(backbone.sites)
    assert "cannot be reached" in channel_gap(backbone.sites)


def sites(*names, n_layers=None):
    found = {name: Site(name, ("d_model",), (8,)) for name in names}
    if n_layers is None:
        return found
    return found | {"thought": Site("thought", ("layer", "d_model"), (n_layers, 8))}


def test_a_channel_with_holes_is_called_so():
    first = ["blocks.0.attn.hook_k", "blocks.0.attn.hook_v"]
    blocks = [f"blocks.{n}.hook_resid_pre" for n in range(2)]
    assert "cannot be reached" in channel_gap(sites("thought"))
    assert "cannot be reached" in channel_gap(sites(first[0], blocks[0]))
    assert "1 of 2 blocks" in channel_gap(sites(*first, *blocks))
    assert channel_gap(sites(*first, blocks[0])) is None
    assert "2 of 3 blocks" in channel_gap(sites(*first, n_layers=3))
    assert channel_gap(sites(*first, n_layers=1)) is None
