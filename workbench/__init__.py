"""Reads along while a language model thinks in vectors, and shows where its thoughts part from its words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.notebook import AuditView

__all__ = ["load"]


def load(folder: str | Path = "demo") -> AuditView:
    """The audit in a folder, for a notebook; ``demo`` is the one that came with the program.

    Raises:
        SchemaError: the folder holds no audit that can be read.
    """
    from workbench import notebook  # figures take a second to import, which no command should wait for

    return notebook.load(folder)
