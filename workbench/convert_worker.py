"""The one place where pickled weights are read: a process of its own, run isolated and by its path, under limits.

`python -I convert_worker.py SOURCE TARGET MEMORY_BYTES SECONDS` writes one safetensors file and prints one JSON object:
`{"n_tensors": ..., "inside": ..., "left_out": [...]}` or `{"error": ..., "message": ..., "field": ...}`. It imports
nothing of this project, so that it runs where the project cannot be imported.
"""

from __future__ import annotations

import json
import os
import re
import resource
import sys
from pathlib import Path
from pickle import UnpicklingError  # noqa: TID251  # only its name: nothing is unpickled with it
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

INSIDE = ("state_dict", "model", "model_state_dict", "module")
"""Keys under which training loops put the weights beside other things."""
ZIP_START = b"PK"
NO_MEMORY = ("allocate memory", "not enough memory", "cannot allocate")


class Refused(Exception):
    """What the caller is told: a kind, a sentence, and the key that it is about."""

    def __init__(self, kind: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.plain = {"error": kind, "message": message, "field": field}


def limit(memory: int, seconds: int) -> None:
    """Cap what this process may compute and write, and (Linux) map beyond what it has mapped already."""
    caps = [(resource.RLIMIT_CPU, seconds), (resource.RLIMIT_FSIZE, memory), (resource.RLIMIT_CORE, 0)]
    if sys.platform.startswith("linux"):
        mapped = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        caps.append((resource.RLIMIT_AS, mapped + memory))
    for kind, cap in caps:
        hard = resource.getrlimit(kind)[1]
        lowest = cap if hard == resource.RLIM_INFINITY else min(cap, hard)
        resource.setrlimit(kind, (lowest, lowest))


def read(source: Path) -> Any:
    """What the file holds: tensors and plain containers; anything else is refused before it is built."""
    with source.open("rb") as stream:
        zipped = stream.read(2) == ZIP_START
    try:
        return torch.load(  # noqa: TID251  # tensors only, in a process of its own
            source, map_location="cpu", weights_only=True, mmap=zipped
        )
    except UnpicklingError as error:
        raise Refused("UntrustedFormat", f"the file holds more than tensors: {_cause(error)}") from error
    except MemoryError as error:
        raise Refused("LimitExceeded", "the file needs more memory than is allowed") from error
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        if any(word in str(error).lower() for word in NO_MEMORY):
            raise Refused("LimitExceeded", "the file needs more memory than is allowed") from error
        if "TorchScript" in str(error):
            raise Refused("UntrustedFormat", "the file is a TorchScript program, not weights alone") from error
        raise Refused("CorruptArtifact", f"the file is cut off or no file of torch.save: {_cause(error)}") from error


def _cause(error: Exception) -> str:
    """The one sentence of torch's long explanation that says what was refused."""
    text = " ".join(str(error).split())
    named = re.search(r"GLOBAL ([\w.]+)", text)
    if named:
        return f"it asks to call {named[1][:100]}"
    text = re.sub(r".*WeightsUnpickler error:| Check the documentation of.*", "", text)
    return text.strip()[:200] or type(error).__name__


def unwrap(loaded: Any) -> tuple[dict[str, Tensor], str, list[str]]:
    """The weights, the key they lay under (`""`: none), and what lay beside them."""
    if not isinstance(loaded, dict) or not loaded:
        raise Refused("UntrustedFormat", f"the file holds {type(loaded).__name__}, not names and tensors")
    if any(isinstance(value, Tensor) for value in loaded.values()):
        return _tensors(loaded), "", []
    within = [key for key in INSIDE if isinstance(loaded.get(key), dict)]
    if len(within) != 1:
        shown = ", ".join(str(key)[:50] for key in list(loaded)[:5])
        what = f"under more than one key: {', '.join(within)}" if within else f"neither at the top nor inside: {shown}"
        raise Refused("SchemaError", f"the file holds weights {what}")
    return _tensors(loaded[within[0]]), within[0], sorted(str(key) for key in loaded if key != within[0])


def _tensors(table: dict[Any, Any]) -> dict[str, Tensor]:
    for key, value in table.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise Refused("UntrustedFormat", f"the file holds {type(value).__name__} among its tensors", str(key)[:100])
        if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
            raise Refused("SchemaError", "a tensor is sparse, quantized or empty of values", key)
    if not table:
        raise Refused("SchemaError", "the file holds no tensor")
    return table


def write(tensors: dict[str, Tensor], target: Path) -> None:
    """Write each tensor under its name; what shares memory is written once per name."""
    seen: set[int] = set()
    whole: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        memory = tensor.untyped_storage().data_ptr()
        plain = tensor.detach().resolve_conj().resolve_neg()
        whole[name] = plain.clone(memory_format=torch.contiguous_format) if memory in seen else plain.contiguous()
        seen.add(memory)
    save_file(whole, target, metadata={"format": "pt"})
    umask = os.umask(0)
    os.umask(umask)
    target.chmod(0o666 & ~umask)  # safetensors writes for the owner alone
    with target.open("rb") as stream:
        os.fsync(stream.fileno())


def main(arguments: list[str]) -> dict[str, Any]:
    """Convert one file and say how it went."""
    source, target, memory, seconds = Path(arguments[0]), Path(arguments[1]), int(arguments[2]), int(arguments[3])
    try:
        limit(memory, seconds)
        tensors, inside, left_out = unwrap(read(source))
        write(tensors, target)
    except Refused as refused:
        return refused.plain
    except MemoryError:
        return Refused("LimitExceeded", "the weights need more memory than is allowed").plain
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        short = any(word in str(error).lower() for word in (*NO_MEMORY, "file too large"))
        kind, what = (
            ("LimitExceeded", "need more room than is allowed") if short else ("SchemaError", "cannot be stored")
        )
        return Refused(kind, f"the weights {what}: {_cause(error)}").plain
    return {"n_tensors": len(tensors), "inside": inside, "left_out": left_out}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1:])) + "\n")
