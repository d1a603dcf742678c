"""UTC instants as text and epoch seconds. `now` is always handed in, never read here."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from nilometer.errors import Rejected


def rfc3339(instant: datetime) -> str:
    """Milliseconds and `Z`: sorts as text in the order of time."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_rfc3339(text: str) -> datetime:
    """An aware UTC datetime. `Rejected("invalid_schema")` for a naive or malformed one."""
    try:
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is not None:
            return instant.astimezone(UTC)
    except (ValueError, OverflowError):  # the year 1 east of Greenwich is before the first datetime
        pass
    raise Rejected("invalid_schema", f"time {text[:40]!r} is not RFC 3339 with an offset; write 2026-11-23T04:14:05Z")


def epoch(instant: datetime) -> int:
    """Whole seconds since 1970, rounded down."""
    return int(instant.timestamp())


def from_epoch(seconds: int) -> datetime:
    """Aware, in UTC. The inverse of `epoch` for whole seconds."""
    return datetime.fromtimestamp(seconds, UTC)


@lru_cache(maxsize=1024)
def rfc3339_of(seconds: int) -> str:
    """Of epoch seconds. Remembered: many rows and events are of the same seconds."""
    return rfc3339(from_epoch(seconds))
