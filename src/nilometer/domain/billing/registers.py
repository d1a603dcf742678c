"""The registers of a group, before and after its evidence, and what a billing record sees of the difference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nilometer.domain.billing.group import Evidence, Group, Known
from nilometer.domain.store.writes import Item, Key, Put, Table, Write, version_of
from nilometer.domain.stripe.registers.item import register_item, register_of
from nilometer.domain.stripe.registers.register import Register, merge, register, without
from nilometer.domain.stripe.registers.resolve import Resolution, resolve
from nilometer.domain.stripe.registers.view import View, view_key, view_of


@dataclass(frozen=True, slots=True)
class Merged:
    """One register before and after; `stored` is its item as it was read."""

    key: Key
    object_type: str
    object_id: str
    stored: Item | None
    before: Register
    after: Register
    resolution_before: Resolution | None
    resolution: Resolution | None

    @property
    def changed(self) -> bool:
        """False when the register held all of the evidence already, as with an event that comes again."""
        return self.before != self.after

    @property
    def version(self) -> int:
        """The number that the next write gives the item: 1 for a new one."""
        return int(self.stored["version"]) + 1 if self.stored else 1


def merged(group: Group, known: Known) -> list[Merged]:
    """One value for each object that the group has evidence of."""
    return [_merge(key, found, known[key], group.dropped) for key, found in group.elements.items()]


def register_writes(group: Group, registers: Sequence[Merged]) -> Iterator[Write]:
    """A register that the evidence does not change is not written."""
    for one in registers:
        if one.changed and one.resolution:
            item = register_item(
                one.key,
                one.after,
                one.resolution,
                scope=group.scope,
                version=one.version,
                cause=group.cause,
                updated_at=group.updated_at,
            )
            yield Put(table=Table.RECORDS, item=item, expected=version_of(one.stored))


def changed_views(registers: Sequence[Merged]) -> dict[str, View | None]:
    """The views that changed, each with the version of its register; None: the object no longer counts."""
    changed: dict[str, View | None] = {}
    for one in registers:
        before, after = view_of(one.before, one.resolution_before), view_of(one.after, one.resolution)
        if before != after:
            name = view_key(one.object_type, one.object_id)
            changed[name] = None if after is None else {**after, "version": one.version}
    return changed


def _merge(key: Key, found: Sequence[Evidence], stored: Item | None, dropped: str | None) -> Merged:
    before = register_of(stored)
    kept = without(before, dropped) if dropped else before
    after = merge(kept, register(one.element for one in found if one.element))
    first = found[0]
    return Merged(key, first.object_type, str(first.object_id), stored, before, after, resolve(before), resolve(after))
