"""What every static SVG is made of: numbers, words, strokes."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

SVG_FONT = "Helvetica Neue, Arial, sans-serif"
SVG_WIDTH = 960


def px(value: float) -> str:
    """A coordinate with at most one digit after the point."""
    return f"{value:.1f}".rstrip("0").rstrip(".")


def words(x: float, y: float, text: str, *, size: int = 12, fill: str, anchor: str = "middle", extra: str = "") -> str:
    """One line of text, escaped; hidden characters must have been written out before."""
    return (
        f'<text x="{px(x)}" y="{px(y)}" font-size="{size}" fill="{fill}" text-anchor="{anchor}"{extra}>'
        f"{escape(text)}</text>"
    )


def paths(strokes: Iterable[tuple[str, str]]) -> str:
    """Strokes (attributes, path data) with equal attributes as one element, each once: long chains stay small."""
    merged: dict[str, dict[str, None]] = {}
    for attributes, data in strokes:
        merged.setdefault(attributes, {})[data] = None
    return "".join(f'<path {attributes} d="{"".join(data)}"/>' for attributes, data in merged.items())
