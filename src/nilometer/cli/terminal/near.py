"""What somebody may have meant who named something that is not there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def near_names(wrong: str, known: Iterable[str]) -> str:
    """`; near ones: mrr_daily`, to be appended to a sentence; empty when none is near."""
    names = list(known)
    parts = [name for name in names if wrong and wrong in name]
    found = dict.fromkeys([*parts, *difflib.get_close_matches(wrong, names, n=5, cutoff=0.6)])
    return f"; near ones: {', '.join(list(found)[:5])}" if found else ""
