"""Webhooks on their way: each endpoint by itself, at least once, and never to an address that is not public."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from docs.samples import samples
from standardwebhooks.webhooks import Webhook as Verifier
from tests.support.people import workspace

from nilometer import CreateWebhook, RotateWebhookSecret, UpdateWebhook, UpdateWorkspace, perform, service
from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.domain.notices.webhook import PATIENCE, Webhook
from nilometer.errors import Unavailable
from nilometer.flows.notices import posting
from nilometer.flows.notices.delivery import DeliveryMeans, handle
from nilometer.flows.notices.posting import is_public, post
from nilometer.flows.notices.webhooks import WebhookMeans, webhooks

MEANS = WebhookMeans(lambda: "key of the stack", loopback=True)
US = service("ws_acme", "tests")
TYPE = "usage.threshold_reached.v1"


@dataclass
class Receiver:
    """A page of ten lines: it keeps what comes, and answers what it is told to, 400 to what it `refuses`, or what it
    `drips` over and over."""

    port: int
    status: int = 200
    refuses: bytes = b"no event has this"
    seconds: float = 0.0
    begins: bytes = b""
    drips: bytes = b""
    got: list[tuple[bytes, dict[str, str]]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?of=acme"


@pytest.fixture
def receivers() -> Iterator[list[Receiver]]:
    """Two of them."""
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), _answering) for _ in range(2)]
    for server in servers:
        server.receiver = Receiver(server.server_port)  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield [server.receiver for server in servers]  # type: ignore[attr-defined]
    for server in servers:
        server.shutdown()
        server.server_close()


class _answering(BaseHTTPRequestHandler):  # noqa: N801  # used as a function
    def do_POST(self) -> None:  # http.server's name
        receiver: Receiver = self.server.receiver  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers["content-length"]))
        receiver.got.append((body, {name.lower(): value for name, value in self.headers.items()}))
        time.sleep(receiver.seconds)
        if receiver.drips:
            self._drip(receiver)
            return
        self.send_response(400 if receiver.refuses in body else receiver.status)
        self.send_header("location", "http://169.254.169.254/latest/meta-data")
        self.end_headers()

    def _drip(self, receiver: Receiver) -> None:
        """For three seconds, or until the other end is closed."""
        with contextlib.suppress(OSError):
            self.wfile.write(receiver.begins)
            for _ in range(15):
                self.wfile.write(receiver.drips)
                time.sleep(0.2)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


class Line:
    """A queue in the process; `lost` answers that nothing was taken."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.groups: list[str] = []
        self.lost = False

    def send(self, bodies: Sequence[str], *, group: str) -> None:
        if self.lost:
            raise Unavailable("SQS did not answer")
        self.sent += bodies
        self.groups.append(group)


@dataclass
class Way:
    """From the bus to the receivers."""

    store: Store
    objects: Objects
    queue: Line = field(default_factory=Line)
    now: datetime = field(default_factory=lambda: datetime.now(UTC))  # a receiver refuses what is older than minutes
    webhooks: WebhookMeans = MEANS

    def tried(self, *bodies: str) -> list[Result]:
        means = DeliveryMeans(store=self.store, queue=self.queue, webhooks=self.webhooks, now=lambda: self.now)
        return handle([Message(str(n), body) for n, body in enumerate(bodies)], means, objects=self.objects)

    def outcomes(self, *bodies: str) -> list[Outcome]:
        return [one.outcome for one in self.tried(*bodies)]

    def hook(self, url: str, **more: Any) -> Webhook:
        return perform(self.store, US, CreateWebhook(url=url, loopback=True, **more), now=self.now)

    def shown(self) -> list[Webhook]:
        return webhooks(self.store, US)


@pytest.fixture
def way(store: Store, objects: Objects) -> Way:
    workspace(store, "ws_acme")
    return Way(store, objects)


def announced(event_id: str = "", type_: str = TYPE) -> str:
    """As the bus delivers it to the queue."""
    sample = json.loads(json.dumps(samples()[type_]))
    sample["detail"]["id"] = event_id or sample["detail"]["id"]
    return json.dumps(sample)


def test_each_endpoint_that_wants_it_gets_a_signed_event(way: Way, receivers: list[Receiver]) -> None:
    """The event as the bus has it, verified by the standard's own library; who wants other types gets nothing."""
    here, other = receivers
    hook = way.hook(here.url)
    way.hook(other.url, types=["limit.blocked.v1"])

    assert way.outcomes(announced()) == [Outcome.ACCEPTED]
    assert way.outcomes(*way.queue.sent) == [Outcome.ACCEPTED]
    [(body, headers)] = here.got
    assert Verifier(MEANS.secret(hook)).verify(body, headers) == samples()[TYPE]["detail"]
    assert (headers["content-type"], headers["host"]) == ("application/cloudevents+json", f"127.0.0.1:{here.port}")
    assert (other.got, len(set(way.queue.groups))) == ([], 1)


def test_what_nobody_wants_costs_one_read(way: Way) -> None:
    """No endpoint, one that is off, another type, a workspace that is unknown or deleted."""
    assert way.outcomes(announced()) == [Outcome.IGNORED]
    hook = way.hook("https://hooks.example.com/")
    perform(way.store, US, UpdateWebhook(webhook_id=hook.id, enabled=False), now=way.now)
    assert way.outcomes(announced()) == [Outcome.IGNORED]
    perform(way.store, US, UpdateWebhook(webhook_id=hook.id, enabled=True), now=way.now)
    perform(way.store, US, UpdateWorkspace(status="deleted"), now=way.now)
    assert way.outcomes(announced()) == [Outcome.IGNORED]
    assert way.queue.sent == []


def test_an_endpoint_that_fails_repeats_no_other(way: Way, receivers: list[Receiver]) -> None:
    """Its own message comes again with the same id, and since when it fails is noted until it works."""
    bad, good = receivers
    bad.status = 500
    way.hook(bad.url, webhook_id="bad")
    way.hook(good.url, webhook_id="good")
    way.tried(announced())

    results = way.tried(*way.queue.sent)
    assert [one.outcome for one in results] == [Outcome.FAILED, Outcome.ACCEPTED]
    assert results[0].fields["error"] == "answered 500"
    assert [one.failing_since is None for one in way.shown()] == [False, True]
    bad.status = 204
    assert way.outcomes(way.queue.sent[0]) == [Outcome.ACCEPTED]
    assert [one.failing_since for one in way.shown()] == [None, None]
    assert len({headers["webhook-id"] for _, headers in [*bad.got, *good.got]}) == 1
    assert (len(bad.got), len(good.got)) == (2, 1)


def test_a_slow_endpoint_delays_no_other(way: Way, receivers: list[Receiver], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried once in a batch, and the others are posted to meanwhile."""
    slow, quick = receivers
    slow.seconds = 12.0
    monkeypatch.setattr(posting, "READ_SECONDS", 2.0)
    way.hook(slow.url, webhook_id="slow")
    way.hook(quick.url, webhook_id="quick")
    way.tried(*(announced(f"e{number}") for number in range(5)))

    began = time.monotonic()
    results = way.tried(*way.queue.sent)
    assert time.monotonic() - began < 8  # five tries would be ten seconds
    by_hook = {one.fields["event_id"]: one.outcome for one in results if one.fields.get("webhook") == "quick"}
    assert by_hook == {f"e{number}": Outcome.ACCEPTED for number in range(5)}
    assert (len(slow.got), len(quick.got)) == (1, 5)
    assert [one.outcome for one in results].count(Outcome.FAILED) == 5


def test_an_event_that_is_refused_delays_none_behind_it(way: Way, receivers: list[Receiver]) -> None:
    """Else those would be dead letters with it: a batch may begin with it each time."""
    receivers[0].refuses = b'"e0"'
    way.hook(receivers[0].url)
    way.tried(*(announced(f"e{number}") for number in range(4)))

    assert way.outcomes(*way.queue.sent) == [Outcome.FAILED, *[Outcome.ACCEPTED] * 3]
    assert len(receivers[0].got) == 4


@pytest.mark.parametrize(
    ("begins", "drips"),
    [
        (b"HTTP/1.1 200 OK\r\nx: ", b"a"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 8000\r\nconnection: close\r\n\r\n", b"a"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
)
def test_an_answer_that_never_ends_is_none(
    receivers: list[Receiver], monkeypatch: pytest.MonkeyPatch, begins: bytes, drips: bytes
) -> None:
    """Each byte comes in time; all of them do not."""
    monkeypatch.setattr(posting, "CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(posting, "READ_SECONDS", 0.5)
    receivers[0].begins, receivers[0].drips = begins, drips

    began = time.monotonic()
    assert post(receivers[0].url, b"{}", {}, loopback=True, reads=8000).reason == "no_answer"
    assert time.monotonic() - began < 20


def test_an_endpoint_that_is_gone_or_fails_for_days_is_off(way: Way, receivers: list[Receiver]) -> None:
    """410 at once, everything else after five days; what is on its way for it is then dropped."""
    gone, dead = receivers
    gone.status, dead.status = 410, 503
    way.hook(gone.url, webhook_id="gone")
    way.hook(dead.url, webhook_id="dead")
    way.tried(announced())

    assert sorted(way.outcomes(*way.queue.sent)) == [Outcome.FAILED, Outcome.IGNORED]
    assert {one.id: one.off for one in way.shown()} == {"gone": "gone", "dead": None}
    for _ in range(PATIENCE.days):
        assert [one.off for one in way.shown() if one.id == "dead"] == [None]
        way.now += timedelta(days=1)
        assert sorted(way.outcomes(*way.queue.sent)) == [Outcome.FAILED, Outcome.IGNORED]
    assert {one.id: one.off for one in way.shown()} == {"gone": "gone", "dead": "failing"}
    assert way.outcomes(*way.queue.sent) == [Outcome.IGNORED, Outcome.IGNORED]


def test_two_failures_with_days_between_them_are_no_outage(way: Way, receivers: list[Receiver]) -> None:
    """Nothing was tried between them, so nobody knows that it did not work: it begins to fail anew."""
    receivers[0].status = 503
    way.hook(receivers[0].url)
    way.tried(announced())
    assert way.outcomes(*way.queue.sent) == [Outcome.FAILED]
    way.now += PATIENCE + timedelta(days=1)

    assert way.outcomes(*way.queue.sent) == [Outcome.FAILED]
    assert [one.off for one in way.shown()] == [None]
    receivers[0].status = 200
    assert way.outcomes(*way.queue.sent) == [Outcome.ACCEPTED]


def test_both_secrets_sign_while_one_is_rotated(way: Way, receivers: list[Receiver]) -> None:
    """Until the overlap is over."""
    hook = way.hook(receivers[0].url)
    again = perform(way.store, US, RotateWebhookSecret(webhook_id=hook.id, overlap_hours=1), now=way.now)
    way.tried(announced())
    way.tried(*way.queue.sent)
    way.now += timedelta(hours=2)
    way.tried(*way.queue.sent)

    (body, headers), (_, later) = receivers[0].got
    for one in (hook, again):
        assert Verifier(MEANS.secret(one)).verify(body, headers)
    assert [len(told["webhook-signature"].split()) for told in (headers, later)] == [2, 1]


def test_a_queue_that_is_away_loses_nothing(way: Way, receivers: list[Receiver]) -> None:
    """The announcement comes again."""
    way.hook(receivers[0].url)
    way.queue.lost = True

    assert way.outcomes(announced()) == [Outcome.FAILED]
    way.queue.lost = False
    assert way.outcomes(announced()) == [Outcome.ACCEPTED]


@pytest.mark.parametrize("body", ["", "{", "[]", announced(type_="billing.risk_changed.v1"), "{}", '"x"'])
def test_what_is_no_announcement_is_a_reject(way: Way, body: str) -> None:
    """And its neighbour passes."""
    assert way.outcomes(body, announced()) == [Outcome.REJECTED, Outcome.IGNORED]


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),  # noqa: S104
        *("224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "ff02::1", "fec0::1", "fe80::1%eth0"),
        *("::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "2001:0:a00:1::", "::ffff:8.8.8.8", "nonsense"),
    ],
)
def test_an_address_inside_is_not_public(address: str) -> None:
    """Of either kind, and by whatever translation."""
    assert not is_public(address)


def test_addresses_of_the_internet_are_public() -> None:
    """Of both kinds."""
    assert is_public("8.8.8.8")
    assert is_public("2606:4700:4700::1111")


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], []])
def test_a_name_that_leads_inside_is_not_asked(monkeypatch: pytest.MonkeyPatch, addresses: list[str]) -> None:
    """Also when only one of its addresses does, and whatever it led to when the webhook was created."""
    resolved = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 443)) for one in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_more: resolved)
    monkeypatch.setattr(socket, "create_connection", lambda *_args, **_more: pytest.fail("it was asked"))

    assert post("https://hooks.example.com/", b"{}", {}).reason == "not_public"


def test_a_name_server_that_does_not_answer_is_a_failed_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """`getaddrinfo` may wait for minutes; the attempt does not, and those after it have a thread all the same."""
    answers = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_more: answers.wait(60) and [])
    monkeypatch.setattr(posting, "LOOKUP_SECONDS", 0.2)
    monkeypatch.setattr(posting, "_free", threading.BoundedSemaphore(2))
    began = time.monotonic()
    reasons = [post("https://hooks.example.com/", b"{}", {}).reason for _ in range(4)]
    took, hung = time.monotonic() - began, [one for one in threading.enumerate() if one.name.startswith("look up")]

    answers.set()
    assert reasons == ["slow_lookup"] * 4
    assert took < 20
    assert [one.daemon for one in hung] == [True, True]  # nobody waits for them at the end, and there are no more
    for one in hung:
        one.join(30)
    assert post("https://hooks.example.com/", b"{}", {}).reason == "not_public"


def test_a_redirect_is_not_followed(receivers: list[Receiver]) -> None:
    """It is an answer that is no success."""
    receivers[0].status = 302
    answered = post(receivers[0].url, b"{}", {}, loopback=True)

    assert (answered.status, answered.delivered) == (302, False)
    assert len(receivers[0].got) == 1


def test_a_receiver_on_this_machine_is_refused_without_the_setting(receivers: list[Receiver]) -> None:
    """At the delivery too, whatever was stored."""
    assert post(receivers[0].url, b"{}", {}).reason == "not_public"
    assert receivers[0].got == []
