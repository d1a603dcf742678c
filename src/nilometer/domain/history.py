"""The life of one record: its changes in order, what each changed, and what it was at any time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nilometer.domain.change import Action, changed_fields
from nilometer.domain.writes import Key

Image = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One change of one record, as the audit keeps it."""

    key: Key
    occurred_at: datetime
    action: Action
    actor: str | None
    cause: str | None
    old: Image | None
    new: Image | None

    @property
    def fields(self) -> dict[str, tuple[Any, Any]]:
        """What differs, before and after. Two images redacted alike may hide a difference, never invent one."""
        old, new = self.old or {}, self.new or {}
        return {name: (old.get(name), new.get(name)) for name in changed_fields(self.old, self.new)}


def state(steps: Iterable[Step]) -> dict[Key, Image]:
    """What the records are after `steps` (in order): the fold of the audit. Removed and expired ones are absent."""
    records: dict[Key, Image] = {}
    for step in steps:
        if step.new is None:
            records.pop(step.key, None)
        else:
            records[step.key] = step.new
    return records
