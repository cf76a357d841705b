"""Small models with planted, sealed truth about what they think and what they say."""

from __future__ import annotations

from pathlib import Path

from workbench.errors import ConfigError
from workbench.organisms.recipes import ORGANISMS, organism

__all__ = ["ORGANISMS", "bundled", "organism", "weights_folder"]

WEIGHTS = Path(__file__).parent / "weights"


def bundled() -> list[str]:
    """Names of the organisms whose weights are shipped."""
    return [name for name in ORGANISMS if (WEIGHTS / name / "model.safetensors").is_file()]


def weights_folder(name: str) -> Path:
    """Model folder of a bundled organism.

    Raises:
        ConfigError: no such organism, or its weights are not shipped.
    """
    folder = WEIGHTS / organism(name).name
    if not (folder / "model.safetensors").is_file():
        raise ConfigError(
            f"the weights of organism {name!r} are not bundled",
            field="organism",
            hint=f"Train it: workbench organism train {name} --out DIR, then use DIR as MODEL.",
        )
    return folder
