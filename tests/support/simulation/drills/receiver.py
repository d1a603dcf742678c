"""The endpoint of a workspace's webhooks: it takes everything, and keeps the ids of the events."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import pytest
from tests.support.simulation.kernel.world import World

from nilometer.aws.secrets import AuditKeys
from nilometer.domain.events.outcome import Message, Result
from nilometer.flows.notices import delivery
from nilometer.flows.notices.posting import Posted
from nilometer.flows.notices.webhooks import WebhookMeans

HOOKED = ("a", "ws_0")
"""The workspaces that have an endpoint."""
URL = "https://hooks.example.com/drill"


class WebhookReceiver:
    """Answers 200 to what is signed; `got` and `expected` are ids of events."""

    def __init__(self) -> None:
        self.expected: set[str] = set()
        self.got: set[str] = set()

    def expect(self, event: Mapping[str, Any]) -> None:
        """Announced on the bus, of a workspace that has an endpoint."""
        if event.get("subject") in HOOKED:
            self.expected.add(event["id"])

    def handle(
        self, messages: Sequence[Message], *, keys: AuditKeys, world: World, store: Any, queue: Any, objects: Any
    ) -> list[Result]:
        """The function `hooks`, whose posts come here."""
        means = delivery.DeliveryMeans(
            store=store,
            queue=queue,
            webhooks=WebhookMeans.of(keys, loopback=False),
            now=lambda: world.now,
            monotonic=world.monotonic,
        )
        return delivery.handle(messages, means, objects=objects)

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """One endpoint after the other, for played time is one; and nothing leaves the machine."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(delivery, "ThreadPoolExecutor", InTurn)
            patch.setattr(delivery, "post", self._post)
            yield

    def _post(self, _url: str, body: bytes, headers: Mapping[str, str], *, loopback: bool) -> Posted:
        assert not loopback
        if not headers["webhook-signature"].startswith("v1,"):
            return Posted(401)
        self.got.add(json.loads(body)["id"])
        return Posted(200)


class InTurn:
    """Threads that run when they are asked to."""

    def __init__(self, _count: int) -> None:
        pass

    def __enter__(self) -> InTurn:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, work: Callable[..., Any], *given: Any) -> Future[Any]:
        """What it raised is raised by `result`."""
        done: Future[Any] = Future()
        done.set_result(work(*given))
        return done
