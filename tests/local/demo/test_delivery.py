"""Posts as Stripe posts: signed, again on 5xx, never again on 4xx."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from nilometer.domain.stripe.signature import verify
from nilometer.local.demo.delivery import WebhookClient

SECRET = "whsec_test"


class Webhook(BaseHTTPRequestHandler):
    """Answers what the body asks for, one status after the other."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[Counter[bytes]] = Counter()
    connections: ClassVar[set[int]] = set()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        verify(body, self.headers["stripe-signature"], secrets=[SECRET], now=datetime.now(UTC))
        Webhook.connections.add(self.client_address[1])
        statuses = json.loads(body)["answers"]
        status = statuses[min(Webhook.seen[body], len(statuses) - 1)]
        Webhook.seen[body] += 1
        answer = json.dumps({"message": f"said {status}"}).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def endpoint() -> Iterator[WebhookClient]:
    Webhook.seen.clear()
    Webhook.connections.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield WebhookClient(f"http://127.0.0.1:{server.server_port}/webhooks/stripe", secret=SECRET)
    server.shutdown()
    server.server_close()


def body(*answers: int, n: int = 0) -> bytes:
    return json.dumps({"answers": answers, "n": n}).encode()


def test_what_is_not_taken_is_posted_again(endpoint: WebhookClient) -> None:
    """5xx and 429 pass."""
    delivery = endpoint.deliver(1, body(500, 429, 200))

    assert (delivery.taken, delivery.attempts) == (True, 3)


def test_a_refusal_is_final(endpoint: WebhookClient) -> None:
    """And brings the endpoint's own words."""
    delivery = endpoint.deliver(1, body(400, 200))

    assert (delivery.status, delivery.attempts, delivery.reason) == (400, 1, "said 400")


def test_patience_ends(endpoint: WebhookClient) -> None:
    """An endpoint that is down does not hold up the rest for ever."""
    delivery = endpoint.deliver(1, body(503), attempts=2)

    assert (delivery.taken, delivery.status, delivery.attempts) == (False, 503, 2)


def test_nobody_there_is_told(endpoint: WebhookClient) -> None:
    """Status 0 with the reason."""
    delivery = WebhookClient("http://127.0.0.1:9/webhooks/stripe", secret=SECRET).deliver(1, b"{}", attempts=1)

    assert (delivery.taken, delivery.status) == (False, 0)
    assert delivery.reason


def test_many_go_over_few_connections(endpoint: WebhookClient) -> None:
    """Each exactly once, with its number."""
    delivered = list(endpoint.deliver_all(((n, body(200, n=n)) for n in range(200)), connections=4))

    assert sorted(delivery.number for delivery in delivered) == list(range(200))
    assert set(Webhook.seen.values()) == {1}
    assert len(Webhook.connections) <= 4
