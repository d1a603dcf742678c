"""What goes over the wire is what botocore itself would have sent."""

from __future__ import annotations

import json
import threading
from typing import Any

import boto3
from botocore.awsrequest import AWSResponse
from botocore.config import Config

from nilometer.aws.dynamodb import Store
from nilometer.domain.store.writes import Absent, Check, Delete, Key, Less, Put, Table, Update, Version

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
    """A client that sends nothing and keeps what it would have sent."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
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
        response = AWSResponse(request.url, 200, {}, None)
        response._content = b'{"Responses": {}}'
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
