"""Deleting an object that no attachment names, while the same content may be attached at this moment.

    nobody names it ──▶ deleting ──▶ deleted ──▶ (TTL)

A record of the sweep is claimed before the object is deleted, in a transaction in which no record names the object, and
marked after it. A process that attaches reads that record before it puts the content and commits only when it is
unchanged: so no deletion can come between that put and that record. A claim of a process that died is taken over after
an hour; no process that deletes lives as long.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from nilometer.domain.acts.act import Act
from nilometer.domain.acts.records import record
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, parse_rfc3339
from nilometer.domain.store.writes import Check, Item, Key, Put, Table, Write, version_of
from nilometer.errors import Unavailable

UNNAMED = timedelta(days=1)  # an object is younger while somebody may be about to name it
TAKEN_OVER = timedelta(hours=1)
REMEMBERED = timedelta(days=1)  # longer than anybody is between his put and his record


def seen(item: Item | None) -> int:
    """The version of an object's sweep, 0 for none. `Unavailable` while it is being deleted."""
    if item is not None and item["status"] == "deleting":
        raise Unavailable("the same content is being deleted at this moment; try again in a minute")
    return int(item["version"]) if item else 0


def unchanged(key: Key, item: Item | None, *, since: int) -> Check:
    """What must hold for a record that names the object. `Unavailable` when a sweep came after `since`."""
    if seen(item) != since:
        raise Unavailable("the content may have been deleted since it was put; attach it again")
    return Check(table=Table.RECORDS, key=key, expected=version_of(item))


def is_claimable(item: Item | None, act: Act) -> bool:
    """Whether nobody else is deleting the object."""
    if item is None or item["status"] != "deleting":
        return True
    return parse_rfc3339(item["updated_at"]) <= act.now - TAKEN_OVER


def claim(act: Act, sha256: str, *, marks: Iterable[Item], absent: Iterable[Key], item: Item | None) -> list[Write]:
    """Before the object is deleted: its records are the `marks` of removed ones and those that are `absent`."""
    checks: list[Write] = [
        Check(table=Table.RECORDS, key=Key(one["pk"], one["sk"]), expected=version_of(one)) for one in marks
    ]
    checks += [Check(table=Table.RECORDS, key=key, expected=version_of(None)) for key in absent]
    return [_put(act, sha256, item, "deleting"), *checks]


def done(act: Act, sha256: str, claimed: Put) -> Put:
    """After the object is deleted."""
    return _put(act, sha256, claimed.item, "deleted", expires_at=epoch(act.now + REMEMBERED))


def _put(act: Act, sha256: str, item: Item | None, status: str, **more: int) -> Put:
    key = keys.sweep(act.workspace_id, sha256)
    return record(act, key, "attachment_sweep", item, sha256=sha256, status=status, **more)
