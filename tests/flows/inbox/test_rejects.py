"""What is refused is kept, whatever its size and however often it comes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.events.reject import Reject
from nilometer.domain.store.writes import Table
from nilometer.errors import Rejected
from nilometer.flows.inbox.envelope import decode
from nilometer.flows.inbox.rejects import keep

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PARTITION = "REJECT#usage#2026-11-23"


def reject(payload: str) -> Reject:
    return Reject(flow="usage", reason="unit_mismatch", message="send calls", payload=payload, event_id="e1")


def test_a_reject_keeps_payload_and_reason(store: Store, objects: Objects) -> None:
    """What an operator needs to correct and send again is there."""
    keep(store, objects, [reject('{"a": 1}')], now=NOW)

    [kept] = store.query(Table.EVENTS, PARTITION)
    assert (kept["payload"], kept["reason"], kept["message"], kept["event_id"]) == (
        '{"a": 1}',
        "unit_mismatch",
        "send calls",
        "e1",
    )


def test_a_reject_that_comes_again_is_one_item(store: Store, objects: Objects) -> None:
    """A redelivery, also twice in one batch, adds nothing."""
    keep(store, objects, [reject("x"), reject("x"), reject("y")], now=NOW)
    keep(store, objects, [reject("x")], now=NOW)

    assert sorted(kept["payload"] for kept in store.query(Table.EVENTS, PARTITION)) == ["x", "y"]


def test_a_large_payload_rests_in_the_bucket(store: Store, objects: Objects) -> None:
    """The item refers to it, and the content comes back whole."""
    payload = "é" * 400_000

    keep(store, objects, [reject(payload)], now=NOW)

    [kept] = store.query(Table.EVENTS, PARTITION)
    assert objects.get(kept["claim"]).decode() == payload


def test_more_rejects_than_one_transaction_holds_are_all_kept(store: Store, objects: Objects) -> None:
    """120 refused messages of one batch leave 120 items."""
    keep(store, objects, [reject(str(n)) for n in range(120)], now=NOW)

    assert len(list(store.query(Table.EVENTS, PARTITION))) == 120


def test_an_envelope_is_decoded_and_its_detail_left_alone() -> None:
    """The owner of the detail decodes it; unknown fields of the envelope do not matter."""
    body = '{"version":"0","id":"b","detail-type":"t","source":"s","time":"2026-11-23T00:00:00Z","detail":{"a": 1.50}}'

    envelope = decode(body)

    assert (envelope.id, envelope.detail_type, envelope.source) == ("b", "t", "s")
    assert bytes(envelope.detail) == b'{"a": 1.50}'


@pytest.mark.parametrize("body", ["", "[]", "nonsense", '{"id": "b"}', '{"id": 1, "detail-type": "t"}', "\ud800"])
def test_what_is_not_an_envelope_is_rejected(body: str) -> None:
    """A message put into the queue by hand cannot stick in it."""
    with pytest.raises(Rejected) as caught:
        decode(body)

    assert caught.value.reason == "invalid_schema"
