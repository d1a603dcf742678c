"""Meters and workspaces as counting needs them, kept in the process for seconds.

Only what exists is remembered: what is absent is read again, consistently, before anything is refused for it.
A meter that was switched off or a boundary that moved is therefore noticed within the time that an entry lives.
How many entries are held is bounded: a process lives for days and sees every workspace.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from nilometer.aws.dynamodb import Store
from nilometer.domain.limits import own as own_limits
from nilometer.domain.limits.limit import Limit, limit_of
from nilometer.domain.limits.plan import Limit as Rule
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Item, Table
from nilometer.domain.usage.meter import Meter, meter_of

METER_SECONDS = 30.0
WORKSPACE_SECONDS = 10.0
REMEMBERED = 2_000  # workspaces, and meters, at most; a few large ones are a megabyte

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Tenant:
    """A known workspace: its record (`recorded`) or its billing record exists."""

    workspace_id: str
    shards: int
    billing: Item | None
    own_limits: Item | None = None
    recorded: bool = True

    def rules(self, now: datetime) -> Mapping[str, Rule]:
        """Of every meter that has a limit at this moment: the plan's, or the workspace's own."""
        return own_limits.rules((self.billing or {}).get("limit_rules"), self.own_limits, now)

    def limit(self, meter: str, now: datetime) -> Limit | None:
        """The limit that applies to the meter at `now`; None when it is unlimited."""
        return limit_of(self.rules(now), meter)


@dataclass(slots=True)
class Known:
    """One a process. `monotonic` is handed in by tests that let time pass."""

    store: Store
    monotonic: Callable[[], float] = time.monotonic
    _meters: dict[str, tuple[float, Meter]] = field(default_factory=dict)
    _tenants: dict[str, tuple[float, Tenant]] = field(default_factory=dict)

    def meters(self, slugs: Iterable[str]) -> Mapping[str, Meter]:
        """Those of `slugs` that exist."""
        return self._cached(self._meters, set(slugs), METER_SECONDS, self._read_meters)

    def tenants(self, workspace_ids: Iterable[str], *, fresh: bool = False) -> Mapping[str, Tenant]:
        """Those of `workspace_ids` that are known; with `fresh`, as stored at this moment."""
        wanted = set(workspace_ids)
        if fresh:
            self.forget(wanted)
        return self._cached(self._tenants, wanted, WORKSPACE_SECONDS, self._read_tenants)

    def forget(self, workspace_ids: Iterable[str]) -> None:
        """They are read again when they are asked for."""
        for workspace_id in workspace_ids:
            self._tenants.pop(workspace_id, None)

    def _cached(
        self,
        cache: dict[str, tuple[float, _T]],
        wanted: set[str],
        seconds: float,
        read: Callable[[set[str]], Mapping[str, _T]],
    ) -> dict[str, _T]:
        now = self.monotonic()
        known = {name: entry for name in wanted if (entry := cache.get(name))}
        held = {name: value for name, (until, value) in known.items() if until > now}
        missing = wanted - held.keys()
        if not missing:
            return held
        found = read(missing)
        if len(cache) + len(found) > REMEMBERED:
            _make_room(cache, now)
        cache.update({name: (now + seconds, value) for name, value in found.items()})
        return {**held, **found}

    def _read_meters(self, slugs: set[str]) -> dict[str, Meter]:
        items = self.store.batch_get(Table.RECORDS, map(keys.meter, slugs), consistent=True)
        return {item["meter"]: meter_of(item) for item in items.values()}

    def _read_tenants(self, workspace_ids: set[str]) -> dict[str, Tenant]:
        wanted = [key(one) for one in workspace_ids for key in (keys.workspace, keys.billing, keys.limits)]
        items: Mapping[Any, Item] = self.store.batch_get(Table.RECORDS, wanted, consistent=True)
        found = {}
        for one in workspace_ids:
            record, billing = items.get(keys.workspace(one)), items.get(keys.billing(one))
            if record or billing:
                own = items.get(keys.limits(one))
                shards = int((record or {}).get("shards", 1))
                found[one] = Tenant(one, shards, billing, own, recorded=record is not None)
        return found


def _make_room(cache: dict[str, tuple[float, _T]], now: float) -> None:
    """Without what has expired, and without all where most is still valid. Other threads may read and add meanwhile."""
    held = list(cache.items())
    valid = [name for name, (until, _) in held if until > now]
    for name in {name for name, _ in held} - set(valid if 2 * len(valid) <= REMEMBERED else ()):
        cache.pop(name, None)
