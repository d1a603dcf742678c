"""The index of lists on every engine: keys alone, of what has the attribute, by partition; and what the table lacks."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import pytest
from tests.support.stores.engine import new_store

from nilometer.aws.dynamodb import Store
from nilometer.domain.store import keys
from nilometer.domain.store.keys import LISTED
from nilometer.domain.store.lists import listed_now
from nilometer.domain.store.writes import Absent, Delete, Item, Key, Put, Table, Update, Version, new_item
from nilometer.errors import Cancelled

RECORDS = Table.RECORDS


@pytest.fixture
def store(client: Any) -> Store:
    return new_store(client)


def record(name: str, kind: str = "workspace", **attributes: Any) -> Item:
    return new_item(Key(f"WORKSPACE#{name}", kind.upper()), kind, workspace_id=name, **attributes)


def listed(name: str, kind: str = "workspace") -> Item:
    return record(name, kind, gsi2pk=kind)


def whole(store: Store) -> None:
    """A pass over the table has been whole."""
    item = new_item(keys.LISTS, "lists_pass", whole_at="2026-11-30T00:00:00.000Z")
    store.commit([Put(table=Table.EVENTS, item=item)])


def names(found: Any) -> list[str]:
    return [key.pk.removeprefix("WORKSPACE#") for key in found]


def test_keys_of_one_kind_in_the_order_of_their_partitions(store: Store) -> None:
    """Of what has the attribute; on from any partition, whether it exists or not."""
    store.put_all(RECORDS, [listed(name) for name in "cab"] + [listed("a", "billing"), record("d")])

    assert list(store.query_list("workspace")) == [Key(f"WORKSPACE#{name}", "WORKSPACE") for name in "abc"]
    assert names(store.query_list("billing")) == ["a"]
    assert names(store.query_list("workspace", after="WORKSPACE#a")) == ["b", "c"]
    assert names(store.query_list("workspace", after="WORKSPACE#aa")) == ["b", "c"]
    assert names(store.query_list("workspace", after="WORKSPACE#c")) == []


def test_the_index_follows_the_item(store: Store) -> None:
    """An update leaves it there, what loses the attribute or goes is gone."""
    store.put_all(RECORDS, [listed("a"), listed("b")])
    key = Key("WORKSPACE#a", "WORKSPACE")

    store.commit([Update(table=RECORDS, key=key, add={"version": 1}, set={"name": "Acme"})])
    assert names(store.query_list("workspace")) == ["a", "b"]

    store.put_all(RECORDS, [record("b")])
    assert names(store.query_list("workspace")) == ["a"]

    store.commit([Delete(table=RECORDS, key=key)])
    assert names(store.query_list("workspace")) == []


def test_an_item_of_before_comes_in_by_an_update_that_loses_races(store: Store) -> None:
    """On its version, which rises, so that whoever read it before writes nothing over it either."""
    store.put_all(RECORDS, [record("a", cause="evt_1")])
    read = store.get(RECORDS, Key("WORKSPACE#a", "WORKSPACE"), consistent=True)
    assert read
    store.commit([listed_now(read)])

    assert names(store.query_list("workspace")) == ["a"]
    late = {**read, "name": "Late"}
    for write in (listed_now(read), Put(table=RECORDS, item=late, expected=Version(1))):
        with pytest.raises(Cancelled):
            store.commit([write])
    with pytest.raises(Cancelled):  # what is gone does not come back
        store.commit([listed_now(record("gone"))])
    store.put(Put(table=RECORDS, item=record("new"), expected=Absent()))


@pytest.mark.parametrize("count", [0, 3, 230])
def test_every_record_of_a_kind(store: Store, count: int) -> None:
    """More than one request reads, and the same as a scan finds."""
    store.put_all(RECORDS, [listed(f"{n:03}") for n in range(count)] + [listed(f"{n:03}", "billing") for n in range(9)])
    scanned = list(store.every("workspace"))
    whole(store)
    store.requests = 0

    found = list(store.every("workspace"))

    assert [item["workspace_id"] for item in found] == [f"{n:03}" for n in range(count)]
    assert found == sorted(scanned, key=itemgetter("pk"))
    assert store.requests <= 3 + count // 100


def test_what_the_index_lacks(store: Store) -> None:
    """Of the kinds that are asked for, page by page over the whole table, on from an item."""
    store.put_all(RECORDS, [record("a"), listed("b"), record("c", "billing"), record("d", "limits")])

    pages = list(store.unlisted(RECORDS, LISTED))
    found = sorted(key for page, _ in pages for key in page)

    assert found == [Key("WORKSPACE#a", "WORKSPACE"), Key("WORKSPACE#c", "BILLING")]
    assert [last for _, last in pages][-1] is None
    for last in found:
        rest = [key for page, _ in store.unlisted(RECORDS, LISTED, after=last) for key in page]
        assert set(rest) < set(found)
