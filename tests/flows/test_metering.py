"""Stripe's meters end at the counters, whatever dies or is lost on the way."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest
from tests.flows.conftest import NOW
from tests.flows.faulty import FaultyStore, Killed, dies_at
from tests.flows.test_usage import WORKSPACE, cloud, handle, ready

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain import keys
from nilometer.domain.meter_event import MeterEvent
from nilometer.domain.writes import Put, Table
from nilometer.errors import Misconfigured, Refused, Rejected, Unavailable
from nilometer.flows.known import Known
from nilometer.flows.metering import drain
from nilometer.stripe_api.meter_events import StripeMeterEvents

__all__ = ["ready"]


class Recording:
    """Stripe's side: counts an identifier once; `loses` answers after it has counted."""

    def __init__(self, *, loses: int = 0) -> None:
        self.events: dict[str, MeterEvent] = {}
        self._loses = loses

    def send(self, event: MeterEvent) -> None:
        assert self.events.setdefault(event.identifier, event) == event
        if self._loses:
            self._loses -= 1
            raise Unavailable("no answer")

    @property
    def total(self) -> Decimal:
        return sum((event.value for event in self.events.values()), Decimal(0))


@pytest.fixture
def known(ready: Store) -> Known:
    """A meter that Stripe bills, and a customer."""
    meter = ready.get(Table.RECORDS, keys.meter("api_calls")) or {}
    key = keys.billing(WORKSPACE)
    billing = {"kind": "billing", "version": 1, "workspace_id": WORKSPACE, "customer_id": "cus_1", "periods": []}
    ready.commit([Put(table=Table.RECORDS, item={**meter, "stripe_event_name": "calls"})])
    ready.commit([Put(table=Table.RECORDS, item={"pk": key.pk, "sk": key.sk, **billing})])
    return Known(ready)


def tell(known: Known, stripe: Any, **given: Any) -> int:
    return drain(known, stripe, WORKSPACE, "api_calls", **{"at": NOW, "now": NOW, **given}).sent


def test_stripe_is_told_what_it_does_not_have(known: Known, objects: Objects) -> None:
    """The difference, once; nothing when there is none."""
    stripe = Recording()
    handle(known.store, objects, cloud("a", quantity="1.5"))

    assert [tell(known, stripe), tell(known, stripe)] == [1, 0]
    handle(known.store, objects, cloud("b", quantity="2"))
    assert tell(known, stripe) == 1
    assert [event.value for event in stripe.events.values()] == [Decimal("1.5"), Decimal(2)]


def test_late_usage_of_a_period_is_told_within_it(known: Known, objects: Objects) -> None:
    """A delta never crosses a boundary: its timestamp is the last second of its period."""
    stripe = Recording()
    october = NOW - timedelta(days=25)
    handle(known.store, objects, cloud("a", quantity="3", time=october))

    tell(known, stripe, at=october)

    [event] = stripe.events.values()
    assert (event.timestamp, event.customer_id, event.event_name) == (1793491199, "cus_1", "calls")


def test_a_lost_answer_is_asked_again_under_the_same_identifier(known: Known, objects: Objects) -> None:
    """More usage came meanwhile: the first delta stays as it was."""
    stripe = Recording(loses=2)
    handle(known.store, objects, cloud("a"))
    for _ in range(2):
        with pytest.raises(Unavailable):
            tell(known, stripe)
    handle(known.store, objects, cloud("b"))

    assert tell(known, stripe, now=NOW + timedelta(hours=1)) == 2
    assert stripe.total == 20


def test_a_delta_that_waited_a_day_is_not_sent_again(known: Known, objects: Objects) -> None:
    """Stripe may have forgotten its identifier: a person looks first."""
    handle(known.store, objects, cloud("a"))
    with pytest.raises(Unavailable):
        tell(known, Recording(loses=1))

    with pytest.raises(Refused):
        tell(known, Recording(), now=NOW + timedelta(hours=24))


@pytest.mark.parametrize("landed", [False, True], ids=["before", "after"])
def test_a_drain_that_dies_at_any_call_counts_once(landed: bool, known: Known, objects: Objects) -> None:
    """Run again it ends at the counter."""
    stripe, number, survived = Recording(), 0, False
    while not survived:
        number += 1
        handle(known.store, objects, cloud(str(number), quantity="1"))
        dying: Any = FaultyStore(known.store, dies_at(number, landed=landed))
        try:
            tell(Known(dying), stripe)
            survived = True
        except Killed:
            tell(known, stripe)
        assert stripe.total == number


def test_what_stripe_does_not_bill_is_not_told(known: Known, objects: Objects) -> None:
    """A level, a meter without a name at Stripe, a workspace that is not known."""
    stripe = Recording()
    seats = cloud("s", meter="seats", unit="seat", type_="usage.snapshot.v1")
    handle(known.store, objects, seats, cloud("a"))

    assert drain(known, stripe, WORKSPACE, "seats", at=NOW, now=NOW).sent == 0
    assert drain(known, stripe, "ws_nobody", "api_calls", at=NOW, now=NOW).sent == 0
    assert stripe.events == {}


EVENT = MeterEvent(event_name="calls", customer_id="cus_1", value=Decimal("1E+2"), identifier="abc", timestamp=1)


@pytest.fixture
def answers() -> Iterator[tuple[str, list[tuple[int, dict[str, Any]]], list[dict[str, Any]]]]:
    """A Stripe on loopback: its address, the answers that it will give, the requests that it got."""
    planned: list[tuple[int, dict[str, Any]]] = []
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            got.append({name: values[0] for name, values in form.items()})
            status, body = planned.pop(0)
            self.send_response(status)
            self.send_header("Stripe-Should-Retry", "false")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", planned, got
    server.shutdown()
    thread.join()
    server.server_close()


def refusal(message: str, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"type": kind, "message": message}}


def test_a_meter_event_travels_whole(answers: Any) -> None:
    """Plain digits, and always a timestamp and an identifier."""
    url, planned, got = answers
    planned.append((200, {"object": "billing.meter_event", "identifier": "abc"}))

    StripeMeterEvents("sk_test_x", base_url=url).send(EVENT)

    assert got == [
        {
            "event_name": "calls",
            "identifier": "abc",
            "timestamp": "1",
            "payload[stripe_customer_id]": "cus_1",
            "payload[value]": "100",
        }
    ]


@pytest.mark.parametrize(
    ("status", "body", "raised"),
    [
        (400, refusal("An event already exists with identifier abc."), None),
        (400, refusal("No such customer"), Rejected),
        (401, refusal("Invalid API Key"), Misconfigured),
        (500, refusal("oops", "api_error"), Unavailable),
    ],
)
def test_stripes_answers_say_what_happens_next(answers: Any, status: int, body: Any, raised: Any) -> None:
    """That it has the event already is success."""
    url, planned, _ = answers
    planned.append((status, body))
    send = StripeMeterEvents("sk_test_x", base_url=url).send

    if raised is None:
        send(EVENT)
    else:
        with pytest.raises(raised):
            send(EVENT)
