"""Text from outside as a terminal may show it: control characters and changes of direction become visible symbols.

An escape sequence in a name could move the cursor, change what other lines say or write to the clipboard; a direction
override could make a name read as another one (Unicode TR 36, CVE-2021-42574).
"""

from __future__ import annotations

import re

# C0, DEL and C1; marks, embeddings, overrides and isolates of direction; separators; invisible tags and joiners.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """One line: `␛` for an escape, `␊` for a new line, `‹U+202E›` for a direction override."""
    return _UNSEEN.sub(_symbol, text)


def visible_json(line: str) -> str:
    """JSON with the same characters as `\\u` escapes: the same value for every reader, harmless on a terminal."""
    return _UNSEEN.sub(_escape, line)


def _symbol(found: re.Match[str]) -> str:
    number = ord(found[0])
    if number < 0x20:
        return chr(0x2400 + number)
    return "␡" if number == 0x7F else f"‹U+{number:04X}›"


def _escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
