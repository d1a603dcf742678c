"""Several groups in one transaction: fewer requests, and still no item in it twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

from nilometer.aws.dynamodb import TRANSACTION_LIMIT
from nilometer.domain.store.writes import Check, Key, Put, Write

BYTES = 3_000_000  # of a transaction's 4 MB
_ITEM_BYTES = 4_000  # a generous guess for what of an item is not a blob

_T = TypeVar("_T")


class Pack(Generic[_T]):
    """`groups` whose writes are `writes`. A check of what two groups read alike is one check."""

    def __init__(self) -> None:
        self.groups: list[_T] = []
        self.written: dict[Key, Write] = {}
        self.checks: dict[Key, Check] = {}
        self.size = 0

    @property
    def writes(self) -> list[Write]:
        """One transaction: a write an item, and the checks, one for each key."""
        return [*self.written.values(), *self.checks.values()]

    def at_fault(self, reasons: Sequence[str]) -> set[Key]:
        """The keys of the writes that a cancellation names; empty when it names none. `reasons` follow `writes`."""
        if len(reasons) != len(self.writes):
            return set()
        return {write.key for write, reason in zip(self.writes, reasons, strict=True) if reason != "None"}

    def touches(self, keys: Iterable[Key]) -> bool:
        """Whether a decision on `keys` must wait until these writes are known to have landed."""
        return not self.written.keys().isdisjoint(keys)

    def fits(self, writes: Sequence[Write]) -> bool:
        """Whether a transaction takes these too: its limit of actions, of bytes, and no item written twice."""
        count = len(self.written) + len(self.checks) + len(writes)
        return count <= TRANSACTION_LIMIT and self.size + _size(writes) <= BYTES and not self._clashes(writes)

    def add(self, group: _T, writes: Sequence[Write]) -> None:
        """In place, for a group whose writes fit."""
        self.groups.append(group)
        for write in writes:
            if isinstance(write, Check):
                self.checks[write.key] = write
            else:
                self.written[write.key] = write
        self.size += _size(writes)

    def _clashes(self, writes: Sequence[Write]) -> bool:
        return any(
            write.key in self.written
            or (write.key in self.checks and not (isinstance(write, Check) and self.checks[write.key] == write))
            for write in writes
        )


def _size(writes: Sequence[Write]) -> int:
    blobs = (
        len(value)
        for write in writes
        if isinstance(write, Put)
        for value in write.item.values()
        if isinstance(value, bytes)
    )
    return sum(blobs) + _ITEM_BYTES * len(writes)
