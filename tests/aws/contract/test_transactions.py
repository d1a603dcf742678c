"""What the flows rely on: conditions, transactions, idempotency, and all of it under eight threads.

Source: DynamoDB Developer Guide, "Amazon DynamoDB Transactions: How it works", and the API reference of
TransactWriteItems.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import ClientError

from nilometer.aws.dynamodb import Store
from nilometer.domain.store.writes import (
    Absent,
    Check,
    Delete,
    Expected,
    Key,
    Present,
    Put,
    Table,
    Update,
    Version,
    Write,
    version_of,
)
from nilometer.errors import Cancelled, Rejected, Unavailable

RECORDS, EVENTS = Table.RECORDS, Table.EVENTS
THREADS = 8
EACH = 25


def item(pk: str, *, sk: str = "X", version: int = 1, **attributes: Any) -> dict[str, Any]:
    return {"pk": pk, "sk": sk, "kind": "test", "version": version, **attributes}


def key(pk: str, sk: str = "X") -> Key:
    return Key(pk, sk)


def persist(store: Store, writes: Sequence[Write], *, attempts: int = 200) -> None:
    """Commits as a flow does whose batch is delivered again: conflicts are tried again, false conditions are not."""
    for _ in range(attempts):
        try:
            store.commit(writes)
        except Cancelled as error:
            if error.condition_failed:
                raise
        except Unavailable:
            pass
        else:
            return
    raise AssertionError("the engine kept answering with conflicts")


def at_once(work: Callable[[int], Any]) -> list[Any]:
    """Calls `work` with 0 to 7 in threads that start together."""
    start = threading.Barrier(THREADS)

    def run(number: int) -> Any:
        start.wait()
        return work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(THREADS)))


@pytest.mark.parametrize(
    ("stored", "expected", "holds"),
    [
        (None, Absent(), True),
        (1, Absent(), False),
        (None, Present(), False),
        (1, Present(), True),
        (1, Version(1), True),
        (2, Version(1), False),
        (None, Version(1), False),
    ],
)
@pytest.mark.parametrize("write", ["put", "update", "delete", "check"])
def test_a_condition_decides_over_every_kind_of_write(
    store: Store, stored: int | None, expected: Expected, *, holds: bool, write: str
) -> None:
    """The same truth for Put, Update, Delete and ConditionCheck."""
    if stored is not None:
        store.commit([Put(table=RECORDS, item=item("a", version=stored))])
    writes: dict[str, Write] = {
        "put": Put(table=RECORDS, item=item("a", version=9), expected=expected),
        "update": Update(table=RECORDS, key=key("a"), set={"version": 9}, expected=expected),
        "delete": Delete(table=RECORDS, key=key("a"), expected=expected),
        "check": Check(table=RECORDS, key=key("a"), expected=expected),
    }
    before = store.get(RECORDS, key("a"), consistent=True)

    if holds:
        store.commit([writes[write]])
    else:
        with pytest.raises(Cancelled):
            store.commit([writes[write]])
        assert store.get(RECORDS, key("a"), consistent=True) == before


def test_a_plain_put_keeps_its_condition(store: Store) -> None:
    """It is written when its condition holds; else it is cancelled with the reason that a transaction gives."""
    store.put(Put(table=RECORDS, item=item("a"), expected=Absent()))
    store.put(Put(table=RECORDS, item=item("a", version=2, n=7), expected=Version(1)))

    for expected in (Absent(), Version(1)):
        with pytest.raises(Cancelled) as raised:
            store.put(Put(table=RECORDS, item=item("a", version=9), expected=expected))
        assert raised.value.reasons == ("ConditionalCheckFailed",)

    assert store.get(RECORDS, key("a"), consistent=True) == item("a", version=2, n=7)
    with pytest.raises(Rejected):
        store.put(Put(table=RECORDS, item=item("b", text="x" * 410_000), expected=Absent()))


def test_both_tables_are_read_in_one_request(store: Store) -> None:
    """Which events are there, and the records with all that they hold."""
    store.commit([Put(table=EVENTS, item=item("e")), Put(table=RECORDS, item=item("r", n=5))])
    before = store.requests

    events, records = store.batch_get_both([key("e"), key("r")], [key("r"), key("e")], consistent=True)

    assert (events, records) == ({key("e")}, {key("r"): item("r", n=5)})
    assert store.requests == before + 1


def test_reasons_stand_in_the_order_of_the_writes(store: Store) -> None:
    """A flow learns from the position which event was a duplicate."""
    store.commit([Put(table=EVENTS, item=item("1")), Put(table=EVENTS, item=item("3"))])

    with pytest.raises(Cancelled) as caught:
        store.commit([Put(table=EVENTS, item=item(str(n)), expected=Absent()) for n in range(5)])

    assert caught.value.reasons == (
        "None",
        "ConditionalCheckFailed",
        "None",
        "ConditionalCheckFailed",
        "None",
    )
    assert caught.value.condition_failed == (1, 3)


def test_a_cancellation_returns_the_items_that_it_was_asked_for(store: Store) -> None:
    """Of each write whose condition is false, as the item is now; nothing of one that is not there."""
    there = item("1", version=2, n=Decimal("0.1"), blob=b"\x00\xff", nested={"list": [1, None]})
    store.commit([Put(table=RECORDS, item=there), Put(table=RECORDS, item=item("2"))])
    writes = [
        Put(table=RECORDS, item=item("1"), expected=Version(1)),
        Check(table=RECORDS, key=key("2"), expected=Version(1)),
        Delete(table=RECORDS, key=key("3"), expected=Version(1)),
    ]

    for returning, found in ((True, {0: there}), (False, {})):
        with pytest.raises(Cancelled) as caught:
            store.commit(writes, returning=returning)
        assert caught.value.reasons == ("ConditionalCheckFailed", "None", "ConditionalCheckFailed")
        assert caught.value.found == found


def test_a_transaction_spans_both_tables_or_neither(store: Store) -> None:
    """The fact and its effect: never one without the other."""
    fact = Put(table=EVENTS, item=item("fact"), expected=Absent())
    effect = Update(table=RECORDS, key=key("counter"), add={"total": Decimal("1.5")})
    store.commit([fact, effect])

    with pytest.raises(Cancelled):
        store.commit([effect, fact])

    counter = store.get(RECORDS, key("counter"), consistent=True)
    assert counter is not None
    assert counter["total"] == Decimal("1.5")


def test_a_hundred_writes_are_one_transaction(store: Store) -> None:
    """The largest that DynamoDB takes; the last write's condition undoes the first ninety-nine."""
    writes: list[Write] = [Put(table=EVENTS, item=item(str(n)), expected=Absent()) for n in range(99)]

    with pytest.raises(Cancelled):
        store.commit([*writes, Check(table=RECORDS, key=key("none"), expected=Present())])
    assert not list(store.scan(EVENTS))

    store.commit([*writes, Check(table=RECORDS, key=key("none"), expected=Absent())])
    assert len(list(store.scan(EVENTS))) == 99


def test_two_writes_on_one_item_are_refused(store: Store) -> None:
    """For good: sending it again cannot help."""
    with pytest.raises(Rejected):
        store.commit([Put(table=RECORDS, item=item("a")), Update(table=RECORDS, key=key("a"), add={"n": 1})])

    assert store.get(RECORDS, key("a"), consistent=True) is None


def test_an_item_over_400_kb_is_refused(store: Store) -> None:
    """With its neighbours, and as Rejected: it will never fit."""
    with pytest.raises(Rejected):
        store.commit([Put(table=RECORDS, item=item("a")), Put(table=RECORDS, item=item("b", large="x" * 410_000))])

    assert store.get(RECORDS, key("a"), consistent=True) is None


def test_numbers_are_exact(store: Store) -> None:
    """Thirty-eight digits, added as decimals: a tenth ten times is one."""
    for _ in range(10):
        store.commit([Update(table=RECORDS, key=key("a"), add={"total": Decimal("0.1")})])
    store.commit([Put(table=RECORDS, item=item("b", n=Decimal("12345678901234567890123456789.012345678")))])

    total, number = store.get(RECORDS, key("a")), store.get(RECORDS, key("b"))
    assert total is not None
    assert number is not None
    assert total["total"] == 1
    assert number["n"] == Decimal("12345678901234567890123456789.012345678")


def test_a_token_applies_a_transaction_once(client: Any, tables: dict[str, str]) -> None:
    """botocore sends one token with all its retries: a lost answer must not count twice."""
    update = {
        "TableName": tables["records"],
        "Key": {"pk": {"S": "a"}, "sk": {"S": "X"}},
        "UpdateExpression": "ADD times :one",
        "ExpressionAttributeValues": {":one": {"N": "1"}},
    }
    for _ in range(3):
        client.transact_write_items(TransactItems=[{"Update": update}], ClientRequestToken="the-same-token")

    assert read(client, tables, "a")["times"] == {"N": "1"}


def test_a_token_belongs_to_its_content(client: Any, tables: dict[str, str]) -> None:
    """The same token with other writes is an error, and the answer says so."""
    put = {"TableName": tables["records"], "Item": {"pk": {"S": "a"}, "sk": {"S": "X"}}}
    client.transact_write_items(TransactItems=[{"Put": put}], ClientRequestToken="one-token-two-contents")

    other = {**put, "Item": {**put["Item"], "n": {"N": "1"}}}  # type: ignore[dict-item]  # a literal of mixed values
    with pytest.raises(ClientError) as caught:
        client.transact_write_items(TransactItems=[{"Put": other}], ClientRequestToken="one-token-two-contents")

    assert caught.value.response["Error"]["Code"] == "IdempotentParameterMismatchException"


def test_a_token_counts_once_in_eight_threads(client: Any, tables: dict[str, str]) -> None:
    """The retry overtakes the first try."""
    update = {
        "TableName": tables["records"],
        "Key": {"pk": {"S": "a"}, "sk": {"S": "X"}},
        "UpdateExpression": "ADD times :one",
        "ExpressionAttributeValues": {":one": {"N": "1"}},
    }

    def send(_: int) -> None:
        try:
            client.transact_write_items(TransactItems=[{"Update": update}], ClientRequestToken="raced-token")
        except ClientError as error:
            code = error.response["Error"]["Code"]
            assert code in {"TransactionInProgressException", "TransactionCanceledException"}, code

    at_once(send)

    assert read(client, tables, "a")["times"] == {"N": "1"}


def test_eight_threads_lose_no_increment(store: Store) -> None:
    """Counters are added to without being read."""

    def add(number: int) -> None:
        for n in range(EACH):
            fact = Put(table=EVENTS, item=item(f"{number}-{n}"), expected=Absent())
            persist(store, [fact, Update(table=RECORDS, key=key("counter"), add={"total": 1})])

    at_once(add)

    counter = store.get(RECORDS, key("counter"), consistent=True)
    assert counter is not None
    assert counter["total"] == THREADS * EACH
    assert len(list(store.scan(EVENTS))) == THREADS * EACH


def test_one_of_eight_wins_a_fact(store: Store) -> None:
    """The same event in eight batches is counted once, and the losers know that they lost."""

    def take(number: int) -> bool:
        fact = Put(table=EVENTS, item=item("evt", winner=number), expected=Absent())
        try:
            persist(store, [fact, Update(table=RECORDS, key=key("counter"), add={"total": 1})])
        except Cancelled:
            return False
        return True

    won = at_once(take)

    counter, fact = store.get(RECORDS, key("counter"), consistent=True), store.get(EVENTS, key("evt"), consistent=True)
    assert won.count(True) == 1
    assert counter is not None
    assert counter["total"] == 1
    assert fact is not None
    assert fact["winner"] == won.index(True)


def test_a_version_guard_loses_no_update(store: Store) -> None:
    """Read, decide, write if nobody wrote since: eight threads, every decision is built on the one before."""

    def append(number: int) -> None:
        for n in range(5):
            for _ in range(500):
                stored = store.get(RECORDS, key("list"), consistent=True)
                seen = stored["seen"] if stored else []
                changed = item("list", version=len(seen) + 1, seen=[*seen, f"{number}-{n}"])
                try:
                    store.commit([Put(table=RECORDS, item=changed, expected=version_of(stored))])
                except Unavailable:
                    continue
                break

    at_once(append)

    stored = store.get(RECORDS, key("list"), consistent=True)
    assert stored is not None
    assert stored["version"] == THREADS * 5
    assert sorted(stored["seen"]) == sorted(f"{number}-{n}" for number in range(THREADS) for n in range(5))


def test_transfers_keep_the_sum(store: Store) -> None:
    """Two items in one transaction, from both sides at once."""
    store.commit([Put(table=RECORDS, item=item(name, amount=100)) for name in "ab"])

    def transfer(number: int) -> None:
        source, target = ("a", "b") if number % 2 else ("b", "a")
        for _ in range(EACH):
            persist(
                store,
                [
                    Update(table=RECORDS, key=key(source), add={"amount": -1}),
                    Update(table=RECORDS, key=key(target), add={"amount": 1}),
                ],
            )

    at_once(transfer)

    amounts = [found["amount"] for found in store.batch_get(RECORDS, [key("a"), key("b")], consistent=True).values()]
    assert amounts == [100, 100]


def test_a_query_pages_through_a_partition(store: Store) -> None:
    """More than a megabyte comes in several pages, in the order of the sort key, without a gap."""
    for n in range(30):
        store.commit([Put(table=RECORDS, item=item("p", sk=f"USAGE#{n:03}", large="x" * 60_000))])
    store.commit([Put(table=RECORDS, item=item("p", sk="WORKSPACE"))])

    found = [stored["sk"] for stored in store.query(RECORDS, "p", prefix="USAGE#")]

    assert found == [f"USAGE#{n:03}" for n in range(30)]
    assert next(store.query(RECORDS, "p", newest_first=True))["sk"] == "WORKSPACE"


def test_deleting_what_is_not_there_is_not_an_error(store: Store) -> None:
    """Clean-up may be repeated."""
    store.commit([Put(table=RECORDS, item=item(str(n))) for n in range(60)])

    for _ in range(2):
        store.delete_all(RECORDS, [key(str(n)) for n in range(60)])

    assert not list(store.scan(RECORDS))


def read(client: Any, tables: dict[str, str], pk: str) -> dict[str, Any]:
    response = client.get_item(
        TableName=tables["records"], Key={"pk": {"S": pk}, "sk": {"S": "X"}}, ConsistentRead=True
    )
    found: dict[str, Any] = response["Item"]
    return found
