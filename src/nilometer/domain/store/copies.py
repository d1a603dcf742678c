"""Items that a restore copied into a new table: they are no news, and no step from what was there before."""

from __future__ import annotations

from datetime import datetime, timedelta

from nilometer.domain.store.times import parse_rfc3339
from nilometer.domain.store.writes import Item
from nilometer.errors import Rejected

COPIED = timedelta(minutes=20)  # no function runs so long


def is_copy(item: Item, put_at: datetime) -> bool:
    """Whether an item that was put then was made long before. One that does not say when is taken as new."""
    try:
        made = parse_rfc3339(str(item.get("updated_at") or item.get("received_at")))
    except Rejected:
        return False
    return made + COPIED < put_at
