"""Stripe's objects of one customer or workspace: by the partitions that their keys name, whatever else is stored.

With a customer lie those of its objects that never change their customer (`OWNED`); all others lie alone, by their ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from nilometer.aws.dynamodb import Store
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Item, Table
from nilometer.domain.stripe.event import OWN_ACCOUNT
from nilometer.flows.billing.reading import explain_object, explain_register


def registers_of_customer(store: Store, customer_id: str, *, account: str = OWN_ACCOUNT) -> Iterator[Item]:
    """Its own register and those of the objects that lie with it, in live and in test mode. Two queries."""
    for livemode in (True, False):
        yield from _registers(store, keys.customer(account, livemode, customer_id))


def registers_of_workspace(store: Store, workspace_id: str) -> Iterator[Item]:
    """The same of its customers: a query each. None of a workspace that Stripe has not reported."""
    record = store.get(Table.RECORDS, keys.billing(workspace_id), consistent=True) or {}
    for name in record.get("customers", ()):
        account, mode, customer_id = str(name).split("/", 2)
        yield from _registers(store, keys.customer(account, mode == "live", customer_id))


def explained(
    store: Store, object_id: str, registers: Iterable[Item] | None = None, *, account: str | None = None
) -> list[dict[str, Any]]:
    """As `explain_object`, of the object with this id in `account`, else our own: a customer, what is not stored with
    its customer, or one of `registers`. What is none of these, and no `registers` or `account` was given, by a scan."""
    known = (*_by_own_id(store, object_id, account or OWN_ACCOUNT), *(registers or ()))
    found = [item for item in known if _is(item, object_id)]
    if not found and registers is None and account is None:
        return list(explain_object(store, object_id))
    return [explain_register(store, item, object_id) for item in _each_once(found)]


def _by_own_id(store: Store, object_id: str, account: str) -> Iterator[Item]:
    for livemode in (True, False):
        yield from _registers(store, keys.register(account, livemode, "", object_id, None).pk)
    yield from registers_of_customer(store, object_id, account=account)


def _each_once(items: Iterable[Item]) -> Iterable[Item]:
    return {(item["pk"], item["sk"]): item for item in items}.values()


def _registers(store: Store, partition: str) -> Iterator[Item]:
    return (item for item in store.query(Table.RECORDS, partition, consistent=True) if item["kind"] == "register")


def _is(register: Item, object_id: str) -> bool:
    """A summary of entitlements has the id of its customer."""
    return str(register.get("object_id", register.get("customer_id"))) == object_id
