"""What the console reads of workspaces: a page of the list, and of one workspace all that its role may see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from heapq import merge
from itertools import groupby, islice, takewhile
from operator import attrgetter, itemgetter
from typing import Any

from nilometer.aws.dynamodb import Store
from nilometer.console.http.visitor import Visitor
from nilometer.domain.acts.roles import Permission
from nilometer.domain.acts.security import SecurityEntry
from nilometer.domain.people.flag import Evaluation
from nilometer.domain.people.membership import Membership
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Item, Key, Table
from nilometer.domain.stripe.registers.explain import object_of
from nilometer.domain.usage.meter import meter_of
from nilometer.domain.usage.total import used
from nilometer.errors import Refused
from nilometer.flows.billing.reading import explain_register, show_billing
from nilometer.flows.billing.summary import lines
from nilometer.flows.notices import notifications
from nilometer.flows.people import flags, members, security
from nilometer.flows.recovery.overview import WorkspaceUsage, usage_of
from nilometer.flows.usage.counters import days_since

PAGE = 50
DAYS = 400  # of a chart: a year, and what is compared with its beginning
_READERS = 10  # members whose notifications are shown
_NEWEST = 20
_KINDS = ("workspace", "billing")
_pk = itemgetter("pk")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceRow:
    """One line of the list; `workspace_id` is None for a customer that no workspace is linked to."""

    workspace_id: str | None
    name: str | None
    billing: Item | None
    deleted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspacesPage:
    """`after` is the cursor of the page that follows; None at the end."""

    rows: Sequence[WorkspaceRow]
    after: str | None


def listed(store: Store, cursor: str | None) -> WorkspacesPage:
    """Workspaces in the order of their ids, then customers without one; sorted within the page.

    In the order of the table, which is none, while the index of lists may lack some.
    """
    start = _key(cursor)
    if store.has_lists():
        return _page(_listed(store, start.pk if start else ""))
    items = store.walk(Table.RECORDS, _KINDS, after=start)
    return _page((pk, list(group)) for pk, group in groupby(items, key=_pk) if start is None or pk != start.pk)


def _page(found: Iterator[tuple[str, list[Item]]]) -> WorkspacesPage:
    """Of partitions. One whose first item was seen is passed over, so the cursor is its last."""
    shown = list(islice(found, PAGE))
    more = len(shown) == PAGE and next(found, None)
    after = f"{shown[-1][0]}\n{shown[-1][1][-1]['sk']}" if more else None
    return WorkspacesPage(rows=sorted((_row(items) for _, items in shown), key=_by_id), after=after)


def _listed(store: Store, after: str) -> Iterator[tuple[str, list[Item]]]:
    """The items of each partition past `after`, as many as a page shows at a time."""
    partitions = (list(group) for _, group in groupby(_keys(store, after), key=attrgetter("pk")))
    while some := list(islice(partitions, PAGE)):
        found = store.batch_get(Table.RECORDS, [key for group in some for key in group])
        for group in some:
            if items := [found[key] for key in group if key in found]:
                yield group[0].pk, list[Item](items)


def _keys(store: Store, after: str) -> Iterator[Key]:
    """Of the records past a partition: those of workspaces, then those of customers without one."""
    first = keys.workspace("").pk
    if not after or after >= first:
        yield from merge(*(store.query_list(kind, after=max(after, first)) for kind in _KINDS))
        after = ""
    yield from takewhile(lambda key: key.pk < first, store.query_list("billing", after=after))


def _by_id(row: WorkspaceRow) -> tuple[bool, str]:
    """Customers without a workspace come last."""
    return row.workspace_id is None, row.workspace_id or ""


def _key(cursor: str | None) -> Key | None:
    """None for what is no cursor: the list begins anew."""
    pk, found, sk = (cursor or "").partition("\n")
    return Key(pk, sk) if found and pk and sk else None


def _row(items: Sequence[Item]) -> WorkspaceRow:
    by_kind = {item["kind"]: item for item in items}
    workspace, billing = by_kind.get("workspace"), by_kind.get("billing")
    return WorkspaceRow(
        workspace_id=(workspace or billing or {}).get("workspace_id") or None,
        name=(workspace or {}).get("name"),
        billing=billing,
        deleted=bool(workspace and workspace.get("deleted_at")),
    )


def found(store: Store, workspace_id: str) -> WorkspaceRow | None:
    """One workspace by its id; None when nothing is known of it."""
    stored = store.batch_get(Table.RECORDS, [keys.workspace(workspace_id), keys.billing(workspace_id)])
    return _row(list(stored.values())) if stored else None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceDetail:
    """What is None or empty is not known, or not for this role."""

    workspace_id: str
    record: Item | None
    usage: WorkspaceUsage
    days: Mapping[str, Mapping[str, Any]]
    billing: Mapping[str, Any] | None = None
    lines: Sequence[tuple[str, str]] = ()
    reasons: Sequence[Mapping[str, Any]] = ()
    subscriptions: int = 0
    invoices: Sequence[Mapping[str, Any]] = ()
    members: Sequence[Membership] = ()
    flags: Sequence[Evaluation] = ()
    notifications: Sequence[Item] = ()
    security: Sequence[SecurityEntry] = field(default=())


def detail(store: Store, workspace_id: str, who: Visitor, *, now: datetime) -> WorkspaceDetail | None:
    """None when nothing at all is known of the workspace."""
    known = store.batch_get(Table.RECORDS, [keys.workspace(workspace_id), keys.billing(workspace_id)], consistent=True)
    usage = usage_of(store, workspace_id, now=now)
    if not known and not usage.meters and not usage.waiting:
        return None
    record = known.get(keys.workspace(workspace_id))
    return WorkspaceDetail(
        workspace_id=workspace_id,
        record=record,
        usage=usage,
        days=dict(days(store, workspace_id, since=now.date() - timedelta(days=DAYS - 1))),
        **_money(store, workspace_id, who, known.get(keys.billing(workspace_id)), now),
        **(_people(store, workspace_id, who, now) if record else {}),
    )


def _money(store: Store, workspace_id: str, who: Visitor, record: Item | None, now: datetime) -> Mapping[str, Any]:
    if record is None or not who.may(Permission.BILLING_VIEW):
        return {}
    told = show_billing(store, workspace_id, now=now) or {}
    partitions = [keys.customer(account, mode == "live", customer) for account, mode, customer in _customers(record)]
    registers = [item for pk in partitions for item in store.query(Table.RECORDS, pk)]
    subscriptions = [item for item in registers if item.get("object_type") == "subscription"]
    invoices = [object_of(item) for item in registers if item.get("object_type") == "invoice"]
    return {
        "billing": told,
        "lines": [(label, text) for label, text in lines(told) if text],
        "reasons": [explain_register(store, item, str(item["object_id"])) for item in subscriptions[:_NEWEST]],
        "subscriptions": len(subscriptions),
        "invoices": sorted(invoices, key=lambda one: one.get("created") or 0, reverse=True),
    }


def _customers(record: Item) -> Iterator[tuple[str, str, str]]:
    for name in record.get("customers", ()):
        account, mode, customer = name.split("/", 2)
        yield account, mode, customer


def _people(store: Store, workspace_id: str, who: Visitor, now: datetime) -> Mapping[str, Any]:
    """Nothing of a deleted workspace."""
    caller = who.in_workspace(workspace_id)
    try:
        people = members.members(store, caller) if who.may(Permission.MEMBER_VIEW) else []
        return {
            "members": people,
            "flags": flags.explain_all(store, caller) if who.may(Permission.FLAG_VIEW) else [],
            "security": security.entries(store, caller, now=now) if who.may(Permission.SECURITY_VIEW) else [],
            "notifications": _notices(store, workspace_id, who, people, now)
            if who.may(Permission.SECURITY_VIEW)
            else [],
        }
    except Refused:
        return {}


def _notices(store: Store, workspace_id: str, who: Visitor, people: Sequence[Membership], now: datetime) -> list[Item]:
    """The newest of its first members: notifications are each person's own, so only an Admin sees them here."""
    caller = who.in_workspace(workspace_id)
    shown = [
        item
        for one in people[:_READERS]
        for item in notifications.shown(store, caller, now=now, user_id=one.user_id, limit=_NEWEST)
    ]
    return sorted(shown, key=lambda item: str(item["sk"]), reverse=True)[:_NEWEST]


def days(store: Store, workspace_id: str, *, since: date) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """By meter: its unit, and what was used on each UTC day from `since` on, from the counters."""
    of_days = list(days_since(store, workspace_id, since))
    stored = store.batch_get(Table.RECORDS, {keys.meter(str(shard["meter"])) for shard in of_days})
    meters = {item["meter"]: meter_of(item) for item in stored.values()}
    for slug, group in groupby(of_days, key=lambda shard: str(shard["meter"])):
        if slug in meters:
            by_day = groupby(group, key=lambda shard: _parts(shard)[3])
            counted = {day: used(meters[slug].aggregation, one) for day, one in by_day}
            yield slug, {"unit": meters[slug].unit, "days": counted}


def _parts(shard: Item) -> list[str]:
    return str(shard["sk"]).split("#")
