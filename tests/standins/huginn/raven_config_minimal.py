from transformers import PretrainedConfig


class RavenConfig(PretrainedConfig):
    model_type = "huginn_raven"
    attribute_map = {"num_attention_heads": "n_heads", "hidden_size": "n_embd", "num_hidden_layers": "n_layers"}  # noqa: RUF012

    def __init__(
        self, n_embd=32, n_heads=2, block_size=64, vocab_size=50, n_prelude=1, n_core=2, n_coda=1, state_std=0.1, **rest
    ):
        self.n_embd, self.n_heads, self.block_size, self.vocab_size = n_embd, n_heads, block_size, vocab_size
        self.n_prelude, self.n_core, self.n_coda, self.state_std = n_prelude, n_core, n_coda, state_std
        self.n_layers, self.num_key_value_heads = n_prelude + n_core + n_coda, n_heads
        self.init_values = {"std": state_std}
        super().__init__(**{**rest, "tie_word_embeddings": True})
