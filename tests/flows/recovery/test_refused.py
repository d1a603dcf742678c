"""What was refused is found over all flows, sent again through its own entrance, and marked when it is done."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support.flows.operations import NOW, event
from tests.support.flows.usage import cloud, handle

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.events.outcome import Message, Outcome
from nilometer.domain.events.reject import Reject
from nilometer.domain.recovery.refused import FLOWS, IN_BUCKET, IN_TABLE
from nilometer.errors import Rejected
from nilometer.flows.inbox.rejects import keep
from nilometer.flows.operations import batch as operations
from nilometer.flows.recovery.refused import Lane, enveloped, one_of

SINCE = NOW - timedelta(days=1)
TODAY = datetime.now(UTC) - timedelta(days=1)  # what is put into the bucket is of this moment


class Sent(list[tuple[str, str]]):
    """What went to which queue, or to the relay."""

    def send(self, queue: str, body: str) -> None:
        self.append((queue, body))

    def relay(self, batch: str) -> None:
        self.append(("ChangesFunction", batch))


def lane(store: Store, objects: Objects, *, now: datetime = NOW, sent: Sent | None = None) -> Lane:
    going = sent if sent is not None else Sent()
    return Lane(store=store, objects=objects, now=now, send=going.send, relay=going.relay)


def refuse(
    store: Store, objects: Objects, flow: str, *, payload: str = "{}", now: datetime = NOW, **given: Any
) -> None:
    known = {"reason": "unit_mismatch", "message": "send calls", "event_id": f"{flow}-1", **given}
    keep(store, objects, [Reject(flow=flow, payload=payload, **known)], now=now)


@pytest.mark.parametrize("flow", IN_BUCKET)
@pytest.mark.parametrize("content", [b"{}", b"\xff", b"[" * 99_999, b'{"content": 1, "reason": [2]}', b'{"record": 3}'])
def test_what_is_no_reject_hides_no_other(store: Store, objects: Objects, flow: str, content: bytes) -> None:
    """An object that somebody put there, and one that was taken away since it was listed."""

    class Vanishing(Objects):
        def listed(self, prefix: str) -> Iterator[tuple[str, datetime]]:
            yield from super().listed(prefix)
            yield f"{prefix}gone", datetime.now(UTC)

    kept = {"reason": "KeyError", "record": {"eventID": "1"}, "content": "{}"}
    good = objects.put(f"rejects/{flow}", json.dumps(kept).encode()).rpartition("/")[2]
    objects.write(f"s3://{objects.bucket}/rejects/{flow}/nonsense", content)

    found = lane(store, Vanishing(objects._client, bucket=objects.bucket)).all([flow], since=TODAY)

    assert good in {one.id for one in found}
    assert "gone" not in {one.id for one in found}
    assert all(isinstance(one.reason, str) and one.whose and one.advice for one in found)


def test_rejects_of_every_flow_stand_in_one_table(store: Store, objects: Objects) -> None:
    """Those of the events table and those of the bucket: when, where, why, whose, and what to try."""
    for flow in IN_TABLE:
        refuse(store, objects, flow, reason="unknown_meter", source="/a", payload=f'{{"{flow}": 1}}')
    row = {
        "reason": "invalid_row",
        "message": "no time",
        "event_id": "lake-1",
        "content": '{"table":"usage","rows":[1]}',
    }
    objects.put("rejects/lake", json.dumps(row).encode())
    objects.put("rejects/changes", json.dumps({"reason": "KeyError", "record": {"eventID": "1"}}).encode())
    objects.put("rejects/usage", b"a large payload of a reject in the table")

    found = lane(store, objects).all(IN_BUCKET, since=TODAY)
    whose = {one.flow: one.whose for one in lane(store, objects).all(IN_TABLE, since=SINCE)}

    assert {one.flow: one.whose for one in found} == {"lake": "lake-1", "changes": "unknown"}
    assert whose == {flow: f"/a {flow}-1" for flow in IN_TABLE}
    assert {one.advice for one in lane(store, objects).all(["usage"], since=SINCE)} == {"create the meter, then resend"}


@pytest.mark.parametrize(
    ("flow", "queue"),
    [
        ("billing", "BillingQueue"),
        ("usage", "UsageQueue"),
        ("operations", "OperationsQueue"),
        ("notices", "OperationsQueue"),
        ("datasets", "DatasetsQueue"),
    ],
)
@pytest.mark.parametrize("large", [False, True])
def test_a_resend_takes_the_entrance_that_it_came_by(
    flow: str, queue: str, large: bool, store: Store, objects: Objects
) -> None:
    """With each byte as it arrived, also when it rests in the bucket; then it is listed no more."""
    body, sent = event("meter.created.v1", {"pad": "é" * (60_000 if large else 1)}), Sent()
    refuse(store, objects, flow, payload=body)
    [one] = lane(store, objects).all([flow], since=SINCE)

    lane(store, objects, sent=sent).resend(one, actor="ops")

    assert sent == [(queue, body)]
    assert lane(store, objects).all([flow], since=SINCE) == []
    [done] = lane(store, objects).all([flow], since=SINCE, settled=True)
    assert done.settled == "resent 2026-11-23T12:00:00.000Z"


@pytest.mark.parametrize(
    ("flow", "content", "queue"),
    [
        ("lake", {"content": '{"table":"usage","rows":[{}]}'}, "LakeUsageQueue"),
        ("lake", {"content": '{"table":"audit","rows":[{}]}'}, "LakeAuditQueue"),
        ("lake", {"content": '{"table":"stripe_events","rows":[{}]}'}, "LakeStripeEventsQueue"),
        ("changes", {"record": {"eventID": "1"}}, "ChangesFunction"),
    ],
)
def test_so_does_what_rests_in_the_bucket(
    flow: str, content: dict[str, Any], queue: str, store: Store, objects: Objects
) -> None:
    """A row goes to its queue again, a record of a stream to the function that read it."""
    objects.put(f"rejects/{flow}", json.dumps({"reason": "invalid_row", **content}).encode())
    sent, later = Sent(), datetime.now(UTC) + timedelta(minutes=1)
    [one] = lane(store, objects).all([flow], since=TODAY)

    lane(store, objects, now=later, sent=sent).resend(one, actor="ops")

    assert [name for name, _ in sent] == [queue]
    assert json.loads(sent[0][1]) == (
        json.loads(content["content"]) if flow == "lake" else {"Records": [{"eventID": "1"}]}
    )
    assert lane(store, objects).all([flow], since=TODAY) == []


def test_usage_that_is_sent_again_is_counted(ready: Store, objects: Objects) -> None:
    """A single event of a batch is kept without the bus's envelope, and gets one."""
    batch = {**cloud("b1"), "type": "usage.batch.v1", "data": {"events": [{**cloud("bad"), "id": 7}, cloud("good")]}}
    early = cloud("early", unit="token")
    assert [str(one.outcome) for one in handle(ready, objects, early, batch)] == ["rejected", "rejected"]
    sent = Sent()
    found = lane(ready, objects, sent=sent).all(["usage"], since=SINCE)
    for one in found:
        lane(ready, objects, sent=sent).resend(one, actor="ops")

    assert {one.event_id for one in found} == {"early", None}
    again = [str(one.outcome) for one in handle(ready, objects, *(body for _, body in sent), now=NOW)]
    assert again == ["rejected", "rejected"]
    corrected = [body.replace('"token"', '"call"') for _, body in sent if "early" in body]
    assert [str(one.outcome) for one in handle(ready, objects, *corrected)] == ["accepted"]


def test_what_is_refused_again_is_listed_again(store: Store, objects: Objects) -> None:
    """A mark is of the time before."""
    refuse(store, objects, "usage")
    [one] = lane(store, objects).all(["usage"], since=SINCE)
    lane(store, objects, now=NOW + timedelta(minutes=1)).dismiss(one, actor="ops")
    assert lane(store, objects).all(["usage"], since=SINCE) == []

    refuse(store, objects, "usage", now=NOW + timedelta(minutes=2))

    assert [kept.id for kept in lane(store, objects).all(["usage"], since=SINCE)] == [one.id]


@pytest.mark.parametrize(("seconds", "listed"), [(0.5, 1), (1, 0)])
def test_an_object_that_was_refused_again_at_once_is_listed_again(
    store: Store, objects: Objects, seconds: float, listed: int
) -> None:
    """S3 says only the second; a mark within it may be of the time before."""
    objects.put("rejects/lake", json.dumps({"reason": "invalid_row", "content": "{}"}).encode())
    [(_, written)] = objects.listed("rejects/lake")
    [one] = lane(store, objects).all(["lake"], since=TODAY)
    marked = written.replace(microsecond=0) + timedelta(seconds=seconds)

    lane(store, objects, now=marked).dismiss(one, actor="ops")

    assert len(lane(store, objects).all(["lake"], since=TODAY)) == listed


def test_an_id_is_named_by_its_beginning(store: Store, objects: Objects) -> None:
    """As long as only one begins so."""
    for number in range(40):
        refuse(store, objects, "usage", payload=str(number))
    found = lane(store, objects).all(["usage"], since=SINCE)

    assert one_of(found, found[3].id[:12]) is found[3]
    with pytest.raises(Rejected, match="no reject has"):
        one_of(found, "x")
    with pytest.raises(Rejected, match="rejects have"):
        one_of(found, "")


@pytest.mark.parametrize("payload", ["", "nonsense", "[]", "[" * 5_000, '{"detail": {}}', '{"detail": "x", "n": 1.50}'])
def test_what_is_no_event_goes_back_as_it_is(payload: str) -> None:
    """Or in an envelope, in which not a digit is rewritten: it will be refused once more."""
    assert payload in enveloped(payload, now=NOW)


def test_an_operation_of_an_unknown_workspace_waits_and_is_then_found(store: Store, objects: Objects) -> None:
    """It is never a dead letter: visible as waiting, and as a reject that says what to try."""
    added = event("member.added.v1", {"user_id": "bob", "role": "Viewer"}, subject="ws_typo")

    def outcome(now: datetime) -> Outcome:
        [result] = operations.handle([Message("1", added)], store=store, objects=objects, now=now)
        return result.outcome

    assert outcome(NOW) is Outcome.WAITING
    assert outcome(NOW + timedelta(minutes=10)) is Outcome.REJECTED
    [one] = lane(store, objects, now=NOW + timedelta(hours=1)).all(FLOWS, since=SINCE)
    assert (one.reason, one.whose, one.advice) == (
        "unknown_workspace",
        "ws_typo e1",
        "create the workspace, then resend",
    )
