"""Records that are merged field by field, from events in any order.

Each field keeps the time of the event that set it, so that a late older event cannot undo a newer one
and any order of the same events ends in the same record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nilometer.domain.acts.act import Act
from nilometer.domain.acts.records import put
from nilometer.domain.store.times import rfc3339
from nilometer.domain.store.writes import Item, Key, Put
from nilometer.errors import NotKnownYet, Refused, Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Fielded:
    """A kind of record: its fields, what they become, and those that stay as they were created."""

    kind: str
    names: tuple[str, ...]
    attributes: Callable[[Mapping[str, Any]], Item]
    """`Rejected` when such a record cannot be."""
    fixed: tuple[str, ...] = ()


def merged(
    act: Act, fielded: Fielded, key: Key, stored: Item | None, given: Mapping[str, Any], *, creates: bool
) -> Put | None:
    """The record after `act`; `None` when it says nothing new.

    `Rejected` when the result cannot be, `NotKnownYet` when the record has yet to be created. Who calls the library saw
    the record, and comes after all of it.
    """
    if stored is None and not creates:
        raise NotKnownYet(
            f"unknown_{fielded.kind}",
            f"the {fielded.kind} of {key.pk} is not known yet; its creation may not have arrived",
        )
    _keep_fixed(fielded, key, stored, given)
    times: Mapping[str, str] = (stored or {}).get("field_times", {})
    stamp = act.stamp or f"{max([rfc3339(act.now), *times.values()])} {act.caller.user_id}"
    newer = {name: value for name, value in given.items() if stamp > times.get(name, "")}
    if not newer:
        return None
    known = {name: stored[name] for name in fielded.names if name in stored} if stored else {}
    attributes = {
        **(stored or {}),
        **fielded.attributes({**known, **newer}),
        "field_times": {**times, **dict.fromkeys(newer, stamp)},
    }
    return put(act, key, fielded.kind, stored, attributes)


def check_same(fielded: Fielded, stored: Item, given: Mapping[str, Any]) -> None:
    """`Refused` when the record exists and says something else than `given`."""
    wanted = fielded.attributes(given)
    differing = [name for name in given if _plain(stored.get(name)) != _plain(wanted[name])]
    if differing:
        facts = ", ".join(f"{name} {stored.get(name)!r}, not {wanted[name]!r}" for name in differing)
        raise Refused(f"{stored['pk']} exists already with {facts}; update it, or choose another name")


def _keep_fixed(fielded: Fielded, key: Key, stored: Item | None, given: Mapping[str, Any]) -> None:
    """What was counted in one unit cannot become another."""
    for name in fielded.fixed:
        if stored and name in given and stored[name] != given[name]:
            raise Rejected(
                "conflict", f"{key.pk} has {name} {stored[name]!r} for good; create another for {given[name]!r}"
            )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
