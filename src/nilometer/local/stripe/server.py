"""Stripe's HTTP API over a `StripeWorld`, on loopback: what the official SDK needs to fetch, list and be refused.

Objects, lists with cursors, events of the last thirty days, 404, deleted customers, meter events by identifier, webhook
endpoints, rate limits, and a `Date` that is the world's own clock. What else happens is said to the world.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit

from nilometer.local.stripe.endpoints import WebhookEndpoints
from nilometer.local.stripe.shapes import Object
from nilometer.local.stripe.world import StripeWorld

COLLECTIONS = {
    "balance_transactions": "balance_transaction",
    "charges": "charge",
    "checkout/sessions": "checkout.session",
    "coupons": "coupon",
    "credit_notes": "credit_note",
    "customers": "customer",
    "disputes": "dispute",
    "invoice_payments": "invoice_payment",
    "invoices": "invoice",
    "payment_intents": "payment_intent",
    "payment_methods": "payment_method",
    "payouts": "payout",
    "prices": "price",
    "products": "product",
    "promotion_codes": "promotion_code",
    "radar/early_fraud_warnings": "radar.early_fraud_warning",
    "refunds": "refund",
    "subscription_schedules": "subscription_schedule",
    "subscriptions": "subscription",
}
THIN_EVENTS = "v2/core/events/"
EMBEDDED = 10  # elements of a list inside an object; the rest is listed by itself
_FILTERS = ("customer", "subscription", "status", "product", "type", "active")


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeRequest:
    """One request: `path` below `/v1/`, else whole, `form` of the query or of the body, `key` of its idempotency."""

    method: str
    path: str
    form: dict[str, str]
    account: str | None
    key: str | None

    @property
    def collection(self) -> str:
        """`customers` of `customers/cus_1/sources`."""
        return self.path.partition("/")[0]


class FakeStripe:
    """`refuse(n)` answers the next n requests with 429, `lose(n)` does the next n writes and does not answer;
    `requests` counts all; `forbidden` are paths that a restricted key may not use.

    `connected` are the worlds of Connect accounts, by account; who names one in `Stripe-Account` sees only it.
    """

    def __init__(self, world: StripeWorld, connected: Mapping[str, StripeWorld]) -> None:
        self.world = world
        self.connected = connected
        self.requests = 0
        self.refused = 0
        self.forbidden: set[str] = set()
        self.endpoints = WebhookEndpoints()
        self._to_refuse = 0
        self._to_lose = 0
        self._lock = threading.Lock()

    def refuse(self, requests: int) -> None:
        """The next `requests` get 429, as over Stripe's rate limit."""
        with self._lock:
            self._to_refuse = requests

    def lose(self, answers: int) -> None:
        """The next `answers` to writes are lost: the write has happened, the connection closes without an answer."""
        with self._lock:
            self._to_lose = answers

    def answer(self, asked: StripeRequest) -> tuple[int, Object] | None:
        """None for a lost answer."""
        with self._lock:
            self.requests += 1
            if self._to_refuse:
                self._to_refuse -= 1
                self.refused += 1
                return 429, _error("rate_limit", "Too many requests")
            answer = self._answer(asked)
            if self._to_lose and asked.method != "GET":
                self._to_lose -= 1
                return None
            return answer

    def _answer(self, asked: StripeRequest) -> tuple[int, Object]:
        if {asked.path, asked.collection} & self.forbidden:
            return 403, _error("more_permissions_required", "The key may not do this")
        world = self.connected.get(asked.account) if asked.account else self.world
        if world is None:
            return 403, _error("account_invalid", f"The key does not have access to account '{asked.account}'")
        if asked.collection == "webhook_endpoints":
            return self._endpoint(asked)
        seen = _VisibleObjects(world)
        return seen.route(asked.path, asked.form) if asked.method == "GET" else seen.create(asked.path, asked.form)

    def _endpoint(self, asked: StripeRequest) -> tuple[int, Object]:
        _, _, id_ = asked.path.partition("/")
        if id_ and id_ not in self.endpoints.by_id:
            return 404, _error("resource_missing", f"No such webhook endpoint: '{id_}'")
        match asked.method, id_:
            case "GET", _:
                return page(self.endpoints.listed(), asked.path, asked.form)
            case "POST", "":
                return self.endpoints.create(asked.form, key=asked.key, created=self.world.second)
            case "POST", _:
                return 200, self.endpoints.update(id_, asked.form)
            case _:
                return 200, self.endpoints.delete(id_)


class _VisibleObjects:
    """What the API shows of one world."""

    def __init__(self, world: StripeWorld) -> None:
        self.world = world

    def route(self, path: str, query: dict[str, str]) -> tuple[int, Object]:
        if path in COLLECTIONS:
            return page(self._listed(COLLECTIONS[path], query), path, query)
        if path.startswith(THIN_EVENTS):
            found = self.world.reports.get(path.removeprefix(THIN_EVENTS))
            return (200, found) if found else (404, _error("resource_missing", "No such event"))
        if path == "entitlements/active_entitlements" and self._is_gone(query["customer"]):
            return 400, _error("resource_missing", f"No such customer: '{query['customer']}'", param="customer")
        elements = self._elements(path, query)
        if elements is not None:
            return page(elements, path, query)
        collection, _, object_id = path.rpartition("/")
        if collection not in COLLECTIONS:
            return _unrecognized("GET", path)
        return self._object(COLLECTIONS[collection], unquote(object_id))

    def create(self, path: str, form: Mapping[str, str]) -> tuple[int, Object]:
        if path == "billing/meter_events":
            return self._meter_event(form)
        return _unrecognized("POST", path)

    def _meter_event(self, form: Mapping[str, str]) -> tuple[int, Object]:
        """Once an identifier; that its name has no meter Stripe says later, in an event."""
        customer, identifier = form["payload[stripe_customer_id]"], form["identifier"]
        if identifier in self.world.meter_events:
            return 400, _error("", f"An event already exists with identifier {identifier}.")
        if self.world.objects.get(customer, {}).get("object") != "customer":
            return 400, _error("resource_missing", f"No such customer: '{customer}'")
        if not -35 * 86400 <= int(form["timestamp"]) - self.world.second <= 300:
            return 400, _error("timestamp_too_far_in_past", "The timestamp is within the past 35 days")
        self.world.meter_events[identifier] = {"object": "billing.meter_event", **form}
        return 200, self.world.meter_events[identifier]

    def _elements(self, path: str, query: dict[str, str]) -> list[Object] | None:
        """Of the lists that are no collection of objects."""
        match path:
            case "events":
                return [{k: v for k, v in e.items() if k != "account"} for e in reversed(self.world.events)]
            case "subscription_items":
                return list(self.world.objects[query["subscription"]]["items"]["data"])
            case "entitlements/active_entitlements":
                return self.world.entitlements.get(query["customer"], [])
            case "entitlements/features":
                return self._features()
            case _:
                return None

    def _is_gone(self, customer: str) -> bool:
        known = self.world.objects.get(customer)
        return known is None or bool(known.get("deleted"))

    def _object(self, kind: str, object_id: str) -> tuple[int, Object]:
        """A deleted customer is 200 and says so; any other deleted object is 404."""
        known = self.world.objects.get(object_id)
        if known is None or known["object"] != kind or (known.get("deleted") and kind != "customer"):
            return 404, _error("resource_missing", f"No such {kind}: '{object_id}'")
        return 200, _shortened(known)

    def _listed(self, kind: str, query: dict[str, str]) -> list[Object]:
        """Newest first, without deleted ones, detached methods and inline prices; subscriptions that ended and archived
        prices only when asked for."""
        found = [o for o in self.world.objects.values() if o["object"] == kind and not o.get("deleted")]
        if kind == "payment_method":
            found = [o for o in found if o["customer"]]
        if kind == "subscription" and query.get("status") in (None, "all"):
            ended = {"canceled", "incomplete_expired"}
            found = [o for o in found if query.get("status") == "all" or o["status"] not in ended]
            query = {name: value for name, value in query.items() if name != "status"}
        if kind == "price":
            found = [o for o in found if o["id"] not in self.world.inline]
            query = {"active": "true", **query}
        wanted = [(name, value) for name, value in query.items() if name in _FILTERS]
        kept = [o for o in found if all(_as_text(o.get(name)) == value for name, value in wanted)]
        return [_shortened(o) for o in sorted(kept, key=lambda o: (o["created"], o["id"]), reverse=True)]

    def _features(self) -> list[Object]:
        return [
            {"id": f"feat_{key}", "object": "entitlements.feature", "lookup_key": key, "metadata": dict(metadata)}
            for key, metadata in sorted(self.world.features.items())
        ]


def _unrecognized(method: str, path: str) -> tuple[int, Object]:
    """A 404 without a code: it says nothing of any object."""
    return 404, _error("", f"Unrecognized request URL ({method}: /v1/{path})")


def page(elements: list[Object], path: str, query: dict[str, str]) -> tuple[int, Object]:
    """Cursors are ids, as Stripe's are: `starting_after`, `ending_before`."""
    since, until = int(query.get("created[gte]", 0)), int(query.get("created[lte]", 1 << 40))
    elements = [e for e in elements if since <= e.get("created", since) <= until]
    ids = [element["id"] for element in elements]
    start = ids.index(query["starting_after"]) + 1 if query.get("starting_after") in ids else 0
    limit = min(int(query.get("limit", 10)), 100)
    more = start + limit < len(elements)
    data = elements[start : start + limit]
    return 200, {"object": "list", "url": f"/v1/{path}", "has_more": more, "data": data}


@contextlib.contextmanager
def serve(
    world: StripeWorld, port: int = 0, connected: Mapping[str, StripeWorld] = {}
) -> Iterator[tuple[str, FakeStripe]]:
    """Its base URL and controls, for as long as the block runs."""
    fake = FakeStripe(world, connected)
    server = ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (_StripeApiHandler,), {"stripe": fake}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", fake
    finally:
        server.shutdown()
        server.server_close()


class _StripeApiHandler(BaseHTTPRequestHandler):
    stripe: ClassVar[FakeStripe]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:  # the name that http.server calls
        self._answer(urlsplit(self.path).query)

    def do_POST(self) -> None:  # as above
        self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode())

    do_DELETE = do_POST  # noqa: N815  # as above

    def _answer(self, form: str) -> None:
        asked = StripeRequest(
            method=self.command,
            path=urlsplit(self.path).path.removeprefix("/v1/").strip("/"),
            form=dict(parse_qsl(form, keep_blank_values=True)),
            account=self.headers.get("Stripe-Account"),
            key=self.headers.get("Idempotency-Key"),
        )
        answer = self.stripe.answer(asked)
        if answer is None:
            self.close_connection = True
            return
        status, body = answer
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def date_time_string(self, timestamp: float | None = None) -> str:  # noqa: ARG002  # the base class names it
        return format_datetime(self.stripe.world.now, usegmt=True)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class names it
        """A test's output is its own."""


def _as_text(value: Any) -> str:
    """As a query says it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shortened(known: Object) -> Object:
    items = known.get("items")
    if not isinstance(items, dict) or len(items["data"]) <= EMBEDDED:
        return known
    return {**known, "items": {**items, "data": items["data"][:EMBEDDED], "has_more": True}}


def _error(code: str, message: str, *, param: str | None = None) -> Object:
    named = {"param": param} if param else {}
    return {"error": {"type": "invalid_request_error", "code": code, "message": message, **named}}
