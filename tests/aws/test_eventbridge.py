"""Publishing: every entry is taken, or the caller knows; what was taken is not sent again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from nilometer.aws import eventbridge
from nilometer.aws.eventbridge import ENTRIES, ENTRY_BYTES, Bus, BusEntry
from nilometer.errors import Rejected, Unavailable


def entry(name: str, size: int = 0) -> BusEntry:
    return BusEntry(source="services.test", detail_type="test.v1", detail=json.dumps({"id": name, "pad": "x" * size}))


def taken(*outcomes: bool) -> dict[str, Any]:
    """EventBridge's answer: one per entry, in their order."""
    answers = [{"EventId": str(n)} if ok else {"ErrorCode": "ThrottlingException"} for n, ok in enumerate(outcomes)]
    return {"FailedEntryCount": outcomes.count(False), "Entries": answers}


def request(*entries: BusEntry) -> dict[str, Any]:
    return {
        "Entries": [
            {"EventBusName": "bus", "Source": e.source, "DetailType": e.detail_type, "Detail": e.detail}
            for e in entries
        ]
    }


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventbridge.time, "sleep", lambda _seconds: None)


@pytest.fixture
def client() -> Any:
    return boto3.client("events", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")


@pytest.fixture
def answers(client: Any) -> Iterator[Stubber]:
    """What AWS would answer, checked against its own model; no engine ever refuses an entry."""
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def test_only_refused_entries_are_sent_again(client: Any, answers: Stubber) -> None:
    """A second copy of what was taken would be a duplicate of our own making."""
    a, b, c = entry("a"), entry("b"), entry("c")
    answers.add_response("put_events", taken(True, False, False), request(a, b, c))
    answers.add_response("put_events", taken(False, True), request(b, c))
    answers.add_response("put_events", taken(True), request(b))

    Bus(client, name="bus").publish([a, b, c])


def test_an_entry_that_stays_refused_is_an_error(client: Any, answers: Stubber) -> None:
    """HTTP 200 is not yet success: FailedEntryCount says."""
    for _ in range(4):
        answers.add_response("put_events", taken(False))

    with pytest.raises(Unavailable):
        Bus(client, name="bus").publish([entry("a")])


def test_an_error_of_the_service_is_unavailable(client: Any, answers: Stubber) -> None:
    """Whatever it is called: the same input may pass later."""
    answers.add_client_error("put_events", "InternalException", http_status_code=500)

    with pytest.raises(Unavailable, match="InternalException"):
        Bus(client, name="bus").publish([entry("a")])


def test_ten_entries_go_in_a_request(client: Any, answers: Stubber) -> None:
    """EventBridge takes ten, so 23 need three."""
    entries = [entry(str(n)) for n in range(23)]
    for start in range(0, 23, ENTRIES):
        part = entries[start : start + ENTRIES]
        answers.add_response("put_events", taken(*[True] * len(part)), request(*part))
    bus = Bus(client, name="bus")

    bus.publish(entries)

    assert bus.requests == 3


def test_entries_too_large_together_go_alone(client: Any, answers: Stubber) -> None:
    """One request takes 1 MB in all, as one entry does."""
    large = [entry("a", 600_000), entry("b", 600_000)]
    for one in large:
        answers.add_response("put_events", taken(True), request(one))

    Bus(client, name="bus").publish(large)


def test_an_entry_over_the_limit_stops_all_before_the_first_is_sent(client: Any, answers: Stubber) -> None:
    """Counted in bytes, with source and detail type; emulators take any size, so the guard is ours."""
    pad = ENTRY_BYTES - entry("b").size
    at_limit, over = entry("b", pad), entry("b", pad + 1)
    assert (at_limit.size, over.size) == (ENTRY_BYTES, ENTRY_BYTES + 1)

    with pytest.raises(Rejected) as caught:
        Bus(client, name="bus").publish([entry("a"), over])

    assert caught.value.reason == "too_large"


def test_what_queues_refuse_is_escaped_before_it_is_counted() -> None:
    """Targets of the bus are queues; the detail says the same."""
    one = BusEntry(source="s", detail_type="t", detail='{"id":"\ufffe\uffff"}')

    assert (one.detail, one.size) == (r'{"id":"\ufffe\uffff"}', 23)
    assert json.loads(one.detail) == {"id": "\ufffe\uffff"}


def test_nothing_is_published_without_a_request(client: Any, answers: Stubber) -> None:
    """An empty batch costs nothing."""
    Bus(client, name="bus").publish([])


@mock_aws
def test_the_service_takes_the_shape_of_our_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    """In process, single-threaded: a detail that is no JSON object is refused, a good one is taken."""
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    client = boto3.client("events", region_name="us-east-1")
    client.create_event_bus(Name="bus")
    bus = Bus(client, name="bus")

    bus.publish([entry("a")])
    with pytest.raises(Unavailable):
        bus.publish([BusEntry(source="services.test", detail_type="test.v1", detail="no JSON")], attempts=1)
