"""What a model folder may hold: what could run code, or lies elsewhere, is refused before it is read."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from workbench.errors import CorruptArtifact, SchemaError, UntrustedFormat
from workbench.jsonio import canonical_json, digest, read_json

WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
PICKLED = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
PICKLE_STARTS = (b"\x80", b"PK")
"""First bytes of a pickle, and of the zip that torch puts one into."""
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")
CODE_KEYS = ("auto_map", "custom_generate")
ADAPTER = "adapter_config.json"
KERNEL_KEYS = ("attn_implementation", "_attn_implementation", "experts_implementation", "_experts_implementation")

FINGERPRINTED = (
    "config.json", "generation_config.json", "reasoner.toml", "*.safetensors", "*.safetensors.index.json",
    "tokenizer*.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt", "merges.txt",
    "special_tokens_map.json", "added_tokens.json", "chat_template*", "**/*.py",
)  # fmt: skip
"""Files that decide what a model does; notes, logs and problems beside them do not."""


def refuse_unsafe(folder: Path, *, trust_code: bool = False) -> None:
    """Look through a model folder before a library reads it; `trust_code` lets code that lies in the folder run.

    Raises:
        UntrustedFormat: pickled weights, code of its own, or files outside the folder.
        CorruptArtifact: a weight file that is no safetensors file.
        SchemaError: files are missing, or hold no object.
    """
    if not folder.is_dir():
        raise SchemaError(
            "no such model folder",
            path=folder,
            hint="MODEL is organism:NAME or a folder with Hugging Face files and reasoner.toml.",
        )
    for name in ("config.json", "tokenizer_config.json", "generation_config.json"):
        if name == "config.json" or (folder / name).is_file():
            _refuse_code(folder / name, trusted=trust_code)
    if (folder / ADAPTER).exists():
        raise UntrustedFormat(
            "an adapter names weights that lie elsewhere", path=folder / ADAPTER,
            hint="Merge it into its model first: model.merge_and_unload().save_pretrained(DIR).",
        )  # fmt: skip
    for name in weight_files(folder):
        _refuse_pickled(folder / name)
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise SchemaError("no tokenizer in the model folder", path=folder, field="tokenizer.json")


def _object(path: Path) -> dict[str, Any]:
    plain = read_json(path)
    if not isinstance(plain, dict):
        raise SchemaError(f"{path.name} holds no object", path=path)
    return plain


def _refuse_code(path: Path, *, trusted: bool) -> None:
    """Refuse keys that name code, at any depth: models of several parts nest their configurations."""
    left = [_object(path)]
    while left:
        table = left.pop()
        for key, value in table.items():
            if trusted and key == "auto_map":
                _refuse_foreign(path, value)
            elif key in CODE_KEYS or (key in KERNEL_KEYS and "/" in str(value)):
                raise UntrustedFormat(
                    "the model asks to run code of its own", path=path, field=key, found=str(value)[:100],
                    hint="Read that code first; if you trust it, pass --trust-remote-code.",
                )  # fmt: skip
            left.extend(item for item in (value if isinstance(value, list) else [value]) if isinstance(item, dict))


def _refuse_foreign(path: Path, auto_map: Any) -> None:
    """Trusted code lies in the folder, where it can be read and is part of the fingerprint."""
    named = auto_map.values() if isinstance(auto_map, dict) else [auto_map]
    for name in (one for item in named for one in (item if isinstance(item, list) else [item])):
        file, _, kind = str(name).partition(".")
        here = file.isidentifier() and kind.isidentifier() and (path.parent / f"{file}.py").is_file()
        if name is not None and not here:
            raise UntrustedFormat(
                "code is trusted only where it lies in the model folder", path=path, field="auto_map",
                found=str(name)[:100], hint="Put the file into the folder and name it as FILE.CLASS.",
            )  # fmt: skip


def _convert(source: Path) -> str:
    """How pickled weights become safe ones."""
    return (
        f"workbench convert {source} --out DIR reads them in a process of its own and writes safetensors; where they "
        "came from, model.save_pretrained(DIR) does."
    )


def weight_files(folder: Path) -> list[str]:
    """Names of the safetensors files of a model folder: the one, or those that its index names.

    Raises:
        UntrustedFormat: pickled weights only, or an index that points elsewhere.
        SchemaError: no weights, or some are missing.
    """
    if (folder / WEIGHTS).is_file():
        return [WEIGHTS]
    index = folder / WEIGHTS_INDEX
    if not index.is_file():
        pickled = sorted(path for pattern in PICKLED for path in folder.glob(pattern))
        if pickled:
            raise UntrustedFormat(
                "pickled weights can run code and are never read", path=pickled[0], hint=_convert(folder)
            )
        raise SchemaError(
            "no weights in the model folder", path=folder, field=WEIGHTS, expected=f"{WEIGHTS} or {WEIGHTS_INDEX}"
        )
    shards = _object(index).get("weight_map")
    if not isinstance(shards, dict) or not shards or not all(isinstance(name, str) for name in shards.values()):
        raise SchemaError("names no files of weights", path=index, field="weight_map")
    for name in sorted(set(shards.values())):
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise UntrustedFormat(
                "weights must lie in the folder, as safetensors",
                path=index,
                field="weight_map",
                found=name,
                hint=_convert(folder),
            )
        if not (folder / name).is_file():
            raise SchemaError("a file of weights is missing", path=folder / name)
    return sorted(set(shards.values()))


def _refuse_pickled(path: Path) -> None:
    """A safetensors file begins with the length of its header, and the header with a brace."""
    with path.open("rb") as stream:
        start = stream.read(9)
    if start.startswith(PICKLE_STARTS) and start[8:9] != b"{":
        raise UntrustedFormat("pickled weights can run code and are never read", path=path, hint=_convert(path))
    if start[8:9] != b"{" or int.from_bytes(start[:8], "little") > path.stat().st_size - 8:
        raise CorruptArtifact("not a safetensors file, or cut off", path=path)


def folder_fingerprint(folder: Path) -> str:
    """Hash over the names and contents of all files that decide what the model does."""
    files = sorted({path for pattern in FINGERPRINTED for path in folder.glob(pattern) if path.is_file()})
    return digest(canonical_json([[path.relative_to(folder).as_posix(), _file_digest(path)] for path in files]))


def _file_digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
