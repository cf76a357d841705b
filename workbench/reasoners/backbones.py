"""The one file that knows transformers and TransformerLens: load, run and hook under TransformerLens names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
from torch import Tensor, nn
from transformer_lens.factories.architecture_adapter_factory import ArchitectureAdapterFactory
from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_config_from_hf
from transformers import (
    AddedToken,
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    DynamicCache,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.pytorch_utils import Conv1D
from transformers.utils import logging as transformers_logging

from workbench.errors import ConfigError, CorruptArtifact, SchemaError
from workbench.reasoners.checkpoints import Checkpoint, open_checkpoint, read_projection, read_weights, refuse_unfit
from workbench.reasoners.folders import WEIGHTS, refuse_unsafe
from workbench.reasoners.hooking import Tap, hooked
from workbench.reasoners.site_hooks import FINAL_SITE, layout_is_right, site_hooks
from workbench.reasoners.text import TextCoder, tokenizers_errors
from workbench.sites import Site

LIBRARY_ERRORS = (
    OSError, ValueError, LookupError, TypeError, RuntimeError, AttributeError, ArithmeticError, ImportError,
    StrictDataclassError,
)  # fmt: skip
"""What transformers raises for folders that it cannot load."""


@dataclass(frozen=True, slots=True)
class Forward:
    """One forward pass over `q` new positions."""

    hidden: Float[Tensor, "example q d_model"]
    """After the final norm (`ln_final.hook_out`)."""
    cache: DynamicCache
    length: int
    """Columns of the cache, padding counted."""
    mask: Int[Tensor, "example length"] | None
    """1 where the cache holds a token or thought, 0 where it holds padding; None where nothing is padded."""

    def positions(self) -> Int[Tensor, " example"]:
        """Tokens and thoughts so far, per example."""
        if self.mask is None:
            return torch.full((len(self.hidden),), self.length, device=self.hidden.device)
        return self.mask.sum(1)


class Backbone:
    """A causal language model of Hugging Face, hooked where TransformerLens' adapter says each site is."""

    def __init__(self, model: Any, tokenizer: PreTrainedTokenizerBase, projection: nn.Module | None = None) -> None:
        self.model = model.eval().requires_grad_(requires_grad=False)
        self.embed = model.get_input_embeddings()
        self.d_model = int(self.embed.weight.shape[1])
        self.d_vocab = int(self.embed.weight.shape[0])
        self.coder = TextCoder(tokenizer, self.d_vocab)
        self.projection = None if projection is None else projection.eval().requires_grad_(requires_grad=False)
        """Between a thought's source and the next input, where the checkpoint has one (CODI's `prj`)."""
        where = _component_mapping(model)
        self.blocks: nn.ModuleList = model.get_submodule(where["blocks"].name)
        self.final_norm: nn.Module = model.get_submodule(where["ln_final"].name)
        self._hooks = site_hooks(self.blocks, self.final_norm, where["blocks"].submodules, model.config)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embed.weight.device  # type: ignore[no-any-return]

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return self.embed.weight.dtype  # type: ignore[no-any-return]

    @property
    def n_layers(self) -> int:
        """Blocks."""
        return len(self.blocks)

    @property
    def max_positions(self) -> int | None:
        """Longest sequence that the position embedding takes; absent where the model states none."""
        limit = getattr(self.model.config, "max_position_embeddings", None)
        return None if limit is None else int(limit)

    @cached_property
    def sites(self) -> dict[str, Site]:
        """Sites that fire once for every latent step of this backbone, found by firing them."""
        fired: dict[str, list[Tensor]] = {}

        def note(name: str) -> Callable[[Tensor], Tensor]:
            def keep(vectors: Tensor) -> Tensor:
                fired.setdefault(name, []).append(vectors)
                return vectors

            return keep

        drawn = torch.randn(1, 1, self.d_model, generator=torch.Generator().manual_seed(0))
        with torch.no_grad(), self.hooked({name: note(name) for name in self._hooks}):
            cache = self.forward_vectors(drawn.to(self.device, self.dtype)).cache
        once = {name: vectors[0] for name, vectors in fired.items() if len(vectors) == 1}
        return {
            name: Site(
                name,
                ("head", "d_head") if vectors.ndim == 4 else ("d_model",),
                tuple(vectors.shape[2:]),
                normed=None if vectors.ndim == 4 else name == FINAL_SITE,
            )
            for name, vectors in once.items()
            if vectors.ndim == 3 or layout_is_right(name, once, cache)
        }

    @contextmanager
    def hooked(self, taps: Mapping[str, Tap]) -> Iterator[None]:
        """Send sites through functions of `[example, pos, ...]` while the context is open; nothing stays behind."""
        with hooked(self._hooks, taps):
            yield

    def forward_ids(
        self, ids: Int[Tensor, "example q"], before: Forward | None = None, mask: Tensor | None = None
    ) -> Forward:
        """Feed tokens; `mask` has 0 where `ids` holds padding."""
        return self._forward({"input_ids": ids}, ids.shape[:2], before, mask)

    def forward_vectors(
        self, vectors: Float[Tensor, "example q d_model"], before: Forward | None = None, mask: Tensor | None = None
    ) -> Forward:
        """Feed vectors in the place of token embeddings."""
        return self._forward({"inputs_embeds": vectors}, vectors.shape[:2], before, mask)

    def _forward(
        self, fed: dict[str, Tensor], shape: torch.Size, before: Forward | None, mask: Tensor | None
    ) -> Forward:
        earlier = 0 if before is None else before.length
        total = None
        if mask is not None or (before is not None and before.mask is not None):
            new = torch.ones(shape, dtype=torch.long, device=self.device) if mask is None else mask
            known = None if before is None else before.mask
            old = new.new_ones(shape[0], earlier) if known is None else known
            total = torch.cat([old, new], 1)
            fed = {
                **fed,
                "attention_mask": total,
                "position_ids": (total.cumsum(1) - 1).clamp(min=0)[:, -shape[1] :],
            }
        cache = DynamicCache(config=self.model.config) if before is None else before.cache
        output = self.model.base_model(**fed, past_key_values=cache, use_cache=True)
        return Forward(output.last_hidden_state, output.past_key_values, earlier + shape[1], total)

    def unembed(self, hidden: Float[Tensor, "... d_model"], *, normed: bool = True) -> Float[Tensor, "... d_vocab"]:
        """Logits of vectors; the final norm is applied to those that did not pass it."""
        logits: Tensor = self.model.get_output_embeddings()(hidden if normed else self.final_norm(hidden))
        cap = getattr(self.model.config, "final_logit_softcapping", None)
        return logits if not cap else cap * torch.tanh(logits / cap)


def _component_mapping(model: Any) -> Any:
    """Where TransformerLens' adapter for this architecture finds each component."""
    architecture = type(model).__name__
    try:
        bridged = build_bridge_config_from_hf(model.config, architecture, "folder", model.dtype)
        where = ArchitectureAdapterFactory.select_architecture_adapter(bridged).component_mapping
        if "blocks" not in where or "ln_final" not in where:
            raise ValueError("its adapter names no blocks and no final norm")
    except (ValueError, KeyError, AttributeError, NotImplementedError) as error:
        raise ConfigError(
            f"TransformerLens has no adapter for {architecture}: {error}", field="config.json:architectures"
        ) from error
    return where


def load_backbone(
    folder: Path, *, device: str = "cpu", dtype: torch.dtype = torch.float32, lora_alpha: float | None = None
) -> Backbone:
    """Load a model folder of any known checkpoint layout: safetensors weights, no code, no network.

    Args:
        folder: configuration of the base model, tokenizer and weights.
        device: where the weights are put.
        dtype: what they are cast to.
        lora_alpha: scale of LoRA layers, where the checkpoint has some (`checkpoint.lora_alpha`).

    Raises:
        UntrustedFormat: the weights are pickled, or the configuration asks to run code.
        CorruptArtifact: the weights are cut off.
        SchemaError: files or weights are missing, cannot be read, or are of no known layout.
        ConfigError: TransformerLens cannot bridge the architecture, or `lora_alpha` is missing.
    """
    refuse_unsafe(folder)
    hush()
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    checkpoint = open_checkpoint(folder)
    try:
        config = AutoConfig.from_pretrained(folder, **local)
        tokenizer = load_tokenizer(folder)
        if checkpoint.layout == "plain":
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder, config=config, use_safetensors=True, dtype=dtype, output_loading_info=True, **local
            )
        else:
            loaded = _load_wrapped(checkpoint, config, dtype, lora_alpha)
    except SafetensorError as error:
        raise CorruptArtifact(f"the weights cannot be read: {error}", path=folder / WEIGHTS) from error
    except LIBRARY_ERRORS as error:
        raise SchemaError(f"the folder cannot be loaded: {error}", path=folder) from error
    model, info = loaded
    refuse_unfit(checkpoint, model, info)
    projection = read_projection(checkpoint, int(model.get_input_embeddings().weight.shape[1]))
    try:
        return Backbone(model.to(device), tokenizer, None if projection is None else projection.to(device, dtype))
    except ConfigError as error:
        error.path = error.path or str(folder)
        raise


def _load_wrapped(checkpoint: Checkpoint, config: Any, dtype: torch.dtype, lora_alpha: float | None) -> Any:
    """A model out of a checkpoint that stores it under other names; the stored embedding decides the vocabulary."""
    empty, embedding = _empty_model(config)
    rows = checkpoint.rows(embedding)
    if rows is not None and rows != config.get_text_config().vocab_size:
        config.get_text_config().vocab_size = rows
        empty, embedding = _empty_model(config)
    weights = read_weights(
        checkpoint,
        embedding=embedding,
        shapes={name: weight.shape for name, weight in empty.state_dict().items()},
        transposed={name for name, module in empty.named_modules() if isinstance(module, Conv1D)},
        lora_alpha=lora_alpha,
        dtype=dtype,
    )
    return type(empty).from_pretrained(None, config=config, state_dict=weights, dtype=dtype, output_loading_info=True)


def _empty_model(config: Any) -> tuple[Any, str]:
    """The model without its weights, and the name of its input embedding's weight."""
    with torch.device("meta"):
        empty: Any = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    inputs = empty.get_input_embeddings()
    return empty, next(f"{name}.weight" for name, module in empty.named_modules() if module is inputs)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer as `tokenizer.json` has it; for some architectures transformers would put another in its place.

    Raises:
        SchemaError: it cannot be read.
    """
    loader: Any = PreTrainedTokenizerFast if (folder / "tokenizer.json").is_file() else AutoTokenizer
    with tokenizers_errors("the tokenizer cannot be loaded", path=folder / "tokenizer.json"):
        return loader.from_pretrained(folder, local_files_only=True, trust_remote_code=False)  # type: ignore[no-any-return]


def hush() -> None:
    """Progress is ours to show."""
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def new_word_gpt2(
    words: Sequence[str], *, d_model: int, n_layers: int, n_heads: int, n_positions: int, seed: int
) -> tuple[Any, PreTrainedTokenizerBase]:
    """An untrained GPT-2 without dropout, and a tokenizer that has one token a word."""
    tokenizer = Tokenizer(WordLevel({word: k for k, word in enumerate(words)}, unk_token=words[0]))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    unknown = AddedToken(words[0], single_word=True, special=True)  # and never a part of another word
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=unknown)  # type: ignore[no-untyped-call]
    config = GPT2Config(
        vocab_size=len(words), n_positions=n_positions, n_embd=d_model, n_layer=n_layers, n_head=n_heads,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GPT2LMHeadModel(config), fast


def save_model(model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write weights (safetensors), configuration and tokenizer of a model into a folder."""
    hush()
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
