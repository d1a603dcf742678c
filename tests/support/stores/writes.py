"""Writes applied to a dictionary, all or none, under their conditions: so that rules can be played through fast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nilometer.domain.store.writes import (
    Absent,
    Check,
    Delete,
    Expected,
    Item,
    Key,
    Less,
    Present,
    Put,
    Update,
    Version,
    Write,
)


class Memory(dict[Key, Item]):
    def commit(self, writes: Sequence[Write]) -> None:
        touched = [write.key for write in writes]
        assert len(set(touched)) == len(touched), f"two writes on one item: {touched}"
        for write in writes:
            assert _holds(self.get(write.key), write.expected), f"condition of {write.key} is false"
        for write in writes:
            self._apply(write)

    def _apply(self, write: Write) -> None:
        match write:
            case Put():
                self[write.key] = dict(write.item)
            case Update():
                item: dict[str, Any] = {"pk": write.key.pk, "sk": write.key.sk, **self.get(write.key, {})}
                item |= write.set
                for name, number in write.add.items():
                    item[name] = item.get(name, 0) + number
                self[write.key] = {**write.set_once, **item}
            case Delete():
                self.pop(write.key, None)
            case Check():
                pass


def _holds(item: Item | None, expected: Expected | None) -> bool:
    match expected:
        case None:
            return True
        case Absent():
            return item is None
        case Present():
            return item is not None
        case Version(number):
            return item is not None and item.get("version") == number
        case Less(attribute, value):
            return item is None or attribute not in item or item[attribute] < value
