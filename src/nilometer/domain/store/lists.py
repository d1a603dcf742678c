"""Lists: every workspace, billing record and meter, found by an index that holds their keys alone.

Such a record is in `gsi2` by its attribute `gsi2pk`, which is its kind. Versions from before the index wrote none, and
a service may still have one of them in its process. So a pass over the table gives the attribute to what lacks it:
first a day after it was first asked for, when the functions of before have gone, then every week. A list trusts the
index while the item of the pass says that a pass was whole; until then, and once that item has expired, it reads the
table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, parse_rfc3339, rfc3339
from nilometer.domain.store.writes import Absent, Item, Key, Put, Table, Update, Version, new_item

SETTLES = timedelta(days=1)
EVERY = timedelta(days=7)
TRUSTED = timedelta(days=21)
CAUSE = "lists"


def listed_now(item: Item) -> Update:
    """Puts a record that was read into the index. Nothing of it changes besides, and nobody may have written since."""
    return Update(
        table=Table.RECORDS,
        key=Key(item["pk"], item["sk"]),
        add={"version": 1},
        set={**keys.listing(item["kind"]), "cause": CAUSE, "actor": None},
        expected=Version(int(item["version"])),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ListsPass:
    """How far the pass has come. Times are RFC 3339; `after` is the item to go on after, None at the table's begin."""

    due_at: str
    begun_at: str | None = None
    after: Key | None = None
    whole_at: str | None = None
    """The begin of the last whole pass."""
    version: int = 0

    def is_due(self, now: datetime) -> bool:
        """Whether a pass runs, or the next one should begin."""
        return self.begun_at is not None or rfc3339(now) >= self.due_at

    def past(self, last: Key | None, now: datetime) -> ListsPass:
        """After a page of the table that ended at `last`; None was the last page."""
        begun = self.begun_at or rfc3339(now)
        if last:
            return replace(self, begun_at=begun, after=last)
        due = rfc3339(parse_rfc3339(begun) + EVERY)
        return replace(self, begun_at=None, after=None, whole_at=begun, due_at=due)

    def put(self) -> Put:
        """Its next version, unless another run was faster."""
        named = {"due_at": self.due_at, "begun_at": self.begun_at, "whole_at": self.whole_at}
        kept: dict[str, Any] = {name: time for name, time in named.items() if time}
        if self.after:
            kept |= {"after_pk": self.after.pk, "after_sk": self.after.sk}
        if self.whole_at:
            kept["expires_at"] = epoch(parse_rfc3339(self.whole_at) + TRUSTED)
        item = new_item(keys.LISTS, "lists_pass", self.version + 1, **kept)
        return Put(table=Table.EVENTS, item=item, expected=Version(self.version) if self.version else Absent())


def pass_of(item: Item | None, now: datetime) -> ListsPass:
    """The inverse of `ListsPass.put`; without an item a pass that begins once the functions of before have gone."""
    if item is None:
        return ListsPass(due_at=rfc3339(now + SETTLES))
    return ListsPass(
        due_at=item["due_at"],
        begun_at=item.get("begun_at"),
        after=Key(item["after_pk"], item["after_sk"]) if "after_pk" in item else None,
        whole_at=item.get("whole_at"),
        version=int(item["version"]),
    )


def is_whole(item: Item | None) -> bool:
    """Whether the index has all that a list names, by the item of the pass."""
    return item is not None and "whole_at" in item
