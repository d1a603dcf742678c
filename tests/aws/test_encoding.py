"""What goes over the wire is what botocore itself would have sent, and what comes is what botocore would have read."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config

from nilometer.aws.dynamodb import Store
from nilometer.aws.items import marshal
from nilometer.domain.store.writes import Absent, Check, Delete, Key, Less, Put, Table, Update, Version
from nilometer.errors import Cancelled, Unavailable

WRITES = [
    Put(
        table=Table.EVENTS,
        item={"pk": "é", "sk": '\x00"', "n": 1, "b": b"\x00\xff", "m": {"l": [None, True, {"x"}]}},
        expected=Absent(),
    ),
    Update(table=Table.RECORDS, key=Key("a", "b"), add={"n": 2}, set={"s": b"x"}, expected=Less("n", 5)),
    Delete(table=Table.RECORDS, key=Key("c", "d"), expected=Version(3)),
    Check(table=Table.RECORDS, key=Key("e", "f"), expected=Absent()),
]


class Wire:
    """A client that sends nothing and keeps what it would have sent; `answer` is what it gets."""

    def __init__(self, answer: str = '{"Responses": {}}', status: int = 200) -> None:
        self.sent: list[Any] = []
        self.answer, self.status = answer.encode(), status
        self.client: Any = boto3.client(
            "dynamodb",
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"mode": "standard", "max_attempts": 1}),
        )
        self.client.meta.events.register("before-send.dynamodb", self._keep)

    def _keep(self, request: Any, **_: Any) -> AWSResponse:
        self.sent.append(request)
        response = AWSResponse(request.url, self.status, {}, None)
        response._content = self.answer
        return response

    def store(self) -> Store:
        return Store(self.client, records="records", events="events")


def body(request: Any) -> Any:
    parsed = json.loads(request.body)
    parsed.pop("ClientRequestToken", None)
    return parsed


def test_a_transaction_is_what_botocore_would_send() -> None:
    """Every kind of write and value, binary too; the length is that of the body that is sent."""
    ours, plain = Wire(), Wire()
    store = ours.store()
    store.commit(WRITES)
    plain.client.transact_write_items(
        TransactItems=[store._action(write) for write in WRITES], ReturnConsumedCapacity="TOTAL"
    )

    [sent], [expected] = ours.sent, plain.sent
    assert body(sent) == body(expected)
    assert int(sent.headers["Content-Length"]) == len(sent.body)
    assert sent.headers["Authorization"]


def test_a_batch_get_is_what_botocore_would_send() -> None:
    """With names for what travels."""
    ours, plain = Wire(), Wire()
    ours.store().batch_get(Table.RECORDS, [Key(str(n), "x") for n in range(3)], consistent=True, attributes=("kind",))
    plain.client.batch_get_item(RequestItems=body(ours.sent[0])["RequestItems"])

    assert body(ours.sent[0]) == body(plain.sent[0])
    assert len(body(ours.sent[0])["RequestItems"]["records"]["Keys"]) == 3


def test_a_put_is_what_botocore_would_send() -> None:
    """Its condition too."""
    ours, plain = Wire(), Wire()
    put = Put(table=Table.EVENTS, item=WRITES[0].item, expected=Version(2))  # type: ignore[union-attr]  # it is a Put
    ours.store().put(put)
    request = plain.store()._named(put.table, put.expected, {"Item": marshal(put.item)})
    plain.client.put_item(**request, ReturnConsumedCapacity="TOTAL")

    assert body(ours.sent[0]) == body(plain.sent[0])


def test_half_of_a_surrogate_pair_is_sent_as_botocore_would() -> None:
    """No UTF-8 has it: what DynamoDB says to it is DynamoDB's."""
    ours, plain = Wire(), Wire()
    store = ours.store()
    put = Put(table=Table.EVENTS, item={"pk": "a", "sk": "\ud800", "b": b"x"})
    store.commit([put])
    plain.client.transact_write_items(TransactItems=[store._action(put)], ReturnConsumedCapacity="TOTAL")

    assert body(ours.sent[0]) == body(plain.sent[0])


DEEP = {"M": {"l": {"L": [{"B": "eA=="}, {"N": "1.50"}]}}}
ITEM = {"pk": {"S": "é"}, "sk": {"S": "1"}, "b": {"B": "AP8="}, "m": DEEP}
READ = {"pk": "é", "sk": "1", "b": b"\x00\xff", "m": {"l": [b"x", Decimal("1.50")]}}


def test_every_read_is_what_botocore_would_read() -> None:
    """Binary values at every depth."""
    for operation, answer in {
        "get": {"Item": ITEM},
        "batch_get": {"Responses": {"records": [ITEM]}, "UnprocessedKeys": {}},
        "query": {"Items": [ITEM], "Count": 1},
        "scan": {"Items": [ITEM], "Count": 1, "ScannedCount": 1},
    }.items():
        wire = Wire(json.dumps(answer))
        store = wire.store()
        reads: dict[str, Callable[[], Any]] = {
            "get": lambda store=store: store.get(Table.RECORDS, Key("é", "1")),
            "batch_get": lambda store=store: store.batch_get(Table.RECORDS, [Key("é", "1")])[Key("é", "1")],
            "query": lambda store=store: next(store.query(Table.RECORDS, "é")),
            "scan": lambda store=store: next(store.scan(Table.RECORDS)),
        }
        assert reads[operation]() == READ, operation


def test_who_shares_the_client_reads_as_before() -> None:
    """Bytes, also after calls of a store."""
    wire = Wire(json.dumps({"Item": ITEM}))
    wire.store().get(Table.RECORDS, Key("é", "1"))

    found = wire.client.get_item(TableName="records", Key={"pk": {"S": "é"}, "sk": {"S": "1"}})
    assert found["Item"]["b"] == {"B": b"\x00\xff"}


def test_what_is_left_unprocessed_is_sent_again_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its binary values too, which come back as text."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    first = {"records": [{"PutRequest": {"Item": ITEM}}]}
    wire = Wire(json.dumps({"UnprocessedItems": first}))
    with pytest.raises(Unavailable):
        wire.store().put_all(Table.RECORDS, [READ])

    assert len(wire.sent) > 1
    assert all(body(one)["RequestItems"] == first for one in wire.sent)


def test_an_error_or_nonsense_is_read_by_botocore() -> None:
    """A refusal keeps its reasons; what is no JSON has no items."""
    reasons = [{"Code": "ConditionalCheckFailed", "Item": ITEM}]
    kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException"
    refused = Wire(json.dumps({"__type": kind, "CancellationReasons": reasons}), status=400)
    with pytest.raises(Cancelled) as caught:
        refused.store().commit(WRITES[:1])
    assert caught.value.reasons == ("ConditionalCheckFailed",)

    with pytest.raises(KeyError, match="Items"):
        next(Wire('{"Items": [').store().query(Table.RECORDS, "a"))


def test_every_transaction_has_its_own_token() -> None:
    """A later call is a new transaction, also with the same writes."""
    wire = Wire()
    store = wire.store()
    store.commit(WRITES)
    store.commit(WRITES)

    tokens = {json.loads(sent.body)["ClientRequestToken"] for sent in wire.sent}
    assert len(tokens) == 2


def test_threads_and_stores_that_share_a_client_send_their_own() -> None:
    """A body waits in its thread alone, and not beyond its call."""
    wire = Wire()
    stores = [wire.store() for _ in range(3)]

    def send(number: int) -> None:
        for _ in range(20):
            key = Key(str(number), "x")
            stores[number % 3].commit([Check(table=Table.RECORDS, key=key, expected=Absent())])

    threads = [threading.Thread(target=send, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wire.client.transact_write_items(
        TransactItems=[{"ConditionCheck": {"TableName": "t", "Key": {"pk": {"S": "last"}}, "ConditionExpression": "c"}}]
    )

    keys = [body(sent)["TransactItems"][0]["ConditionCheck"]["Key"]["pk"]["S"] for sent in wire.sent]
    assert sorted(keys) == sorted([str(n) for n in range(6) for _ in range(20)] + ["last"])
