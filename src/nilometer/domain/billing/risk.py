"""Reasons to doubt a workspace's payments: disputes, early fraud warnings, refunds. A flag; nothing is blocked.

A dispute or a warning names a charge, and the charge its customer. Known charge: the dispute is decided with the
customer's group. Not yet: what it says waits beside the charge, on condition that the charge is as read; the event that
names the charge's customer takes it along, on condition that nothing else began to wait. Whichever commits second sees
the first, so the order does not matter.

Source: https://docs.stripe.com/api/disputes/object, https://docs.stripe.com/api/radar/early_fraud_warnings/object.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from nilometer.domain.billing.group import CHARGE, Group, Known, Merged, View
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Absent, Check, Delete, Item, Key, Put, Table, Write, version_of
from nilometer.domain.stripe.registers.resolve import Resolution

RISKS = ("dispute", "radar.early_fraud_warning", CHARGE)
NAMED = 10  # the newest objects that a flag names
COUNTED = 20  # lost disputes, warnings and refunded charges that a flag counts, of each
KEPT = 2 * COUNTED  # of each sign that a customer's part remembers: the newest, and some in place of refunds that fail
_HARMLESS = {"won", "warning_closed", "prevented"}


def risk(views: Iterable[tuple[str, View]]) -> dict[str, Any] | None:
    """`flag` is the gravest: `dispute` (open or lost), `warning`, `refund`; None when there is nothing.

    A dispute with a status that we do not know counts as open. Open ones are all counted, of the others `COUNTED`.
    """
    counted = [(id_, view, what) for id_, view in views if (what := _what(view))]
    if not counted:
        return None
    found = [what for _, _, what in counted]
    newest = sorted(counted, key=lambda one: (int(one[1].get("created") or 0), one[0]), reverse=True)
    return {
        "flag": _flag(found),
        "open_disputes": found.count("open"),
        "lost_disputes": min(found.count("lost"), COUNTED),
        "warnings": min(found.count("warning"), COUNTED),
        "refunded_charges": min(found.count("refund"), COUNTED),
        "objects": [id_ for id_, _, _ in newest[:NAMED]],
    }


def surplus(views: Iterable[tuple[str, View]]) -> Iterator[str]:
    """Names of a customer's views that a flag can do without: all but the newest of each sign and of harmless disputes.

    What is told does not depend on what went before: a dispute that ended and a warning stay, and of refunded charges
    more are kept than are counted, for a refund may fail.
    """
    found: dict[str | None, list[tuple[int, str]]] = {}
    for id_, view in views:
        if view["object"] in RISKS:
            found.setdefault(_what(view), []).append((int(view.get("created") or 0), id_))
    for what, aged in found.items():
        if what != "open" and len(aged) > KEPT:
            yield from (id_ for _, id_ in sorted(aged, reverse=True)[KEPT:])


def _what(view: View) -> str | None:
    match view["object"], view.get("status"):
        case ("dispute", "lost"):
            return "lost"
        case ("dispute", status):
            return None if status in _HARMLESS else "open"
        case ("radar.early_fraud_warning", _):
            return "warning"
        case _:
            return "refund"


def _flag(found: Iterable[str]) -> str:
    kinds = set(found)
    return "dispute" if kinds & {"open", "lost"} else "warning" if "warning" in kinds else "refund"


def waiting_keys(group: Group) -> set[Key]:
    """Where disputes and warnings wait for the customer of a charge."""
    own = {key for key, found in group.elements.items() if found[0].object_type == CHARGE}
    return {keys.risk_waiting(charge) for charge in own | group.charges}


def adopting(registers: Sequence[Merged]) -> list[Key]:
    """Where something may wait for the customer that a charge of this group names for the first time."""
    return [
        keys.risk_waiting(one.key)
        for one in registers
        if one.object_type == CHARGE and _found_owner(one.resolution_before, one.resolution)
    ]


def adopted_views(known: Known, adopted: Sequence[Key]) -> dict[str, View]:
    """What waited under the keys of `adopting`, by object id."""
    return {name: view for key in adopted for name, view in _waiting_views(known[key]).items()}


def adoptions(known: Known, adopted: Sequence[Key]) -> Iterator[Write]:
    """What waited is taken along by the record, so it waits no more."""
    for key in adopted:
        stored = known[key]
        if stored:
            yield Delete(table=Table.RECORDS, key=key, expected=version_of(stored))
        else:  # and must still be nothing: another worker that read no charge may be about to create it
            yield Check(table=Table.RECORDS, key=key, expected=Absent())


def waits(group: Group, known: Known, views: Mapping[str, View | None]) -> Iterator[Write]:
    """Beside the charge, as long as nobody knows its customer; the group is of one object, so of one charge."""
    found = {name: view for name, view in views.items() if view is not None}
    for charge in group.charges if found else ():
        stored = known[keys.risk_waiting(charge)]
        yield Put(table=Table.RECORDS, item=_waiting_item(group, charge, stored, found), expected=version_of(stored))
        yield Check(table=Table.RECORDS, key=charge, expected=version_of(known[charge]))


def _found_owner(before: Resolution | None, after: Resolution | None) -> bool:
    """Whether a charge's customer was not known before and is now."""
    known, told = (bool(one and one.state.get("customer")) for one in (before, after))
    return told and not known


def _waiting_views(waiting: Item | None) -> dict[str, View]:
    return dict((waiting or {}).get("views", {}))


def _waiting_item(group: Group, charge: Key, stored: Item | None, views: Mapping[str, View]) -> Item:
    key = keys.risk_waiting(charge)
    return {
        "pk": key.pk,
        "sk": key.sk,
        "kind": "waiting_risk",
        "version": int(stored["version"]) + 1 if stored else 1,
        "updated_at": group.updated_at,
        "cause": group.cause,
        "actor": None,
        "account": group.scope.account,
        "livemode": group.scope.livemode,
        "views": {**_waiting_views(stored), **views},
    }
