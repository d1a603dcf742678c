"""What counters should say by the lake, and what would make them say it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from nilometer.domain.store.times import parse_rfc3339, rfc3339
from nilometer.domain.store.writes import Item, Key, Table, Update, Version
from nilometer.domain.usage.counter import EXACT, CounterName
from nilometer.domain.usage.meter import GAUGES, Aggregation, Meter
from nilometer.domain.usage.total import exact_sum

RECOUNT = "recount"
"""The cause of a correction."""

SETTLES = timedelta(minutes=10)
"""A counter that changed since is left alone: the lake may not have all of it yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LakeSum:
    """One counter by the lake."""

    name: CounterName
    total: Decimal
    count: int
    max: Decimal | None = None
    latest: Decimal | None = None
    latest_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """One counter that differs: `counted` is what its shards say, `lake` what it should be."""

    name: CounterName
    counted: tuple[Decimal, int]
    lake: tuple[Decimal, int]
    writes: tuple[Update, ...]
    """One transaction."""


def corrections(
    sums: Iterable[LakeSum], counters: Iterable[Item], meters: Mapping[str, Meter], *, now: datetime
) -> list[Correction]:
    """The differing counters that are settled. A counter that no row of the lake supports goes to zero."""
    stored = _by_name(counters)
    wanted = {one.name: one for one in sums}
    found = []
    for name in sorted(stored.keys() | wanted.keys()):
        lake = wanted.get(name) or LakeSum(name=name, total=Decimal(0), count=0)
        one = _correction(lake, stored.get(name, ()), meters.get(name.meter), now)
        found += [one] if one else []
    return found


def unsettled(counters: Iterable[Item], *, now: datetime) -> list[CounterName]:
    """The counters that changed too recently to be compared."""
    stored = _by_name(counters)
    return sorted(name for name, shards in stored.items() if not _is_settled(shards, now))


def uncorrectable(counters: Iterable[Item], meters: Mapping[str, Meter], *, now: datetime) -> list[CounterName]:
    """The settled counters that stay `stale`: the lake's sums do not say how many values of a unique meter are left."""
    stored = _by_name(counters)
    return sorted(
        name
        for name, shards in stored.items()
        if _is_settled(shards, now) and _is_stale(shards) and not _has_level(meters.get(name.meter))
    )


def _is_settled(shards: Sequence[Item], now: datetime) -> bool:
    return all(parse_rfc3339(shard["updated_at"]) <= now - SETTLES for shard in shards)


def _correction(lake: LakeSum, shards: Sequence[Item], meter: Meter | None, now: datetime) -> Correction | None:
    if not shards or not _is_settled(shards, now):
        return None
    counted = exact_sum(Decimal(shard["total"]) for shard in shards), sum(int(shard["count"]) for shard in shards)
    if counted == (lake.total, lake.count) and not (_is_stale(shards) and _has_level(meter)):
        return None
    missing = EXACT.subtract(lake.total, counted[0]), lake.count - counted[1]
    return Correction(
        name=lake.name,
        counted=counted,
        lake=(lake.total, lake.count),
        writes=_writes(shards, lake, missing, meter, now),
    )


def _is_stale(shards: Iterable[Item]) -> bool:
    return any(shard.get("stale") for shard in shards)


def _has_level(meter: Meter | None) -> bool:
    return meter is not None and meter.aggregation in GAUGES


def _writes(
    shards: Sequence[Item], lake: LakeSum, missing: tuple[Decimal, int], meter: Meter | None, now: datetime
) -> tuple[Update, ...]:
    """What is `missing` is added to one shard, which gets the level too; the other shards lose theirs. Each is named by
    its version: who counts meanwhile cancels them all."""
    first, *others = shards
    writes = [_write(first, missing, _level(lake, meter), now)]
    if _has_level(meter):
        nothing = LakeSum(name=lake.name, total=Decimal(0), count=0)
        writes += [_write(shard, (Decimal(0), 0), _level(nothing, meter), now) for shard in others]
    return tuple(writes)


def _write(shard: Item, missing: tuple[Decimal, int], level: Mapping[str, Any], now: datetime) -> Update:
    return Update(
        table=Table.RECORDS,
        key=Key(shard["pk"], shard["sk"]),
        add={"total": missing[0], "count": missing[1], "version": 1},
        set={"updated_at": rfc3339(now), "cause": RECOUNT, "actor": None, **level},
        expected=Version(int(shard["version"])),
    )


def _level(lake: LakeSum, meter: Meter | None) -> dict[str, Any]:
    if meter is not None and meter.aggregation is Aggregation.MAX:
        return {"max": lake.max or Decimal(0), "stale": False}
    if meter is not None and meter.aggregation is Aggregation.LATEST:
        return {"latest": lake.latest or Decimal(0), "latest_at": lake.latest_at or "", "stale": False}
    return {}


def _by_name(counters: Iterable[Item]) -> dict[CounterName, list[Item]]:
    found: dict[CounterName, list[Item]] = {}
    for item in counters:
        start = item["period_start"] if item["scope"] == "period" else f"DAY#{item['period_start'][:10]}"
        found.setdefault(CounterName(item["meter"], start), []).append(item)
    return found
