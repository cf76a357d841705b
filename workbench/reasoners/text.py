"""Between text and token ids: one tokenizer, with errors that name what it could not read."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from workbench.errors import ConfigError, SchemaError

REMEMBERED_TEXTS, LONGEST_REMEMBERED = 16_384, 2_000
"""Texts whose ids are kept, and the most characters of one: edits run the same problems again and again."""


class TextCoder:
    """A tokenizer of Hugging Face, and nothing of it that depends on what stands around a piece of text.

    Raises:
        ConfigError: a vocabulary of 0 (a folder without tokenizer files gives one), or more tokens than the model has.
    """

    def __init__(self, tokenizer: Any, d_vocab: int) -> None:
        if len(tokenizer) == 0:
            raise ConfigError("the tokenizer has a vocabulary of 0", field="tokenizer")
        if len(tokenizer) > d_vocab:
            raise ConfigError(
                "the tokenizer knows more tokens than the model",
                field="vocab_size", expected=d_vocab, found=len(tokenizer),
            )  # fmt: skip
        self.tokenizer = tokenizer
        self.d_vocab = d_vocab
        self._remembered = lru_cache(maxsize=REMEMBERED_TEXTS)(self._encode)

    def token_ids(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        """Ids of one piece of text, tokenized by itself."""
        encode = self._remembered if len(text) <= LONGEST_REMEMBERED else self._encode
        return list(encode(text, add_special_tokens))

    def _encode(self, text: str, add_special_tokens: bool) -> tuple[int, ...]:
        with tokenizers_errors(f"the tokenizer cannot read {text[:40]!r}"):
            return tuple(self.tokenizer.encode(text, add_special_tokens=add_special_tokens)) if text else ()

    def text(self, token_ids: Collection[int]) -> str:
        """Text of ids, special tokens kept and nothing tidied; ids that the tokenizer does not know are left out."""
        return str(
            self.tokenizer.decode(list(token_ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        )

    def single_token(self, text: str) -> int | None:
        """Id of the token that says this text; after a space first, as most tokenizers have it in a sentence."""
        for ids in (self.token_ids(f" {text}"), self.token_ids(text)):
            if len(ids) == 1 and ids[0] != self.tokenizer.unk_token_id:
                return ids[0]
        return None

    def word_ids(self, text: str) -> tuple[int, ...] | None:
        """Ids that say this text within a sentence: after a space, or without one where that takes fewer tokens.

        None where the tokenizer does not know all of it, or makes no token of it.
        """
        ways = [tuple(self.token_ids(f" {text}")), tuple(self.token_ids(text))]
        known = [ids for ids in ways if ids and self.tokenizer.unk_token_id not in ids]
        return min(known, key=len, default=None)

    def random_text(self, n_tokens: int, seed: int) -> str:
        """Text of random tokens that are not special."""
        special = set(self.tokenizer.all_special_ids)
        plain = [token for token in range(len(self.tokenizer)) if token not in special]
        places = torch.randint(len(plain), (n_tokens,), generator=torch.Generator().manual_seed(seed))
        return self.text([plain[place] for place in places.tolist()])


@contextmanager
def tokenizers_errors(message: str, *, path: Path | None = None) -> Iterator[None]:
    """The tokenizers library raises `Exception` itself; nothing else is caught here."""
    try:
        yield
    except Exception as error:
        if type(error) is not Exception:
            raise
        raise SchemaError(f"{message}: {error}", path=path, field="tokenizer") from error
