"""The limits of a workspace that are in effect, and which of them are its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from nilometer.aws.dynamodb import Store
from nilometer.domain.acts.act import Caller
from nilometer.domain.acts.roles import Permission
from nilometer.domain.limits import own as own_limits
from nilometer.domain.limits.limit import Limit, limit_of
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Item, Table
from nilometer.flows.people.acting import reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Effective:
    """One meter's limit at this moment; `plan` is what the plan alone would include, None without or unlimited."""

    meter: str
    limit: Limit
    plan: Decimal | None


def limits_of(store: Store, caller: Caller, *, now: datetime) -> tuple[list[Effective], list[dict[str, Any]]]:
    """Every limit in effect, by meter, and every override and grant that was said and not taken back."""
    reading(store, caller, Permission.LIMIT_VIEW)
    wanted = [keys.billing(caller.workspace_id), keys.limits(caller.workspace_id)]
    found = store.batch_get(Table.RECORDS, wanted, consistent=True)
    plan, own = (found.get(wanted[0]) or {}).get("limit_rules"), found.get(wanted[1])
    return list(_effective(plan, own, now)), list(own_limits.shown(own))


def _effective(plan: Mapping[str, Any] | None, own: Item | None, now: datetime) -> Iterator[Effective]:
    rules = own_limits.rules(plan, own, now)
    for meter in sorted(rules):
        limit, planned = limit_of(rules, meter), limit_of(plan, meter)
        if limit:
            yield Effective(meter=meter, limit=limit, plan=planned.included if planned else None)
