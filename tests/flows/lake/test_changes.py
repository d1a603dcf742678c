"""Stream records become rows and events: every one once or again, none lost, none in the way of the next."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from tests.support.flows.changes import ARN, CREATED, World, billing, record, stripe_fact, usage_fact
from tests.support.lake.build import unpacked

from nilometer.domain.events.outcome import Outcome, Result
from nilometer.domain.lake import exact
from nilometer.domain.lake.tables import STRIPE_EVENTS, USAGE
from nilometer.domain.store.times import from_epoch, rfc3339
from nilometer.errors import Rejected, Unavailable
from nilometer.flows.lake.append import AUDIT_TYPE
from nilometer.flows.lake.kinds import ROW_PAYLOAD_BYTES
from nilometer.lake.write.rows import decode_packed


def outcomes(results: list[Result]) -> list[Outcome]:
    return [result.outcome for result in results]


def test_a_stripe_fact_becomes_a_redacted_row(world: World) -> None:
    """Decompressed, complete for the writer, without the customer's address."""
    [result] = world.relay(record(stripe_fact()))

    [body] = [one for one in world.bodies("stripe_events") if one["table"] == "stripe_events"]
    [row] = unpacked(body)
    assert result.outcome is Outcome.ACCEPTED
    assert (body["table"], row["event_id"], row["created"]) == ("stripe_events", "evt_1", CREATED)
    assert decode_packed(json.dumps(body))[0] is STRIPE_EVENTS
    assert row["payload"]["data"]["object"] == {
        "object": "customer",
        "id": "cus_1",
        "email": "[redacted]",
    }


def test_every_item_of_a_subscription_is_a_row(world: World) -> None:
    """A record has several rows of one table, and all of them reach the queue."""
    items = [{"id": f"si_{n}", "quantity": n, "price": {"id": "price_1"}} for n in range(3)]
    subscription = {"object": "subscription", "id": "sub_1", "items": {"data": items}}
    event = {"id": "evt_1", "object": "event", "data": {"object": subscription}}
    payload = zlib.compress(json.dumps(event).encode())

    world.relay(record(stripe_fact(payload, type="customer.subscription.created", object_type="subscription")))

    bodies = world.bodies("stripe_events")
    rows = [row for one in bodies if one["table"] == "subscription_items_history" for row in unpacked(one)]
    assert [row["object_id"] for row in rows] == ["si_0", "si_1", "si_2"]


def test_a_copied_fact_gives_the_same_book_rows(world: World) -> None:
    """After a restore the facts pass through another stream; each event has one row of its own all the same."""
    items = [{"id": f"si_{n}", "quantity": n} for n in range(2)]
    subscription = {"object": "subscription", "id": "sub_1", "items": {"data": items}}
    payload = zlib.compress(json.dumps({"id": "evt_1", "data": {"object": subscription}}).encode())
    fact = stripe_fact(payload, type="customer.subscription.created", object_type="subscription")
    copied = record(fact, sequence="99", eventSourceARN=f"{ARN}-of-another-table")
    copied["dynamodb"]["ApproximateCreationDateTime"] += 20 * 86_400

    world.relay(record(fact))
    world.relay(copied)
    world.relay(record(fact | {"event_id": "evt_2"}), record(fact | {"expires_at": fact["expires_at"] + 1}))

    bodies = world.bodies("stripe_events")
    for table in ("subscriptions_history", "subscription_items_history"):
        rows = [row for one in bodies if one["table"] == table for row in unpacked(one)]
        keys = [(row["change_id"], row["known_at"], row.get("position")) for row in rows]
        each = len(rows) // 4
        assert keys[:each] == keys[each : 2 * each]
        assert len(set(keys)) == 3 * each
        assert rows[0]["known_at"] == "2026-11-23T04:14:05.000Z"


def test_a_usage_fact_becomes_a_row(world: World) -> None:
    world.relay(record(usage_fact()))

    [body] = world.bodies("usage")
    [row] = unpacked(body)
    assert decode_packed(json.dumps(body))[0] is USAGE
    assert (row["quantity"], row["workspace_id"], row["time"]) == ("1.5", "ws_1", "2026-11-23T04:14:05.123Z")


def test_facts_travel_packed(world: World) -> None:
    """A thousand facts are a handful of messages, each below what SQS takes."""
    world.relay(*(record(usage_fact(f"{n:0200}"), sequence=str(n)) for n in range(3000)))

    bodies = world.bodies("usage")
    assert sorted(row["event_id"] for body in bodies for row in unpacked(body)) == [f"{n:0200}" for n in range(3000)]
    assert len(bodies) == 2


def test_a_claim_is_fetched(world: World) -> None:
    """A payload too large for the fact comes from S3."""
    fact = stripe_fact()
    raw = zlib.decompress(fact.pop("payload"))
    world.relay(record(fact | {"claim": world.objects.put("claims", raw)}))

    rows = {body["table"]: unpacked(body)[0] for body in world.bodies("stripe_events")}
    assert rows["stripe_events"]["payload"]["id"] == "evt_1"
    assert (rows["customers_history"]["object_id"], rows["customers_history"]["origin"]) == ("cus_1", "snapshot")
    assert "email" not in json.dumps(rows["customers_history"])


def test_a_payload_too_large_for_a_row_rests_in_s3(world: World) -> None:
    """Redacted there too."""
    lines = [{"id": f"il_{n}", "email": "zoe@x.de"} for n in range(30_000)]
    world.relay(record(stripe_fact(zlib.compress(json.dumps({"id": "evt_1", "lines": lines}).encode()))))

    [body] = world.bodies("stripe_events")
    [row] = unpacked(body)
    stored = world.objects.get(row["payload_ref"])
    assert "payload" not in row
    assert len(stored) > ROW_PAYLOAD_BYTES
    assert b"zoe" not in stored


def test_a_change_is_announced(world: World) -> None:
    """As a CloudEvent whose data is the audit row, ready for the lake and for any service."""
    world.relay(record(billing(plan="team", limit=Decimal("0.10"), email="zoe@x.de"), billing(plan="free")))

    [envelope] = [one for one in world.bodies("bus") if one["detail-type"] == "record.changed.v1"]
    data = envelope["detail"]["data"]
    assert (envelope["source"], envelope["detail-type"]) == ("nilometer.changes", "record.changed.v1")
    assert (envelope["detail"]["type"], envelope["detail"]["id"]) == (AUDIT_TYPE, data["change_id"])
    assert (data["kind"], data["action"], data["workspace_id"]) == ("billing", "MODIFY", "ws_1")
    assert data["changed_fields"] == ["email", "limit", "plan"]
    assert (data["old_image"]["plan"], data["new_image"]["plan"], data["new_image"]["email"]) == (
        "free",
        "team",
        "[redacted]",
    )


def test_a_change_that_no_way_takes_is_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be refused each time, and hold up all that comes after it in its shard."""
    monkeypatch.setattr("nilometer.flows.lake.changes.BODY_BYTES", 900)
    results = world.relay(record(usage_fact(), sequence="1"), record(usage_fact("u" * 900), sequence="2"))

    assert outcomes(results) == [Outcome.ACCEPTED, Outcome.REJECTED]
    assert results[1].fields["reason"] == "too_large"


def test_numbers_are_exact_behind_the_bus(world: World) -> None:
    """15 digits before the point and 9 after it, also where the bus parses numbers as floats."""
    world.relay(record(billing(total=Decimal("123456789012345.123456789"), count=3)))

    [envelope] = world.bodies("bus")
    image = envelope["detail"]["data"]["new_image"]
    assert exact.read(image)["total"] == Decimal("123456789012345.123456789")
    assert image["count"] == 3


def test_a_removal_by_ttl_is_an_expiry(world: World) -> None:
    identity = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    world.relay(record(None, billing(), userIdentity=identity))

    [envelope] = world.bodies("bus")
    assert envelope["detail"]["data"]["action"] == "EXPIRED"


def test_the_same_record_has_the_same_id_each_time(world: World) -> None:
    for _ in range(2):
        world.relay(record(billing()))

    first, second = world.bodies("bus")
    assert first["detail"] == second["detail"]


def test_images_too_large_for_the_bus_rest_in_s3(world: World) -> None:
    """Together they may have twice what an item has, and JSON's escapes."""
    big = {f"field_{n}": "x" * 1000 for n in range(390)}
    world.relay(record(billing(**big, note_="\x01" * 50_000), billing(**big)))

    [envelope] = world.bodies("bus")
    data = envelope["detail"]["data"]
    assert (data["old_image"], data["new_image"]) == (None, None)
    assert set(json.loads(world.objects.get(data["images_ref"]))) == {"old_image", "new_image"}


@pytest.mark.parametrize(("flow", "announced"), [("usage", "usage.rejected.v1"), ("billing", "billing.rejected.v1")])
def test_a_reject_is_announced_without_its_payload(world: World, flow: str, announced: str) -> None:
    item = {
        "pk": f"REJECT#{flow}#2026-11-23",
        "sk": "abc",
        "kind": "reject",
        "version": 1,
        "flow": flow,
        "reason": "too_old",
        "message": "time is 40 days ago",
        "payload": "zoe@x.de",
        "event_id": "u1",
        "received_at": "2026-11-23T04:14:06.120Z",
    }
    world.relay(record(item))

    told = {envelope["detail-type"]: envelope["detail"] for envelope in world.bodies("bus")}
    assert told[announced]["data"]["reason"] == "too_old"
    row = told["record.changed.v1"]["data"]
    assert (row["table_name"], row["kind"], row["cause"], row["new_image"]["reason"]) == (
        "events",
        "reject",
        "u1",
        "too_old",
    )
    assert len({event["id"] for event in told.values()}) == 2
    assert "zoe" not in json.dumps(told)


@pytest.mark.parametrize(("seconds", "news"), [(0, True), (15 * 60, True), (30 * 60, False)])
def test_what_a_restore_copied_is_no_news(world: World, seconds: int, news: bool) -> None:
    """It goes to the lake; subscribers knew it when it was made. A function takes a quarter of an hour at most."""
    made = rfc3339(from_epoch(CREATED - seconds))
    world.relay(record(billing(plan="team", updated_at=made)), record(billing(plan="team"), billing(plan="free")))
    refused = {"pk": "REJECT#usage#2026-11-23", "sk": "abc", "kind": "reject", "version": 1, "flow": "usage"}
    world.relay(record(refused | {"reason": "too_old", "message": "m", "payload": "{}", "received_at": made}))

    told = Counter(one["detail-type"] for one in world.bodies("bus"))
    assert (told["record.changed.v1"], told["billing.plan_changed.v1"], told["usage.rejected.v1"]) == (
        3,
        1 + news,
        news,
    )


@pytest.mark.parametrize("kind", ["waiting_usage", "operation"])
def test_what_nobody_needs_is_passed_over(world: World, kind: str) -> None:
    results = world.relay(record({"pk": "a", "sk": "b", "kind": kind, "version": 1}))

    assert outcomes(results) == [Outcome.IGNORED]
    assert world.bodies("bus") == []


def test_the_expiry_of_a_fact_is_no_news(world: World) -> None:
    assert outcomes(world.relay(record(None, usage_fact()))) == [Outcome.IGNORED]


@pytest.mark.parametrize(
    "poison",
    [
        {"dynamodb": {"SequenceNumber": "5"}},
        record({"pk": "a", "sk": "b", "kind": "usage_event"}, sequence="5"),
        record(stripe_fact(payload=b"no zlib"), sequence="5"),
        record(stripe_fact(payload=zlib.compress(b"no json")), sequence="5"),
        record(stripe_fact(payload=zlib.compress(b'{"a":' * 100_000 + b"1" + b"}" * 100_000)), sequence="5"),
        record(stripe_fact(claim="claims/" + "0" * 64), sequence="5"),
        record(billing(), sequence="5") | {"eventName": "DROP"},
    ],
    ids=["nothing", "no row", "no zlib", "no json", "too deep", "no claim", "no action"],
)
def test_poison_is_kept_and_passed_over(world: World, poison: dict[str, Any]) -> None:
    """Its shard goes on; the record waits in S3 for somebody to look at it."""
    results = world.relay(record(usage_fact("u1"), sequence="4"), poison, record(usage_fact("u2"), sequence="6"))

    assert outcomes(results) == [Outcome.ACCEPTED, Outcome.REJECTED, Outcome.ACCEPTED]
    stored = json.loads(world.objects.get(str(results[1].fields["kept"])))
    assert stored["record"]["dynamodb"]["SequenceNumber"] == "5"
    [body] = world.bodies("usage")
    assert [row["event_id"] for row in unpacked(body)] == ["u1", "u2"]


@pytest.mark.parametrize("odd", ["u\ufffe", "u\uffff"])
def test_an_id_that_no_queue_carries_is_a_row_like_any_other(world: World, odd: str) -> None:
    """The two characters that SQS refuses are escapes on the way, and themselves again in the row."""
    sent: list[str] = []
    world.queues["usage"].send = lambda bodies, **_: sent.extend(bodies)  # type: ignore[method-assign]  # as it is handed over
    results = world.relay(record(usage_fact(odd), sequence="1"), record(billing(cause=odd), sequence="2"))

    assert outcomes(results) == [Outcome.ACCEPTED] * 2
    [row] = unpacked(json.loads(sent[0]))
    assert (row["event_id"], odd[1] in sent[0]) == (odd, False)
    told = next(one for one in world.bodies("bus") if one["detail-type"] == "record.changed.v1")
    assert told["detail"]["data"]["new_image"]["cause"] == odd


def test_what_a_queue_refuses_for_good_stands_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by halving and kept; those beside it go on. Those of a queue that is away meanwhile come again."""
    take = world.queues["usage"].send

    def picky(bodies: Sequence[str], **more: Any) -> None:
        if any("odd" in body for body in bodies):
            raise Rejected("refused_by_queue", "SQS takes no such text")
        take(bodies, **more)

    monkeypatch.setattr(world.queues["usage"], "send", picky)
    names = ["a", "b", "odd", "c", "d", "e", "odder"]
    results = world.relay(*(record(usage_fact(name), sequence=str(n)) for n, name in enumerate(names)))

    assert [one.outcome is Outcome.ACCEPTED for one in results] == ["odd" not in name for name in names]
    assert [one.fields.get("reason") for one in results if one.outcome is Outcome.REJECTED] == ["refused_by_queue"] * 2
    stored = json.loads(world.objects.get(str(results[2].fields["kept"])))
    assert stored["record"]["dynamodb"]["SequenceNumber"] == "2"
    rows = sorted(row["event_id"] for body in world.bodies("usage") for row in unpacked(body))
    assert rows == ["a", "b", "c", "d", "e"]

    monkeypatch.setattr(world.bus, "publish", _away)
    [result] = world.relay(record(billing(cause="odd")))
    assert result.outcome is Outcome.FAILED


def _away(*_: Any, **__: Any) -> None:
    raise Unavailable("the bus is away")


def test_what_was_not_taken_fails_and_nothing_else(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bus is away: the change comes again, the fact has gone."""
    monkeypatch.setattr(world.bus, "publish", _away)

    results = world.relay(record(usage_fact(), sequence="1"), record(billing(cause="evt_1"), sequence="2"))

    assert [(result.message_id, result.outcome) for result in results] == [
        ("1", Outcome.ACCEPTED),
        ("2", Outcome.FAILED),
    ]
    assert [result.fields["event_id"] for result in results] == ["u1", "evt_1"]  # each line names the event
    assert len(world.bodies("usage")) == 1
