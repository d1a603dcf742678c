"""What a dead letter tells of itself, and what the log tells of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nilometer.domain.recovery.dead_letter import DeadLetter, Wanted, dead_letter, explained, logged_failures, shown

AT = datetime(2026, 11, 23, 4, 14, 5, tzinfo=UTC)


def letter(body: object = "", *, moved: bool = True, **attributes: str) -> DeadLetter:
    sent = str(int(AT.timestamp() * 1000))
    first = str(int((AT + timedelta(seconds=3)).timestamp() * 1000))
    system = {"SentTimestamp": sent, "ApproximateFirstReceiveTimestamp": first, "ApproximateReceiveCount": "6"}
    source = {"DeadLetterQueueSourceArn": "arn:aws:sqs:us-east-1:1:BillingQueue"} if moved else {}
    text = body if isinstance(body, str) else json.dumps(body)
    return dead_letter("BillingDeadLetters", "m1", text, system=system | source, attributes=attributes)


@pytest.mark.parametrize(
    ("body", "described"),
    [
        ({"detail-type": "invoice.paid", "detail": {"id": "evt_1", "object": "event"}}, ("invoice.paid", "evt_1")),
        ({"type": "record.changed.v1", "id": "c1", "data": {}}, ("record.changed.v1", "c1")),
        ({"table": "usage", "rows": [{}, {}]}, ("usage rows", None)),
        ({"task": "optimize"}, (None, None)),
        ({"detail-type": 7, "detail": {"id": [1]}}, (None, None)),
        ([1], (None, None)),
        ("no json", (None, None)),
        ("[" * 100_000, (None, None)),
    ],
)
def test_a_body_says_what_it_is(body: object, described: tuple[Any, Any]) -> None:
    """Type and id of the event, in each shape that travels; of anything else nothing."""
    found = letter(body)

    assert (found.type, found.event_id) == described


def test_what_the_bus_could_not_deliver_says_why() -> None:
    """EventBridge User Guide, "Using dead-letter queues": attributes; it was never received."""
    found = letter(moved=False, ERROR_CODE="NO_PERMISSIONS", ERROR_MESSAGE="not authorized", RULE_ARN="arn:rule")

    assert found.reason == "NO_PERMISSIONS: not authorized"
    assert (found.first_failed_at, found.last_failed_at) == (None, AT)


def test_the_log_says_why_a_message_failed() -> None:
    """First and last time and the last reason, whatever the order of the lines; other lines are passed over."""
    lines = [
        logged("m1", "second", 9, name="error"),
        logged("m2", "another", 4),
        logged("m1", "first", 2),
        logged("m1", "taken", 20, outcome="accepted"),
        "START RequestId: 1",
        "[1]",
    ]

    found = explained(letter(), logged_failures(lines)["m1"])

    assert found.reason == "second"
    assert (found.first_failed_at, found.last_failed_at) == (AT + timedelta(seconds=2), AT + timedelta(seconds=9))


def logged(message_id: str, why: str, second: int, *, outcome: str = "failed", name: str = "reason") -> str:
    """Flows say `reason` or `error`."""
    at = (AT + timedelta(seconds=second)).strftime("%Y-%m-%d %H:%M:%S,000+0000")
    return json.dumps({"message": f"billing.{outcome}", "timestamp": at, "message_id": message_id, name: why})


def test_without_a_line_in_the_log_the_first_delivery_is_known() -> None:
    """A function that was killed left no reason."""
    found = explained(letter(), None)

    assert (found.reason, found.first_failed_at, found.last_failed_at) == (None, AT + timedelta(seconds=3), None)


@pytest.mark.parametrize(
    ("wanted", "included"),
    [
        (Wanted(), True),
        (Wanted(ids=frozenset({"m1"})), True),
        (Wanted(ids=frozenset({"m2"})), False),
        (Wanted(type="invoice.*"), True),
        (Wanted(type="invoice"), False),
        (Wanted(reason="no_perm"), True),
        (Wanted(reason="timeout"), False),
        (Wanted(sent_before=AT + timedelta(seconds=1)), True),
        (Wanted(sent_before=AT), False),
        (Wanted(type="invoice.*", reason="timeout"), False),
    ],
)
def test_filters_must_all_agree(wanted: Wanted, included: bool) -> None:
    assert wanted.includes(letter({"detail-type": "invoice.paid"}, ERROR_CODE="NO_PERMISSIONS")) is included


def test_what_is_shown_is_redacted() -> None:
    """Ids and types stay, addresses and names go; what is no JSON is only measured."""
    stripe = {"id": "evt_1", "object": "event", "data": {"object": {"object": "customer", "email": "ada@example.com"}}}
    invitation = {"id": "e1", "type": "invitation.created.v1", "data": {"email": "ada@example.com", "role": "Analyst"}}

    for detail in (stripe, invitation):
        found = shown(json.dumps({"detail-type": "x", "detail": detail}))
        assert "ada@" not in json.dumps(found)
        assert found["detail"]["id"] == detail["id"]
    assert shown("ada@example.com") == {"bytes": 15}
