"""What internal services say about workspaces and meters, merged into their records in any order.

Each field keeps the time of the event that set it, so that a late older event cannot undo a newer one
and any order of the same events ends in the same record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nilometer.domain.events.cloudevents import CloudEvent
from nilometer.domain.people.workspace import new_workspace, workspace_attributes
from nilometer.domain.store import keys
from nilometer.domain.store.times import rfc3339
from nilometer.domain.store.writes import Item, Key, Put, Table, new_item, version_after, version_of
from nilometer.domain.usage.meter import meter_attributes, new_meter
from nilometer.errors import NotKnownYet, Refused, Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one event, or one operator, says of one record. `stamp` orders changes of one field."""

    kind: str
    key: Key
    creates: bool
    given: Mapping[str, Any]
    stamp: str
    cause: str | None
    actor: str | None = None


def stamp(event: CloudEvent) -> str:
    """Time, then identity: two events of one millisecond have an order too."""
    return f"{rfc3339(event.time)} {event.source} {event.id}"


def workspace_change(
    workspace_id: str, *, creates: bool, given: Mapping[str, Any], stamp: str, cause: str | None, actor: str | None
) -> Change:
    return Change(
        kind="workspace",
        key=keys.workspace(workspace_id),
        creates=creates,
        given={"workspace_id": workspace_id, **given},
        stamp=stamp,
        cause=cause,
        actor=actor,
    )


def meter_change(
    slug: str, *, creates: bool, given: Mapping[str, Any], stamp: str, cause: str | None, actor: str | None
) -> Change:
    return Change(
        kind="meter",
        key=keys.meter(slug),
        creates=creates,
        given={"meter": slug, **given},
        stamp=stamp,
        cause=cause,
        actor=actor,
    )


def decide(stored: Item | None, change: Change, *, now: datetime) -> Put | None:
    """The record after the change; `None` when it says nothing new.

    `Rejected` when the result cannot be, `NotKnownYet` when the record has yet to be created.
    """
    if stored is None and not change.creates:
        raise NotKnownYet(
            f"unknown_{change.kind}",
            f"the {change.kind} of {change.key.pk} is not known yet; its creation may be on the way",
        )
    _keep_fixed(stored, change)
    times: Mapping[str, str] = (stored or {}).get("field_times", {})
    newer = {name: value for name, value in change.given.items() if change.stamp > times.get(name, "")}
    if not newer:
        return None
    attributes = _ATTRIBUTES[change.kind]({**_fields(stored, change.kind), **newer})
    return _put(stored, change, attributes, times={**times, **dict.fromkeys(newer, change.stamp)}, now=now)


def check_same(stored: Item, change: Change) -> None:
    """`Refused` when the record exists and says something else than `change`."""
    wanted = _ATTRIBUTES[change.kind](dict(change.given))
    differing = [name for name in change.given if _plain(stored.get(name)) != _plain(wanted[name])]
    if differing:
        facts = ", ".join(f"{name} {stored.get(name)!r}, not {wanted[name]!r}" for name in differing)
        raise Refused(f"{change.key.pk} exists already with {facts}; update it, or choose another name")


def _keep_fixed(stored: Item | None, change: Change) -> None:
    """What was counted in one unit cannot become another."""
    for name in _FIXED[change.kind]:
        if stored and name in change.given and stored[name] != change.given[name]:
            raise Rejected(
                "conflict",
                f"{change.key.pk} has {name} {stored[name]!r} for good; create another for {change.given[name]!r}",
            )


def _put(stored: Item | None, change: Change, attributes: Item, *, times: Mapping[str, str], now: datetime) -> Put:
    stamps = {"updated_at": rfc3339(now), "cause": change.cause, "actor": change.actor}
    item = new_item(change.key, change.kind, version_after(stored), **attributes, field_times=dict(times), **stamps)
    return Put(table=Table.RECORDS, item={**(stored or {}), **item}, expected=version_of(stored))


def _fields(stored: Item | None, kind: str) -> dict[str, Any]:
    return {name: stored[name] for name in _NAMES[kind] if name in stored} if stored else {}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _workspace(fields: dict[str, Any]) -> Item:
    return workspace_attributes(new_workspace(fields.pop("workspace_id"), **fields))


def _meter(fields: dict[str, Any]) -> Item:
    dimensions = tuple(fields.pop("dimensions", ()))
    return meter_attributes(new_meter(fields.pop("meter"), dimensions=dimensions, **fields))


_ATTRIBUTES: Mapping[str, Callable[[dict[str, Any]], Item]] = {"workspace": _workspace, "meter": _meter}
_NAMES = {
    "workspace": ("workspace_id", "name", "status", "slug", "shards"),
    "meter": ("meter", "unit", "aggregation", "dimensions", "active", "stripe_event_name", "fail_open"),
}
_FIXED = {"workspace": (), "meter": ("unit", "aggregation")}
