"""Where a change comes from, for records that need not belong to a workspace: what persons and all workspaces have.

What belongs to a workspace alone has an `Act` (`domain.act`); `of_act` takes the same from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nilometer.domain.acts.act import Act, checked_id
from nilometer.domain.events.cloudevents import NAME_LENGTH, CloudEvent
from nilometer.domain.store.keys import part
from nilometer.domain.store.times import rfc3339
from nilometer.domain.store.writes import Item, Key, Put, Table, new_item, version_after, version_of
from nilometer.errors import Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who changes something, why and since when. `stamp` orders the changes of one field, ties included.

    An event may come late, so that an older one changes nothing; who calls the library `insists`: he saw what is
    stored, and a switch that he turns is turned.
    """

    at: datetime
    stamp: str
    cause: str | None
    actor: str | None
    insists: bool = False


def of_event(event: CloudEvent, *, actor: str | None = None) -> Origin:
    """Time, then identity: two events of one millisecond have an order too."""
    stamp = f"{rfc3339(event.time)} {event.source} {event.id}"
    return Origin(at=event.time, stamp=stamp, cause=event.id, actor=checked_id(actor) if actor else event.source)


def of_act(act: Act) -> Origin:
    stamp = act.stamp or f"{rfc3339(act.happened)} {act.caller.user_id}"
    return Origin(at=act.happened, stamp=stamp, cause=act.cause, actor=act.caller.user_id, insists=not act.stamp)


def of_actor(actor: str | None, now: datetime, *, cause: str | None = None) -> Origin:
    """An operator or a service that calls the library at `now`."""
    return Origin(at=now, stamp=f"{rfc3339(now)} {actor or ''}", cause=cause, actor=actor, insists=True)


def newer(stored: Item | None, given: Mapping[str, Any], origin: Origin) -> dict[str, Any]:
    """What `given` says later than the record knows. Each field keeps the stamp of what set it."""
    times: Mapping[str, str] = (stored or {}).get("field_times", {})
    return {name: value for name, value in given.items() if origin.insists or origin.stamp > times.get(name, "")}


def field_times(stored: Item | None, names: Iterable[str], origin: Origin) -> dict[str, str]:
    """The stamps after `origin` set `names`; none ever becomes smaller."""
    times: Mapping[str, str] = (stored or {}).get("field_times", {})
    return {**times, **{name: max(origin.stamp, times.get(name, "")) for name in names}}


def put(key: Key, kind: str, attributes: Item, *, stored: Item | None, origin: Origin, now: datetime) -> Put:
    """The whole record anew, written only if it is still as `stored` was read."""
    stamps = {"updated_at": rfc3339(now), "cause": origin.cause, "actor": origin.actor}
    item = {**attributes, **new_item(key, kind, version_after(stored), **stamps)}
    return Put(table=Table.RECORDS, item=item, expected=version_of(stored))


def check_length(what: str, text: str, limit: int, *, at_least: int = 1) -> None:
    """`Rejected("invalid_schema")` outside of `at_least` to `limit` characters."""
    if not at_least <= len(text) <= limit:
        raise Rejected("invalid_schema", f"{what} has {at_least} to {limit} characters")


def check_workspace(workspace_id: str) -> None:
    if not 0 < len(part(workspace_id).encode()) <= NAME_LENGTH:
        raise Rejected("invalid_schema", f"a workspace id has 1 to {NAME_LENGTH} bytes")
