"""What records share: version, actor, cause, the time of each field, and an end that is checked on read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from nilometer.domain.acts.act import Act
from nilometer.domain.store.keys import listing
from nilometer.domain.store.times import epoch, rfc3339
from nilometer.domain.store.writes import Item, Key, Put, Table, new_item, version_after, version_of


def record(act: Act, key: Key, kind: str, stored: Item | None, **attributes: Any) -> Put:
    """The record of a workspace after `act`. `attributes` are all that it has besides."""
    return put(act, key, kind, stored, {"workspace_id": act.workspace_id, **attributes})


def put(act: Act, key: Key, kind: str, stored: Item | None, attributes: Item) -> Put:
    """Replaces the whole record, only if it is still as `stored` was read."""
    stamps = {"updated_at": rfc3339(act.now), "cause": act.cause, "actor": act.caller.user_id}
    item = {**attributes, **new_item(key, kind, version_after(stored), **stamps, **listing(kind))}
    return Put(table=Table.RECORDS, item=item, expected=version_of(stored))


def newer(act: Act, stored: Item | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `given` that are newer than in the record. Each field keeps the stamp of what set it.

    An event may come late, so that an older one changes nothing; who calls the library saw what is stored, and a
    switch that he turns is turned.
    """
    times: Mapping[str, str] = (stored or {}).get("field_times", {})
    return {name: value for name, value in given.items() if not act.is_event or act.stamp > times.get(name, "")}


def field_times(act: Act, stored: Item | None, names: Iterable[str]) -> dict[str, str]:
    """The stamps after `act` set `names`; none ever becomes smaller."""
    times: Mapping[str, str] = (stored or {}).get("field_times", {})
    stamp = act.stamp or f"{rfc3339(act.happened)} {act.caller.user_id}"
    return {**times, **{name: max(stamp, times.get(name, "")) for name in names}}


def alive(item: Item | None, now: datetime) -> Item | None:
    """`None` once its `expires_at` has come: DynamoDB removes an expired item up to two days late.

    Source: DynamoDB Developer Guide, "Using time to live (TTL)".
    """
    return item if item and ("expires_at" not in item or item["expires_at"] > epoch(now)) else None


def is_late(stored: Item | None, act: Act) -> bool:
    """Whether the record has a field that is newer than the event behind `act`."""
    return bool(stored and act.stamp and act.stamp <= stored.get("stamp", ""))


def stamp_after(stored: Item | None, act: Act) -> str:
    """The stamp of the record after `act`."""
    known: str = (stored or {}).get("stamp", "")
    return max(act.stamp or rfc3339(act.now), known)
