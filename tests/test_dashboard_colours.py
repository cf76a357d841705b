"""Colours of the dashboard can be told apart by those who see little contrast (WCAG 2.2, relative luminance)."""

from __future__ import annotations

import pytest

from apps.settings import server_options

TEXT, SHAPE = 4.5, 3.0
"""Least contrast of letters, and of what is no letter."""
OPTIONS = server_options(headless=True)


def luminance(colour: str) -> float:
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return sum(weight * one for weight, one in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_letters_on_the_accent_and_the_accent_on_the_page_can_be_seen(theme: str) -> None:
    accent, ground, panel, ink = (
        str(OPTIONS[f"theme.{theme}.{name}"])
        for name in ("primaryColor", "backgroundColor", "secondaryBackgroundColor", "textColor")
    )
    assert contrast("#FFFFFF", accent) >= TEXT
    assert contrast(accent, ground) >= SHAPE
    assert contrast(accent, panel) >= SHAPE
    assert contrast(ink, ground) >= TEXT
    assert contrast(ink, panel) >= TEXT
