from transformers import PretrainedConfig


class OuroConfig(PretrainedConfig):
    model_type = "ouro"

    def __init__(
        self, vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=64, total_ut_steps=4, sliding_window=4, **rest,
    ):  # fmt: skip
        self.vocab_size, self.hidden_size, self.num_hidden_layers = vocab_size, hidden_size, num_hidden_layers
        self.num_attention_heads, self.num_key_value_heads = num_attention_heads, num_key_value_heads
        self.max_position_embeddings, self.total_ut_steps = max_position_embeddings, total_ut_steps
        self.sliding_window = sliding_window
        self.rope_theta = 10_000.0
        super().__init__(**rest)
