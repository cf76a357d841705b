"""Model text made safe to look at: what cannot be seen is written out, what could be run is not.

Everything a model emits (prompts, said text, decoded values, even problem ids)
passes one of these functions on its way to a figure, a page or a table.
"""

from __future__ import annotations

import unicodedata

_UNSEEN_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
_UNSEEN_LETTERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Blank although Unicode calls them letters, marks or symbols: grapheme joiner, fillers, empty braille."""
_MARKS_IN_A_ROW = 3
_FORMULA_START = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def _is_unseen(char: str) -> bool:
    if " " <= char <= "~":
        return False
    category = unicodedata.category(char)
    blank = category == "Zs" or char in _UNSEEN_LETTERS
    selector = "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"
    return category in _UNSEEN_CATEGORIES or blank or selector


def _escape(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def visible(text: str, *, keep_lines: bool = False) -> str:
    r"""The text with every character that hides or reorders other characters written out.

    Control, bidirectional, zero-width, private and unassigned characters become
    ``\x1b``, ``\u202e``, ``\U000e0041``; a tab becomes ``⇥`` and a line break
    ``⏎`` (kept after the sign with `keep_lines`); from the fourth combining
    mark in a row on, marks are written out too, because a pile of them covers
    neighbouring lines.
    """
    if text.isascii() and text.isprintable():
        return text  # most texts by far; letter by letter, a long audit takes seconds
    parts: list[str] = []
    marks = 0
    for char in text:
        marks = marks + 1 if unicodedata.category(char) in {"Mn", "Me"} else 0
        if char == "\n":
            parts.append("⏎\n" if keep_lines else "⏎")
        elif char == "\t":
            parts.append("⇥")
        elif marks > _MARKS_IN_A_ROW or _is_unseen(char):
            parts.append(_escape(char))
        else:
            parts.append(char)
    return "".join(parts)


def visible_lines(text: str) -> str:
    """The same of commands and logs, whose line breaks are meant: these stay, and bear no sign."""
    return visible(text, keep_lines=True).replace("⏎\n", "\n")


def columns(text: str) -> int:
    """Width of the text in columns of a fixed font: East Asian wide characters take two."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def short(text: str, limit: int = 12) -> str:
    """The visible text, cut to `limit` columns with an ellipsis."""
    shown = visible(text)
    if columns(shown) <= limit:
        return shown
    kept: list[str] = []
    width = 0
    for char in shown:
        width += columns(char)
        if width > limit - 1:
            break
        kept.append(char)
    return "".join(kept) + "…"


def plotly_text(text: str) -> str:
    """The visible text for Plotly, which renders tags, entities and (where MathJax is loaded) formulas."""
    shown = visible(text)
    for char, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("$", "&#36;")):
        shown = shown.replace(char, entity)
    return shown


def csv_cell(text: str) -> str:
    """The text for a CSV cell: a spreadsheet must not take it for a formula.

    The bytes are otherwise kept: a CSV file is data, not a display.
    """
    return "'" + text if text.lstrip(" ").startswith(_FORMULA_START) else text
