"""Repeated failed logins lock a member out for a while.

    failure, failure, ... five within 15 minutes ──▶ locked for 15 minutes ──▶ open, counted anew
    a login between them ──▶ counted from zero

The signal is the record's change, announced as `security.locked_out.v1` once a lock-out, with an entry in the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from nilometer.domain.acts.act import Act, checked_id
from nilometer.domain.acts.records import alive, record
from nilometer.domain.acts.security import SecurityAction, entry
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, parse_rfc3339, rfc3339
from nilometer.domain.store.writes import Item, Put, Write

FAILURES = 5
WINDOW = timedelta(minutes=15)
LOCKED = timedelta(minutes=15)
KEPT = timedelta(days=1)
LOCKED_OUT = "security.locked_out.v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedOut:
    """A member is locked out after repeated failures. `locked_until` is RFC 3339, `cause` the event of the last one."""

    workspace_id: str
    user_id: str
    locked_until: str
    failures: int
    cause: str | None

    @property
    def id(self) -> str:
        """The same for every delivery: a lock-out is known by when it ends, because the record's version restarts."""
        return f"{self.workspace_id}:{self.user_id}:{self.locked_until}:{LOCKED_OUT}"


def locked_out(old: Item | None, new: Item | None) -> LockedOut | None:
    """What a write of the record announces: the end of a lock that was not there before."""
    until = (new or {}).get("locked_until")
    if not new or not until or until == (old or {}).get("locked_until"):
        return None
    return LockedOut(
        workspace_id=new["workspace_id"],
        user_id=new["user_id"],
        locked_until=until,
        failures=FAILURES,
        cause=new.get("cause"),
    )


def locked_until(stored: Item | None, now: datetime) -> datetime | None:
    """`None` when he may try."""
    until = (stored or {}).get("locked_until")
    instant = parse_rfc3339(until) if until else None
    return instant if instant and instant > now else None


def failed(act: Act, *, stored: Item | None, user_id: str) -> list[Write]:
    """One more failure of `user_id`; with the fifth he is locked out. In any order of the same failures."""
    known = alive(stored, act.now) or {}
    at = act.happened
    if rfc3339(at) <= known.get("counted_after", "") or locked_until(known, at):
        return []
    times = sorted([*known.get("failures", ()), rfc3339(at)])
    recent = [time for time in times if time > rfc3339(parse_rfc3339(times[-1]) - WINDOW)]
    if len(recent) < FAILURES:
        return [_put(act, stored, user_id, failures=recent, counted_after=known.get("counted_after", ""))]
    until = parse_rfc3339(recent[-1]) + LOCKED
    locked = _put(act, stored, user_id, failures=[], counted_after=recent[-1], locked_until=rfc3339(until))
    return [locked, entry(act, SecurityAction.LOCKED_OUT, subject=user_id)]


def succeeded(act: Act, *, stored: Item | None, user_id: str) -> list[Write]:
    """A login: what failed before is forgotten."""
    known = alive(stored, act.now)
    if known is None or rfc3339(act.happened) <= known.get("counted_after", "") or not known["failures"]:
        return []
    later = [time for time in known["failures"] if time > rfc3339(act.happened)]
    return [_put(act, stored, user_id, failures=later, counted_after=rfc3339(act.happened))]


def _put(act: Act, stored: Item | None, user_id: str, **attributes: Any) -> Put:
    return record(
        act,
        keys.lockout(act.workspace_id, user_id),
        "lockout",
        stored,
        **{"locked_until": None, **attributes},
        user_id=checked_id(user_id),
        expires_at=epoch(max(act.happened, act.now) + KEPT),
    )
