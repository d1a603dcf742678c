"""What was restored beside a stack runs in it again: the drill, on real tables."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.support.flows.operations import NOW
from tests.support.flows.usage import cloud, handle, outcomes, prepare, totals
from tests.support.stores.engine import new_store

from nilometer import CreateWorkspace, OpenSession, access, issue, perform, service
from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.store import keys
from nilometer.domain.store.times import rfc3339
from nilometer.domain.store.writes import Key, Put, Table, new_item
from nilometer.flows.recovery.rebuild import TableRestored, restore


@pytest.fixture
def lost(store: Store, objects: Objects) -> Store:
    """What point-in-time recovery made of a stack with usage and a session."""
    prepare(store)
    handle(store, objects, *(cloud(f"e{n}") for n in range(7)))
    return store


@pytest.fixture
def target(dynamodb: Any) -> Store:
    """The empty tables of a stack that was deployed beside it."""
    return new_store(dynamodb)


def contents(store: Store) -> dict[Table, dict[Any, Any]]:
    return {table: {(one["pk"], one["sk"]): one for one in store.scan(table)} for table in Table}


def put_counts(reports: list[TableRestored]) -> dict[Table, tuple[int, int, int]]:
    return {one.table: (one.put, one.equal, one.different) for one in reports}


def test_a_restored_stack_goes_on_where_it_was(lost: Store, target: Store, objects: Objects) -> None:
    """Every item is what it was; an event that comes again is a duplicate, and a new one counts."""
    reports = list(restore(lost, target, now=NOW))

    assert contents(target) == contents(lost)
    assert all(one.found == one.put for one in reports)
    assert outcomes(handle(target, objects, cloud("e3"), cloud("new"))) == ["duplicate", "accepted"]
    assert totals(target)["api_calls"] == 80


def test_tokens_work_again(lost: Store, target: Store) -> None:
    """Their hashes are in the tables, unlike in the lake."""
    accounts = service("ws_people", "accounts")
    perform(lost, accounts, CreateWorkspace(name="People", admin="user_ada"), now=NOW)
    session = issue(lost, accounts, OpenSession(user_id="user_ada"), now=NOW)

    list(restore(lost, target, now=NOW))

    assert access.authenticate(target, session.token, now=NOW) == access.authenticate(lost, session.token, now=NOW)


def test_what_the_stack_wrote_since_is_never_replaced(lost: Store, target: Store) -> None:
    """A second run puts nothing, and says what differs."""
    first = next(lost.scan(Table.RECORDS))
    newer = {**first, "version": 99}
    target.commit([Put(table=Table.RECORDS, item=newer)])

    list(restore(lost, target, now=NOW))
    again = put_counts(list(restore(lost, target, now=NOW)))

    assert target.batch_get(Table.RECORDS, [key_of(first)])[key_of(first)] == newer
    assert (again[Table.RECORDS][0], again[Table.RECORDS][2], again[Table.EVENTS][0]) == (0, 1, 0)


def test_lists_find_all_that_was_copied(lost: Store, target: Store) -> None:
    """A record of an earlier version is copied as it is, so lists read the table, whatever either stack knew."""
    whole = new_item(keys.LISTS, "lists_pass", whole_at=rfc3339(NOW))
    for store in (lost, target):
        store.commit([Put(table=Table.EVENTS, item=whole)])
    lost.commit([Put(table=Table.RECORDS, item=new_item(keys.workspace("old"), "workspace", workspace_id="old"))])

    list(restore(lost, target, now=NOW, dry_run=True))
    assert target.has_lists()
    list(restore(lost, target, now=NOW))

    assert "old" in {item["workspace_id"] for item in target.every("workspace")}


def key_of(item: Any) -> Any:
    return Key(item["pk"], item["sk"])


def test_a_dry_run_counts_and_writes_nothing(lost: Store, target: Store) -> None:
    """The numbers are those of the run that would follow."""
    said = list(restore(lost, target, now=NOW, dry_run=True))

    assert contents(target) == {table: {} for table in Table}
    assert said == list(restore(lost, target, now=NOW))


def test_what_has_expired_stays_away(lost: Store, target: Store) -> None:
    """DynamoDB would remove it, and each removal would be a row of the audit."""
    reports = {one.table: one for one in restore(lost, target, now=NOW + timedelta(days=400))}

    assert reports[Table.EVENTS].expired == reports[Table.EVENTS].found
    assert contents(target)[Table.EVENTS] == {}
