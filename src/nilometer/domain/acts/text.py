"""Texts that people see: bounded, and without characters that act instead of being shown."""

from __future__ import annotations

import re

from nilometer.errors import Rejected

# Control characters, those that turn the direction of a line (they hide what a text says), and half characters.
_ACTING = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_ACTING_IN_LINES = re.compile(_ACTING.pattern.replace(r"\x00-\x1f", r"\x00-\x08\x0b-\x1f"))


def check_text(what: str, text: str, limit: int, *, at_least: int = 1, lines: bool = False) -> None:
    """`Rejected("invalid_schema")` outside of `at_least` to `limit` characters and four times as many bytes, and for a
    character that acts on a terminal or a page. `lines` allows line breaks and tabs."""
    if not at_least <= len(text) <= limit:
        raise Rejected("invalid_schema", f"{what} has {at_least} to {limit} characters")
    if (_ACTING_IN_LINES if lines else _ACTING).search(text):
        raise Rejected("invalid_schema", f"{what} contains a control character; send only text")


def shown(text: str, *, lines: bool = False) -> str:
    """With `�` for every character that would act. `lines` keeps line breaks and tabs."""
    return (_ACTING_IN_LINES if lines else _ACTING).sub("\N{REPLACEMENT CHARACTER}", text)
