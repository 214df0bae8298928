"""The two themes: the same names for the same things, in the dark and in the light."""

from __future__ import annotations

from typing import Final

from textual.theme import Theme

DARK: Final = "s3queue-dark"
LIGHT: Final = "s3queue-light"

THEMES: Final = (
    Theme(
        DARK,
        primary="#4fa3e0",
        secondary="#7c8aa5",
        accent="#e0a84f",
        warning="#e5b454",
        error="#f2777a",
        success="#7ec699",
        foreground="#d6dbe5",
        background="#14181f",
        surface="#1a1f28",
        panel="#232a36",
        dark=True,
        variables={"dim": "#8792a6", "odd": "#181d26", "cursor": "#2f4a68", "blurred": "#2a303b", "marked": "#3a3420"},
    ),
    Theme(
        LIGHT,
        primary="#1f6fb2",
        secondary="#5f6b80",
        accent="#9a5b00",
        warning="#8f5a00",
        error="#b3261e",
        success="#1e7a3c",
        foreground="#1d2430",
        background="#fbfbf9",
        surface="#f1f2f0",
        panel="#e4e7ea",
        dark=False,
        variables={"dim": "#5d6778", "odd": "#f3f4f2", "cursor": "#bcd9f2", "blurred": "#dfe3e6", "marked": "#f6e7bd"},
    ),
)
