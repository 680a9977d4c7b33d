"""Each colour of text stands out from what is behind it: WCAG 2.2, 1.4.3 (4.5 to 1), in light and dark."""

import re
from pathlib import Path

import pytest

CSS = (Path(__file__).parents[2] / "daemon/tocsin/exporter/static/page.css").read_text()
LIGHT, DARK = (dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", part)) for part in CSS.split("prefers-color-scheme")[:2])
TEXT = ("ink", "quiet", "link", "good", "bad", "late", "locked", "calm", "grey", "gone")


def luminance(colour: str) -> float:
    """As WCAG defines it, of sRGB."""
    shares = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    brighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_every_text_can_be_read(palette: dict[str, str]) -> None:
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    pairs = [(text, behind) for text in TEXT for behind in ("paper", "sheet")] + [("alarm-ink", "alarm")]
    poor = {pair: round(contrast(*map(palette.__getitem__, pair)), 2) for pair in pairs}
    assert {pair: value for pair, value in poor.items() if value < 4.5} == {}
