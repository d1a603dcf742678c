"""A workspace's own limits: said by operators and services, read by its members."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from nilometer.aws.dynamodb import Store
from nilometer.domain.acts.act import Act, Caller
from nilometer.domain.acts.origin import of_act
from nilometer.domain.acts.roles import Permission
from nilometer.domain.limits import own as own_limits
from nilometer.domain.limits.limit import Limit, limit_of
from nilometer.domain.limits.own import OwnLimit
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Item, Table, Write
from nilometer.flows.people.acting import Stored, new_act, perform, reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Effective:
    """One meter's limit at this moment; `plan` is what the plan alone would include, None without or unlimited."""

    meter: str
    limit: Limit
    plan: Decimal | None


def override(
    store: Store,
    caller: Caller,
    meter: str,
    rule: Mapping[str, Any] | None,
    *,
    now: datetime,
    ends_at: datetime | None = None,
) -> None:
    """The meter's limit in the caller's workspace, in the fields of `rule`, whatever the plan says; `None` takes it
    back. `Refused` without the permission, which no role has."""
    _say(store, caller, own_limits.new_override(caller.workspace_id, meter, rule, ends_at=ends_at), now)


def grant(
    store: Store,
    caller: Caller,
    meter: str,
    grant_id: str,
    amount: str | int | None,
    *,
    now: datetime,
    ends_at: datetime | None = None,
) -> None:
    """`amount` more of the meter under an id of its own: the same again changes nothing; `None` takes it back."""
    _say(store, caller, own_limits.new_grant(caller.workspace_id, meter, grant_id, amount, ends_at=ends_at), now)


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


def _say(store: Store, caller: Caller, said: OwnLimit, now: datetime) -> None:
    def decide(act: Act, stored: Stored) -> tuple[Sequence[Write], None]:
        act.caller.require(Permission.LIMIT_MANAGE)
        put = own_limits.change(stored.get(said.key), said, origin=of_act(act), now=now)
        return [put] if put else [], None

    perform(store, new_act(caller, now), [said.key], decide)
