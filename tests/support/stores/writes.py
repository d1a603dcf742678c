"""Writes applied to a dictionary, all or none, under their conditions: so that rules can be played through fast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nilometer.client.testing.conditions import holds
from nilometer.domain.acts.act import Act
from nilometer.domain.acts.deed import Deed
from nilometer.domain.store import keys
from nilometer.domain.store.writes import (
    Check,
    Delete,
    Item,
    Key,
    Put,
    Update,
    Write,
)


class Memory(dict[Key, Item]):
    def does(self, act: Act, deed: Deed[Any]) -> Sequence[Write]:
        """What the deed wrote, decided on the workspace and what it reads alone."""
        known: dict[Key, Item | None] = {}
        wanted = {keys.workspace(act.workspace_id), *deed.reads(act)}
        while missing := wanted - known.keys():
            known |= {key: self.get(key) for key in missing}
            wanted = set(deed.follows(act, known))
        writes = deed.decide(act, {key: item for key, item in known.items() if item is not None})
        self.commit(writes)
        return writes

    def commit(self, writes: Sequence[Write]) -> None:
        touched = [write.key for write in writes]
        assert len(set(touched)) == len(touched), f"two writes on one item: {touched}"
        for write in writes:
            assert holds(self.get(write.key), write.expected), f"condition of {write.key} is false"
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
