"""The one file that knows transformers and TransformerLens: load, run and hook under TransformerLens names."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from jaxtyping import Float, Int
from safetensors import SafetensorError
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from torch import Tensor
from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    DynamicCache,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging as transformers_logging

from workbench.errors import ConfigError, CorruptArtifact, SchemaError
from workbench.jsonio import canonical_json, digest
from workbench.reasoners.folders import WEIGHTS, refuse_unsafe
from workbench.sites import Site

LIBRARY_ERRORS = (
    OSError, ValueError, LookupError, TypeError, RuntimeError, AttributeError, ArithmeticError, ImportError,
    StrictDataclassError,
)  # fmt: skip
"""What transformers raises for folders that it cannot load."""
FINGERPRINTED = (
    "config.json", "generation_config.json", "reasoner.toml", "*.safetensors", "*.safetensors.index.json",
    "tokenizer*.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt", "merges.txt",
    "special_tokens_map.json", "added_tokens.json", "chat_template*",
)  # fmt: skip
"""Files that decide what a model does; notes, logs and problems beside them do not."""


@dataclass(frozen=True, slots=True)
class Forward:
    """One forward pass over `q` new positions."""

    hidden: Float[Tensor, "example q d_model"]
    """After the final norm (`ln_final.hook_out`)."""
    cache: DynamicCache
    mask: Int[Tensor, "example length"]
    """1 where the cache holds a token or thought, 0 where it holds padding."""


class Backbone:
    """A causal language model of Hugging Face behind TransformerLens' bridge."""

    def __init__(self, model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
        if len(tokenizer) == 0:
            raise ConfigError("the tokenizer has a vocabulary of 0", field="tokenizer")
        self.model = model.eval().requires_grad_(requires_grad=False)
        self.tokenizer = tokenizer
        architecture = type(model).__name__
        try:
            self.bridge = build_bridge_from_module(model, architecture, hf_config=model.config)
        except (ValueError, KeyError, AttributeError, NotImplementedError) as error:
            raise ConfigError(
                f"TransformerLens has no bridge for {architecture}: {error}", field="config.json:architectures"
            ) from error
        self.embed = model.get_input_embeddings()
        self.d_model = int(self.embed.weight.shape[1])
        self.d_vocab = int(self.embed.weight.shape[0])
        if len(tokenizer) > self.d_vocab:
            raise ConfigError(
                "the tokenizer knows more tokens than the model",
                field="vocab_size",
                expected=self.d_vocab,
                found=len(tokenizer),
            )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embed.weight.device  # type: ignore[no-any-return]

    @property
    def n_layers(self) -> int:
        """Blocks."""
        return int(self.bridge.cfg.n_layers)

    @property
    def max_positions(self) -> int | None:
        """Longest sequence that the position embedding takes; absent where the model states none."""
        limit = getattr(self.model.config, "max_position_embeddings", None)
        return None if limit is None else int(limit)

    @cached_property
    def sites(self) -> dict[str, Site]:
        """Sites that fire once for every latent step of this backbone, found by firing them."""
        fired: dict[str, list[tuple[int, ...]]] = {}

        def note(name: str) -> Callable[[Tensor], Tensor]:
            def keep(vectors: Tensor) -> Tensor:
                fired.setdefault(name, []).append(tuple(vectors.shape))
                return vectors

            return keep

        candidates = [*_per_layer_sites(self.n_layers), "ln_final.hook_out"]
        present = [name for name in candidates if name in self.bridge.hook_dict]
        with torch.no_grad(), self.hooked({name: note(name) for name in present}):
            self.forward_vectors(torch.zeros(1, 1, self.d_model, device=self.device, dtype=self.embed.weight.dtype))
        return {
            name: Site(name, ("head", "d_head") if len(shapes[0]) == 4 else ("d_model",), shapes[0][2:])
            for name, shapes in fired.items()
        }

    @contextmanager
    def hooked(self, taps: dict[str, Callable[[Tensor], Tensor]]) -> Iterator[None]:
        """Send sites through functions while the context is open; nothing stays behind."""
        hooks = [(name, lambda value, hook, tap=tap: tap(value)) for name, tap in taps.items()]
        with self.bridge.hooks(fwd_hooks=hooks):
            yield

    def token_ids(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        """Ids of one piece of text, tokenized by itself."""
        with _tokenizers_errors(f"the tokenizer cannot read {text[:40]!r}"):
            return list(self.tokenizer.encode(text, add_special_tokens=add_special_tokens)) if text else []

    def text(self, token_ids: Collection[int]) -> str:
        """Text of ids, special tokens kept and nothing tidied."""
        return str(
            self.tokenizer.decode(list(token_ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        )

    def random_text(self, n_tokens: int, seed: int) -> str:
        """Text of random tokens that are not special."""
        special = set(self.tokenizer.all_special_ids)
        plain = [token for token in range(len(self.tokenizer)) if token not in special]
        places = torch.randint(len(plain), (n_tokens,), generator=torch.Generator().manual_seed(seed))
        return self.text([plain[place] for place in places.tolist()])

    def forward_ids(
        self, ids: Int[Tensor, "example q"], before: Forward | None = None, mask: Tensor | None = None
    ) -> Forward:
        """Feed tokens; `mask` has 0 where `ids` holds padding."""
        return self._forward({"input_ids": ids}, ids.shape[:2], before, mask)

    def forward_vectors(self, vectors: Float[Tensor, "example q d_model"], before: Forward | None = None) -> Forward:
        """Feed vectors in the place of token embeddings."""
        return self._forward({"inputs_embeds": vectors}, vectors.shape[:2], before, None)

    def _forward(
        self, fed: dict[str, Tensor], shape: torch.Size, before: Forward | None, mask: Tensor | None
    ) -> Forward:
        new = torch.ones(shape, dtype=torch.long, device=self.device) if mask is None else mask
        total = new if before is None else torch.cat([before.mask, new], 1)
        positions = (total.cumsum(1) - 1).clamp(min=0)[:, -shape[1] :]
        cache = DynamicCache(config=self.model.config) if before is None else before.cache
        output = self.model.base_model(
            **fed, attention_mask=total, position_ids=positions, past_key_values=cache, use_cache=True
        )
        return Forward(output.last_hidden_state, output.past_key_values, total)

    def unembed(self, hidden: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_vocab"]:
        """Logits of vectors that are already normed."""
        logits: Tensor = self.model.get_output_embeddings()(hidden)
        cap = getattr(self.model.config, "final_logit_softcapping", None)
        return logits if not cap else cap * torch.tanh(logits / cap)


def _per_layer_sites(n_layers: int) -> list[str]:
    kinds = ("hook_resid_pre", "attn.hook_k", "attn.hook_v", "hook_attn_out", "hook_mlp_out", "hook_resid_post")
    return [f"blocks.{layer}.{kind}" for layer in range(n_layers) for kind in kinds]


def load_backbone(folder: Path, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Backbone:
    """Load Hugging Face files of a folder: safetensors weights, no code, no network.

    Raises:
        UntrustedFormat: the weights are pickled, or the configuration asks to run code.
        CorruptArtifact: the weights are cut off.
        SchemaError: files are missing or cannot be read.
        ConfigError: TransformerLens cannot bridge the architecture.
    """
    refuse_unsafe(folder)
    _hush()
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(folder, **local)
        tokenizer = _load_tokenizer(folder, local)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder, config=config, use_safetensors=True, dtype=dtype, output_loading_info=True, **local
        )
        model, info = loaded
    except SafetensorError as error:
        raise CorruptArtifact(f"the weights cannot be read: {error}", path=folder / WEIGHTS) from error
    except LIBRARY_ERRORS as error:
        raise SchemaError(f"the folder cannot be loaded: {error}", path=folder) from error
    absent = sorted(set(info["missing_keys"]) | set(info.get("mismatched_keys", ())), key=str)
    if absent:
        raise SchemaError(
            f"{len(absent)} weights of {type(model).__name__} are not in the file, or have another shape",
            path=folder / WEIGHTS,
            field=str(absent[0]),
        )
    try:
        return Backbone(model.to(device), tokenizer)
    except ConfigError as error:
        error.path = error.path or str(folder)
        raise


def _load_tokenizer(folder: Path, local: dict[str, Any]) -> PreTrainedTokenizerBase:
    """The tokenizer as `tokenizer.json` has it; for some architectures transformers would put another in its place."""
    loader: Any = PreTrainedTokenizerFast if (folder / "tokenizer.json").is_file() else AutoTokenizer
    with _tokenizers_errors("the tokenizer cannot be loaded", path=folder / "tokenizer.json"):
        return loader.from_pretrained(folder, **local)  # type: ignore[no-any-return]


@contextmanager
def _tokenizers_errors(message: str, *, path: Path | None = None) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if type(error) is not Exception:  # the tokenizers library raises this very class
            raise
        raise SchemaError(f"{message}: {error}", path=path, field="tokenizer") from error


def _hush() -> None:
    """Progress is ours to show."""
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def new_word_gpt2(
    words: Sequence[str], *, d_model: int, n_layers: int, n_heads: int, n_positions: int, seed: int
) -> tuple[Any, PreTrainedTokenizerBase]:
    """An untrained GPT-2 without dropout, and a tokenizer that has one token a word."""
    tokenizer = Tokenizer(WordLevel({word: k for k, word in enumerate(words)}, unk_token=words[0]))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=words[0])  # type: ignore[no-untyped-call]
    config = GPT2Config(
        vocab_size=len(words), n_positions=n_positions, n_embd=d_model, n_layer=n_layers, n_head=n_heads,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GPT2LMHeadModel(config), fast


def save_model(model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write weights (safetensors), configuration and tokenizer of a model into a folder."""
    _hush()
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)


def folder_fingerprint(folder: Path) -> str:
    """Hash over the names and contents of all files that decide what the model does."""
    files = sorted({path for pattern in FINGERPRINTED for path in folder.glob(pattern) if path.is_file()})
    return digest(canonical_json([[path.name, _file_digest(path)] for path in files]))


def _file_digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
