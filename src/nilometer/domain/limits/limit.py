"""Limits of a meter: how much is included, where it stops, and in which state a usage is.

ok ──▶ warning ──▶ soft_exceeded ──▶ grace ──▶ blocked
     first           soft, else        hard      hard and the
     threshold       included                    grace is over
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from nilometer.domain.store import keys
from nilometer.domain.store.times import parse_rfc3339, rfc3339
from nilometer.domain.store.writes import Absent, Item, Put, Table, new_item

THRESHOLDS = (Decimal(50), Decimal(80), Decimal(100))  # percent of what binds
HARD = "hard"
GRACE = re.compile(r"([0-9]{1,6}) ?(h|d)?")


class State(StrEnum):
    """In rising order up to `BLOCKED`. With `UNKNOWN` the meter's `fail_open` decides."""

    OK = "ok"
    WARNING = "warning"
    SOFT_EXCEEDED = "soft_exceeded"
    GRACE = "grace"
    BLOCKED = "blocked"
    UNLIMITED = "unlimited"
    UNKNOWN = "unknown"  # the limit could not be read


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """`None` is no limit. `grace` is how long work goes on once `hard` is exceeded."""

    included: Decimal | None
    soft: Decimal | None
    hard: Decimal | None
    grace: timedelta = timedelta(0)
    thresholds: tuple[Decimal, ...] = THRESHOLDS
    source: str = "plan"
    version: str = "0"

    @property
    def binding(self) -> Decimal | None:
        """What percents are of: what is included or the hard limit, whichever comes first; `None` without either."""
        return min((one for one in (self.included, self.hard) if one is not None), default=None)

    def crossed(self, used: Decimal) -> list[str]:
        """Thresholds that `used` has reached: percents of what binds, and `hard`."""
        reached: list[str] = []
        if (binding := self.binding) is not None:
            reached = [format(part, "f") for part in self.thresholds if used * 100 >= part * binding]
        return [*reached, HARD] if self.hard is not None and used >= self.hard else reached


def limit_of(rules: Mapping[str, Mapping[str, Any]] | None, meter: str) -> Limit | None:
    """From `limit_rules` of a billing record. What cannot be read in a rule is as if it were not there."""
    rule = (rules or {}).get(meter)
    if rule is None:
        return None
    included = _amount(rule.get("included"))
    stops = rule.get("overage") == "block"
    return Limit(
        included=included,
        soft=_amount(rule["soft"]) if "soft" in rule else included,
        hard=_amount(rule["hard"]) if "hard" in rule else (included if stops else None),
        grace=_grace(rule.get("grace")),
        thresholds=_thresholds(rule.get("thresholds")),
        source=str(rule.get("source", "plan")),
        version=str(rule.get("version", "0")),
    )


def state_of(limit: Limit | None, used: Decimal, *, exceeded_at: datetime | None, now: datetime) -> State:
    """`exceeded_at` is when `hard` was reached, as far as that is known yet."""
    if limit is None or (limit.included is None and limit.soft is None and limit.hard is None):
        return State.UNLIMITED
    if limit.hard is not None and used >= limit.hard:
        return State.GRACE if limit.grace and now < (exceeded_at or now) + limit.grace else State.BLOCKED
    if limit.soft is not None and used > limit.soft:
        return State.SOFT_EXCEEDED
    return State.WARNING if _warns(limit, used) else State.OK


def alert(
    workspace_id: str,
    meter: str,
    threshold: str,
    limit: Limit,
    *,
    used: Decimal,
    period: tuple[str, str],
    now: datetime,
    cause: str | None = None,
) -> Put:
    """Once a (workspace, meter, period, threshold, limit version): its insertion is the notification.

    `cause` is the event of the change that was looked at. A hard limit with a grace has when that ends.
    """
    start, end = period
    grace = {"grace_ends_at": rfc3339(now + limit.grace)} if threshold == HARD and limit.grace else {}
    key = keys.alert(workspace_id, meter, start, threshold, limit.version)
    item = new_item(
        key,
        "alert",
        workspace_id=workspace_id,
        meter=meter,
        threshold=threshold,
        limit_version=limit.version,
        limit=limit.hard if threshold == HARD else limit.binding,
        used=used,
        period_start=start,
        period_end=end,
        crossed_at=rfc3339(now),
        **grace,
        updated_at=rfc3339(now),
        cause=cause,
        actor=None,
    )
    return Put(table=Table.RECORDS, item=item, expected=Absent())


def crossed_at(alert: Item | None) -> datetime | None:
    """When the threshold of a stored alert was reached first; None without an alert."""
    return parse_rfc3339(alert["crossed_at"]) if alert else None


def _warns(limit: Limit, used: Decimal) -> bool:
    """From the last threshold below 100 %; without one, when all of what binds is used."""
    if limit.binding is None:
        return False
    parts = [part for part in limit.thresholds if part < 100]
    return used * 100 >= (max(parts) if parts else Decimal(100)) * limit.binding


def _amount(value: Any) -> Decimal | None:
    return Decimal(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else None


def _grace(value: Any) -> timedelta:
    """`72`, `"72h"` or `"3d"`."""
    match = GRACE.fullmatch(str(value)) if value is not None else None
    if match is None:
        return timedelta(0)
    number = int(match[1])
    return timedelta(days=number) if match[2] == "d" else timedelta(hours=number)


def _thresholds(value: Any) -> tuple[Decimal, ...]:
    if not isinstance(value, list) or not value:
        return THRESHOLDS
    parts = {part for one in value if (part := _amount(one)) is not None and part > 0}
    return tuple(sorted(parts)) or THRESHOLDS
