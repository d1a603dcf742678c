"""Queues in played time: visibility, receives, dead letters; and the client of them all."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.support.simulation.drills.outages import TroubledService
from tests.support.simulation.kernel.world import SimRequest
from tests.support.simulation.services.messages import TROUBLES, refused

DEAD = "dead "


@dataclass
class QueuedMessage:
    """One message: when it can be received, how often it was, since when it is in this queue."""

    id: str
    body: str
    sent_at: datetime
    visible_at: datetime
    attributes: dict[str, Any] = field(default_factory=dict)
    receives: int = 0


@dataclass
class TimedQueue:
    """`name` is its URL, too."""

    name: str
    messages: list[QueuedMessage] = field(default_factory=list)

    def visible(self, now: datetime) -> list[QueuedMessage]:
        """What a receive may get, the oldest first."""
        return [one for one in self.messages if one.visible_at <= now]

    def put(self, body: str, now: datetime, attributes: dict[str, Any] | None = None) -> None:
        """A new message, visible at once."""
        self.messages.append(QueuedMessage(f"{self.name} {next(_ids)}", body, now, now, attributes or {}))


_ids = itertools.count()


class SimQueues:
    """boto3's client of SQS over all queues, each with its troubles; a dead-letter queue has those of its source."""

    def __init__(self, queues: dict[str, TimedQueue], services: dict[str, Any], sent: Callable[[str], None]) -> None:
        self._queues = queues
        self._services = services
        self._sent = sent

    def send_message_batch(self, *, QueueUrl: str, Entries: Sequence[Any]) -> dict[str, Any]:  # noqa: N803
        """Takes all, a part, or none; what was taken may have lost its answer."""

        def perform(trouble: str) -> dict[str, Any]:
            if trouble == "refused":
                raise refused()
            count = len(Entries) // 2 if trouble == "part" else len(Entries)
            for entry in Entries[:count]:
                attributes = entry.get("MessageAttributes", {})
                self._queues[QueueUrl].put(entry["MessageBody"], self._now(QueueUrl), attributes)
            self._sent(QueueUrl)
            if trouble == "lost":
                raise refused()
            return {"Failed": [{"Id": entry["Id"]} for entry in Entries[count:]]}

        troubles = (*TROUBLES, "part") if len(Entries) > 1 else TROUBLES
        return self._ask(QueueUrl, "send", troubles, perform)

    def receive_message(self, *, QueueUrl: str, MaxNumberOfMessages: int, **given: Any) -> dict[str, Any]:  # noqa: N803
        """Hides what it gives for the time that was asked for."""

        def perform(trouble: str) -> dict[str, Any]:
            if trouble:
                raise refused()
            now = self._now(QueueUrl)
            found = self._queues[QueueUrl].visible(now)[:MaxNumberOfMessages]
            for one in found:
                one.receives += 1
                one.visible_at = now + timedelta(seconds=given["VisibilityTimeout"])
            return {"Messages": list(map(_received, found))}

        return self._ask(QueueUrl, "receive", ("refused",), perform)

    def delete_message_batch(self, *, QueueUrl: str, Entries: Sequence[Any]) -> dict[str, Any]:  # noqa: N803
        """The handle of a message is its id."""

        def perform(trouble: str) -> dict[str, Any]:
            if trouble == "refused":
                raise refused()
            gone = {entry["ReceiptHandle"] for entry in Entries}
            queue = self._queues[QueueUrl]
            queue.messages = [one for one in queue.messages if one.id not in gone]
            if trouble == "lost":
                raise refused()
            return {}

        return self._ask(QueueUrl, "delete", ("refused", "lost"), perform)

    def change_message_visibility_batch(self, *, QueueUrl: str, Entries: Sequence[Any]) -> dict[str, Any]:  # noqa: N803
        """Shows again at once."""
        handles = {entry["ReceiptHandle"] for entry in Entries}
        for one in self._queues[QueueUrl].messages:
            if one.id in handles:
                one.visible_at = self._now(QueueUrl)
        return {}

    def _now(self, url: str) -> datetime:
        return self._service(url).now  # type: ignore[no-any-return]

    def _service(self, url: str) -> TroubledService:
        found: TroubledService = self._services[f"queue {url.removeprefix(DEAD)}"]
        return found

    def _ask(self, url: str, operation: str, troubles: Sequence[str], perform: Callable[[str], Any]) -> dict[str, Any]:
        what = SimRequest(operation, troubles, lambda: f"{operation} {url}")
        answer: dict[str, Any] = self._service(url).request(what, perform, lambda _: "")
        return answer


def _received(one: QueuedMessage) -> dict[str, Any]:
    milliseconds = str(int(one.sent_at.timestamp() * 1000))
    return {
        "MessageId": one.id,
        "ReceiptHandle": one.id,
        "Body": one.body,
        "MessageAttributes": one.attributes,
        "Attributes": {
            "SentTimestamp": milliseconds,
            "ApproximateFirstReceiveTimestamp": milliseconds,
            "ApproximateReceiveCount": str(one.receives),
            "DeadLetterQueueSourceArn": "source",
        },
    }
