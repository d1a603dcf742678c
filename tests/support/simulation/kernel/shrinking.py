"""A failing list of choices made as short as it goes: what is left is what the failure needs."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.support.simulation.kernel.choices import Answers

SECONDS = 60.0


def shrunk(answers: Answers, breaks: Callable[[Answers], str], *, seconds: float = SECONDS) -> Answers:
    """The fewest answers that were found under which `breaks` still names a law; after `seconds` the fewest so far.

    Chunks are made calm, large ones first.
    """
    end = time.monotonic() + seconds
    kept = dict(answers)
    size = max(1, len(kept) // 2)
    while size and time.monotonic() < end:
        names, changed = list(kept), False
        for start in range(0, len(names), size):
            without = {name: kept[name] for name in kept if name not in names[start : start + size]}
            if len(without) < len(kept) and breaks(without):
                kept, changed = without, True
            if time.monotonic() > end:
                break
        if not changed or size > len(kept):
            size = min(size // 2, len(kept))
    return kept
