"""The life of one record: its changes in order, what each changed, and what it was at any time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from nilometer.domain.lake.change import ItemAction, changed_fields
from nilometer.domain.store.writes import Key

Image = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One change of one record, as the audit keeps it."""

    key: Key
    occurred_at: datetime
    action: ItemAction
    actor: str | None
    cause: str | None
    old: Image | None
    new: Image | None

    @property
    def fields(self) -> dict[str, tuple[Any, Any]]:
        """What differs, before and after. Two images redacted alike may hide a difference, never invent one."""
        old, new = self.old or {}, self.new or {}
        return {name: (old.get(name), new.get(name)) for name in changed_fields(self.old, self.new)}


def state(steps: Iterable[Step]) -> Iterator[tuple[Key, Image]]:
    """What the records are after `steps`: the fold of the audit. Removed and expired ones are absent.

    The steps of a record follow each other, in order.
    """
    for key, changes in groupby(steps, key=lambda step: step.key):
        [last] = deque(changes, maxlen=1)
        if last.new is not None:
            yield key, last.new
