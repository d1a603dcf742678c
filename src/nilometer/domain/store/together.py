"""How much travels together: services bound a request by its number of parts and by its bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

_T = TypeVar("_T")


def together(parts: Iterable[_T], size: Callable[[_T], int], *, most: int, most_bytes: int) -> Iterator[list[_T]]:
    """In their order, as many in each list as the bounds allow. A part above `most_bytes` stands alone."""
    group: list[_T] = []
    taken = 0
    for part in parts:
        length = size(part)
        if group and (len(group) == most or taken + length > most_bytes):
            yield group
            group, taken = [], 0
        group.append(part)
        taken += length
    if group:
        yield group
