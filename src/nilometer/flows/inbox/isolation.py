"""Many decided at once, and none of them by another's fault."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from nilometer.errors import Misconfigured, NotKnownYet, Unavailable

T = TypeVar("T")


def isolate(
    members: Sequence[T],
    decide: Callable[[Sequence[T]], None],
    *,
    settled: Callable[[T], bool],
    fail: Callable[[T, Exception], None],
    blame: Callable[[T, Exception], None],
) -> None:
    """Decides on all of `members`, which are not settled, and halves them until what makes it fail stands alone.

    `decide` may be called again with some of them, so what it stores is conditional or may be repeated. `fail` takes
    those that are not settled when the world is to blame, `blame` the one that alone is the reason.
    """
    try:
        decide(members)
    except Exception as error:  # noqa: BLE001  # whatever it is, the others must pass
        left = [one for one in members if not settled(one)]
        if worlds_fault(error) or len(members) == 1:
            for one in left:
                (fail if worlds_fault(error) else blame)(one, error)
            return
        middle = (len(left) + 1) // 2
        for half in filter(None, (left[:middle], left[middle:])):
            isolate(half, decide, settled=settled, fail=fail, blame=blame)


def worlds_fault(error: Exception) -> bool:
    """Whether the same input may pass another time, whatever it holds."""
    worlds = isinstance(error, Unavailable | Misconfigured | OSError | MemoryError)
    return worlds and not isinstance(error, NotKnownYet)
