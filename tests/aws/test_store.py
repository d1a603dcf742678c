"""The store's promises against a real engine."""

from __future__ import annotations

from decimal import Decimal

import pytest

from nilometer.aws.dynamodb import Store
from nilometer.domain.store.writes import Absent, Check, Key, Put, Table, Update, Version
from nilometer.errors import Cancelled

RECORDS = Table.RECORDS


def item(pk: str, **attributes: object) -> dict[str, object]:
    return {"pk": pk, "sk": "X", "kind": "test", "version": 1, **attributes}


def test_a_commit_is_all_or_nothing(store: Store) -> None:
    """One false condition keeps the neighbours out too, and is named by its position."""
    store.commit([Put(table=RECORDS, item=item("a"))])

    with pytest.raises(Cancelled) as caught:
        store.commit([Put(table=RECORDS, item=item("b")), Put(table=RECORDS, item=item("a"), expected=Absent())])

    assert caught.value.condition_failed == (1,)
    assert store.get(RECORDS, Key("b", "X")) is None


def test_items_come_back_as_they_went(store: Store) -> None:
    """Every type that a record may hold survives the table."""
    stored = item("a", n=3, d=Decimal("0.000000001"), b=True, x=None, raw=b"\x00\xff", many=[1, {"k": "v"}], tags={"p"})

    store.commit([Put(table=RECORDS, item=stored)])

    assert store.get(RECORDS, Key("a", "X")) == stored


def test_an_update_adds_sets_and_sets_once(store: Store) -> None:
    """Counters need no read; a first value stays."""
    key = Key("a", "X")
    for total in (1, 2):
        store.commit(
            [Update(table=RECORDS, key=key, add={"total": total}, set={"last": total}, set_once={"first": total})]
        )

    assert store.get(RECORDS, key) == {"pk": "a", "sk": "X", "total": 3, "last": 2, "first": 1}


def test_a_version_guards_against_a_slow_twin(store: Store) -> None:
    """Who decided on an older item does not write."""
    store.commit([Put(table=RECORDS, item=item("a", version=2))])

    with pytest.raises(Cancelled):
        store.commit([Check(table=RECORDS, key=Key("a", "X"), expected=Version(1))])


def test_a_batch_get_returns_what_exists_once(store: Store) -> None:
    """More keys than one request takes, with repetitions and gaps."""
    for n in range(0, 150, 50):
        store.commit([Put(table=RECORDS, item=item(f"{i}")) for i in range(n, n + 50)])

    found = store.batch_get(RECORDS, [Key(f"{i}", "X") for i in [*range(200), *range(10)]])

    assert sorted(int(key.pk) for key in found) == list(range(150))


def test_an_index_answers_in_its_own_order(store: Store) -> None:
    """Only items that carry its keys are in it, and only those of the prefix asked for."""
    store.commit(
        [
            Put(table=RECORDS, item=item("a", gsi1pk="USER#u", gsi1sk="SESSION#2")),
            Put(table=RECORDS, item=item("b", gsi1pk="USER#u", gsi1sk="SESSION#1")),
            Put(table=RECORDS, item=item("c", gsi1pk="USER#u", gsi1sk="WORKSPACE#1")),
            Put(table=RECORDS, item=item("d")),
        ]
    )

    assert [found["pk"] for found in store.query_index("USER#u", prefix="SESSION#")] == ["b", "a"]
    assert [found["pk"] for found in store.query_index("USER#u", newest_first=True)] == ["c", "a", "b"]
    assert [found["pk"] for found in store.query_index("USER#u", until="SESSION#2")] == ["b", "a"]
