"""A stack in memory: the handlers and flows of the real one on tables in the process, without a port or a process.

    request ──▶ the API's router ──▶ tables in memory
                  └▶ bus ──▶ the usage, operations and billing flows at once, then the reactions to what they changed

Not in it: the lake, the webhook's signatures, schedules, and every delay.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

import httpx2

from nilometer.aws.eventbridge import Bus, BusEntry
from nilometer.aws.items import marshal
from nilometer.client.aio.client import AsyncClient
from nilometer.client.client import Client
from nilometer.client.testing.memory import MemoryObjects, MemoryStore
from nilometer.domain.acts.act import operator, service
from nilometer.domain.events.outcome import Message, Result
from nilometer.domain.limits.own_deeds import LimitRule, OverrideLimit
from nilometer.domain.people.workspace import CreateWorkspace
from nilometer.domain.store.writes import Table
from nilometer.domain.usage.meter_deeds import CreateMeter
from nilometer.flows.api import keys
from nilometer.flows.api.route import ApiMeans
from nilometer.flows.billing import batch as billing
from nilometer.flows.limits.reactions import react
from nilometer.flows.notices.webhooks import WebhookMeans
from nilometer.flows.operations import batch as operations
from nilometer.flows.operations.types import TYPES
from nilometer.flows.people.acting import perform
from nilometer.flows.recovery.overview import used_by
from nilometer.flows.usage import batch as usage
from nilometer.flows.usage.known import Known
from nilometer.lambdas.http.api import router

URL = "http://nilometer.test"
_Handle = Callable[[Sequence[Message]], Sequence[Result]]


class FakeBus(Bus):
    """Hands every entry on at once, and keeps it in `entries`; its client is never asked."""

    def __init__(self, deliver: Callable[[BusEntry], None]) -> None:
        self.entries: list[BusEntry] = []
        self._deliver = deliver

    def publish(self, entries: Sequence[BusEntry], *, attempts: int = 4) -> None:
        """All of them are taken."""
        self.entries += entries
        for entry in entries:
            self._deliver(entry)


class FakeTransport(httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    """Answers in the place of the network, one request at a time."""

    def __init__(self, handler: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
        self._handler = handler
        self._lock = threading.RLock()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """As API Gateway hands it to the function."""
        request.read()
        with self._lock:
            answered = self._handler(_event(request))
        headers = {name: str(value) for name, value in (answered.get("headers") or {}).items()}
        for name, values in (answered.get("multiValueHeaders") or {}).items():
            headers[name] = ",".join(map(str, values))
        return httpx2.Response(answered["statusCode"], headers=headers, content=(answered.get("body") or "").encode())

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The same; nothing in it waits."""
        await request.aread()
        return self.handle_request(request)


class FakeStack:
    """`store`, `objects` and `bus` are the tables, the bucket and the bus; `results` what became of each message."""

    def __init__(self) -> None:
        self.store, self.objects = MemoryStore(), MemoryObjects()
        self.bus = FakeBus(self._delivered)
        self.results: list[Result] = []
        self._known = Known(self.store)
        self._seen: dict[Any, Any] = {}
        routes = router(ApiMeans(self.store, self.bus, self._known, WebhookMeans(lambda: "of a stack in memory")))
        self.transport = FakeTransport(lambda event: cast(Any, routes.resolve(event, cast(Any, None))))

    def key(self, workspace_id: str = "", *scopes: str, ends_at: datetime | None = None) -> str:
        """An API key of a workspace, or of a service; with every scope when none is named."""
        caller = service(workspace_id, "tests") if workspace_id else operator("tests")
        made = keys.create(self.store, caller, name="test", scopes=scopes or ["*"], ends_at=ends_at, now=_now())
        return made.token

    def client(self, key: str | None = None, **options: Any) -> Client:
        """With a service key, or the one that is given."""
        return Client(URL, key or self.key(), transport=self.transport, **options)

    def async_client(self, key: str | None = None, **options: Any) -> AsyncClient:
        """With a service key, or the one that is given."""
        return AsyncClient(URL, key or self.key(), transport=self.transport, **options)

    def workspace(self, workspace_id: str, *, admin: str = "ada") -> None:
        """A workspace that is open."""
        caller = service(workspace_id, "tests")
        perform(self.store, caller, CreateWorkspace(name=workspace_id, slug=workspace_id, admin=admin), now=_now())

    def meter(self, meter: str, *, unit: str = "call") -> None:
        """A meter that sums."""
        perform(self.store, operator("tests"), CreateMeter(meter=meter, unit=unit, aggregation="sum"), now=_now())

    def limit(self, workspace_id: str, meter: str, hard: int) -> None:
        """A hard limit of the workspace itself, in effect at once."""
        rule = LimitRule(included=str(hard), hard=str(hard))
        perform(self.store, service(workspace_id, "tests"), OverrideLimit(meter=meter, limit=rule), now=_now())
        self._known.tenants([workspace_id], fresh=True)

    def stripe(self, event: Mapping[str, Any]) -> Sequence[Result]:
        """One of Stripe's events, as the webhook publishes it once its signature is checked."""
        entry = BusEntry(source="nilometer.webhook", detail_type=str(event["type"]), detail=json.dumps(event))
        return self._settled(entry, self._billing)

    def used(self, workspace_id: str, meter: str) -> Decimal:
        """What is counted in the period of now."""
        found = {one.meter: one.used for one in used_by(self.store, workspace_id, now=_now())}
        return found.get(meter, Decimal(0))

    def _delivered(self, entry: BusEntry) -> None:
        handle = self._usage if entry.detail_type.startswith("usage.") else None
        handle = self._operations if entry.detail_type in TYPES else handle
        if handle:
            self._settled(entry, handle)

    def _settled(self, entry: BusEntry, handle: _Handle) -> Sequence[Result]:
        body = {
            "version": "0",
            "id": str(len(self.bus.entries)),
            "source": entry.source,
            "time": _now().strftime("%Y-%m-%dT%H:%M:%SZ"),
            "detail-type": entry.detail_type,
            "detail": json.loads(entry.detail),
        }
        results = handle([Message("1", json.dumps(body))])
        self.results += results
        self._react()
        return results

    def _usage(self, messages: Sequence[Message]) -> Sequence[Result]:
        objects: Any = self.objects
        return usage.handle(messages, store=self.store, objects=objects, known=self._known, now=_now())

    def _operations(self, messages: Sequence[Message]) -> Sequence[Result]:
        objects: Any = self.objects
        return operations.handle(messages, store=self.store, objects=objects, now=_now())

    def _billing(self, messages: Sequence[Message]) -> Sequence[Result]:
        objects: Any = self.objects
        return billing.handle(messages, store=self.store, objects=objects, now=_now())

    def _react(self) -> None:
        """To what changed since the last time, as in the stream of the records."""
        changed = [
            {
                "eventName": "MODIFY",
                "dynamodb": {
                    "SequenceNumber": str(number),
                    "NewImage": marshal(item),
                    **({"OldImage": marshal(self._seen[key])} if key in self._seen else {}),
                },
            }
            for number, (key, item) in enumerate(self.store.items.items())
            if key[0] is Table.RECORDS and self._seen.get(key) is not item
        ]
        self._seen = dict(self.store.items)
        react(changed, known=self._known, now=_now())


def _event(request: httpx2.Request) -> dict[str, Any]:
    """Payload format 2.0."""
    path, query = request.url.path, request.url.query.decode()
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": query,
        "queryStringParameters": dict(request.url.params) or None,
        "headers": {name.lower(): value for name, value in request.headers.items()},
        "requestContext": {"http": {"method": request.method, "path": path}, "stage": "$default"},
        **_body(request.content),
    }


def _body(content: bytes) -> dict[str, Any]:
    """As text, and in base64 where it is none."""
    try:
        return {"body": content.decode(), "isBase64Encoded": False}
    except UnicodeDecodeError:
        return {"body": base64.b64encode(content).decode(), "isBase64Encoded": True}


def _now() -> datetime:
    return datetime.now(UTC)
