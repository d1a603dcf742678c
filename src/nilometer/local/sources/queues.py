"""SQS event source mappings: batches by size, window and payload, Lambda's rules of what is deleted.

The first message of an idle queue goes at once, with what came beside it, and the window counts from the batch before:
Lambda would wait for the window, but on one machine somebody is looking.

What failed is seen again after a short back-off and not after the queue's visibility timeout (minutes,
for six times the function's timeout), so that retries on one machine take seconds. Redrive to the
dead-letter queue after `maxReceiveCount` is the queue's own.

Source: Lambda Developer Guide, "Using Lambda with Amazon SQS".
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from nilometer.local.plane.deployed import DeployedQueue, QueueMapping
from nilometer.local.plane.filters import message_passes
from nilometer.local.sources.batches import PAYLOAD_BYTES, encoded, event, failed_identifiers
from nilometer.local.sources.source import Feed, Poller

CONCURRENCY = 2  # invocations of a mapping at once, on one machine
POLL_SECONDS = 1  # between two receives when the engine does not say what is new
RETRY_SECONDS = 1.0
SPARED_RECEIVES = 3  # from this delivery on chaos breaks nothing
LOOK_SECONDS = 0.5  # between two receives while a batch gathers or every invocation is busy
BUSY_WINDOWS = 4  # that a batch gathers at most under load
BUSY_MESSAGES = 100  # in a batch are load
MUCH_BYTES = 256 * 1024  # after which more is received at once
_REQUEST_RECORDS = 10  # of one SQS request
_DELETED_TOGETHER = 500


@dataclass(frozen=True, slots=True)
class MessageDelivery:
    """A message as the function gets it. A copy is one more delivery of a message, by chaos, and is not settled."""

    record: Mapping[str, Any]
    content: bytes  # of the record, as JSON
    copy: bool = False

    @property
    def size(self) -> int:
        """In an event, with the separator."""
        return len(self.content) + 1

    @property
    def message_id(self) -> str:
        """Stays the same in every delivery of a message."""
        return str(self.record["messageId"])

    @property
    def handle(self) -> str:
        """What deletes this delivery, or shows its message again. Each delivery has its own."""
        return str(self.record["receiptHandle"])

    @property
    def receives(self) -> int:
        """How often the message has been received, this time included."""
        return int(self.record["attributes"]["ApproximateReceiveCount"])


class QueuePoller(Poller):
    """Runs one mapping; each of its batches has a thread too."""

    def __init__(self, mapping: QueueMapping, feed: Feed) -> None:
        super().__init__(f"queue-{mapping.queue.name}", feed, retry_seconds=RETRY_SECONDS)
        self._mapping = mapping
        self._sqs = feed.client("sqs")
        self._free = threading.Semaphore(concurrency(mapping))
        self._running: set[threading.Thread] = set()
        self._waiting: list[MessageDelivery] = []
        self._ended = threading.Event()  # an invocation has, since the last look
        self._opened = 0.0  # since when the waiting fill their window
        self._dispatched = float("-inf")  # when the last batch went
        self._last = 0  # messages of it
        self._later: list[MessageDelivery] = []  # copies and held back messages of chaos

    @property
    def queue(self) -> DeployedQueue:
        """Where it takes messages from."""
        return self._mapping.queue

    @property
    def held(self) -> int:
        """Deliveries that were received and are in no invocation yet."""
        return len(self._waiting) + len(self._later)

    def stop(self) -> None:
        super().stop()
        self._ended.set()

    def join(self) -> None:
        """What is in no invocation goes back to the queue, visible at once."""
        super().join()
        for batch in list(self._running):
            batch.join()
        with contextlib.suppress(ClientError, BotoCoreError):
            self._see_again(_originals(self._waiting + self._later), lambda _: 0)

    def _turn(self) -> None:
        """One receive, and one batch if it is due: full, or its window over.

        Under load the waiting batch grows, for `BUSY_WINDOWS` at most, while an invocation runs or messages go on to
        come: few large batches cost less than many.
        """
        self._ended.clear()
        seen = self._feed.bell.seen(self._mapping.queue.name)
        received = [] if self._full() else self._receive()
        if not self._waiting:
            received = received or self._due()
            if not received:
                self._feed.bell.wait(self._mapping.queue.name, seen, otherwise=POLL_SECONDS)
                return
            self._opened = self._dispatched
        self._waiting += received
        left = self._left(received)
        if left <= 0 or self._full():
            self._dispatch()
        elif sum(delivery.size for delivery in received) < MUCH_BYTES:
            self._ended.wait(min(left, LOOK_SECONDS))

    def _left(self, received: Sequence[MessageDelivery]) -> float:
        """Seconds that the waiting batch still gathers. A few hundred events, as the demo's, are no load: records get
        the history that smaller batches give them."""
        is_busy = self._last >= BUSY_MESSAGES and (self._running or received)
        windows = BUSY_WINDOWS if is_busy else 1
        return self._opened + windows * self._mapping.window - time.monotonic()

    def _full(self) -> bool:
        size = sum(delivery.size for delivery in self._waiting)
        return len(self._waiting) >= self._mapping.batch_size or size >= PAYLOAD_BYTES

    def _receive(self) -> list[MessageDelivery]:
        most = self._mapping.batch_size - len(self._waiting)
        messages = self._feed.api.receive(self._mapping.queue.url, most)
        if messages:
            self._feed.activity.note()
        records = [record_of(message, self._mapping.queue.arn, self._feed.region) for message in messages]
        return self._kept(self._filtered([MessageDelivery(record, encoded(record)) for record in records]))

    def _filtered(self, deliveries: Sequence[MessageDelivery]) -> list[MessageDelivery]:
        """What no pattern matches is deleted unseen, as by Lambda."""
        passed: list[MessageDelivery] = []
        dropped: list[MessageDelivery] = []
        for delivery in deliveries:
            (passed if message_passes(delivery.record, self._mapping.filters) else dropped).append(delivery)
        self._delete(dropped)
        return passed

    def _kept(self, deliveries: Sequence[MessageDelivery]) -> list[MessageDelivery]:
        kept: list[MessageDelivery] = []
        for delivery in deliveries:
            (self._later if self._feed.dice.held_back() else kept).append(delivery)
        return kept

    def _due(self) -> list[MessageDelivery]:
        due, self._later = self._later, []
        return due

    def _dispatch(self) -> None:
        # Waits a moment when all are busy, instead of turning without end.
        if not self._free.acquire(timeout=LOOK_SECONDS):
            return
        batch = self._take()
        self._last = len(batch)
        self._waiting += self._due()
        self._opened = self._dispatched = time.monotonic()
        self._later += [
            MessageDelivery(d.record, d.content, copy=True) for d in _originals(batch) if self._feed.dice.duplicated()
        ]
        thread = threading.Thread(target=self._process, args=(batch,), name=self._thread.name, daemon=True)
        self._running.add(thread)
        self._feed.activity.note()
        thread.start()

    def _take(self) -> list[MessageDelivery]:
        """The first that fit into one event."""
        size = count = 0
        for delivery in self._waiting[: self._mapping.batch_size]:
            size += delivery.size
            if count and size > PAYLOAD_BYTES:
                break
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return self._feed.dice.order(batch)

    def _process(self, batch: list[MessageDelivery]) -> None:
        try:
            # Not deleted for want of an answer: delivered again after the visibility timeout.
            with contextlib.suppress(ClientError, BotoCoreError):
                self._settle(_originals(batch), self._failed(batch))
        finally:
            self._running.discard(threading.current_thread())
            self._free.release()
            self._ended.set()

    def _failed(self, batch: Sequence[MessageDelivery]) -> frozenset[str]:
        spared = any(delivery.receives >= SPARED_RECEIVES for delivery in batch)
        answer = self._feed.pool.invoke(
            event([d.content for d in batch]),
            source=self._mapping.queue.name,
            sabotage=self._feed.dice.sabotage(spared=spared),
        )
        return failed_identifiers(answer, [d.message_id for d in batch], partial=self._mapping.partial)

    def _settle(self, batch: Sequence[MessageDelivery], failed: frozenset[str]) -> None:
        self._delete([delivery for delivery in batch if delivery.message_id not in failed])
        self._see_again([delivery for delivery in batch if delivery.message_id in failed], self._back_off)

    def _back_off(self, delivery: MessageDelivery) -> int:
        """Twice the wait with each delivery, never past the queue's visibility timeout; none when stopping."""
        if self._stopping.is_set():
            return 0
        seconds = self._retry_seconds * 2 ** (delivery.receives - 1)
        return int(min(seconds, self._mapping.queue.visibility_timeout))

    def _delete(self, deliveries: Sequence[MessageDelivery]) -> None:
        for entries in _entries([delivery.handle for delivery in deliveries], _DELETED_TOGETHER):
            self._feed.api.delete(self._mapping.queue.url, entries)
            self._feed.activity.note()

    def _see_again(self, deliveries: Sequence[MessageDelivery], after: Callable[[MessageDelivery], int]) -> None:
        seconds = {delivery.handle: after(delivery) for delivery in deliveries}
        for entries in _entries(list(seconds), _REQUEST_RECORDS):
            timed = [{**entry, "VisibilityTimeout": seconds[entry["ReceiptHandle"]]} for entry in entries]
            self._sqs.change_message_visibility_batch(QueueUrl=self._mapping.queue.url, Entries=timed)
            self._feed.activity.note()


def concurrency(mapping: QueueMapping) -> int:
    """Lambda's default is far above what one machine can run; a lower maximum of the template holds."""
    return min(CONCURRENCY, mapping.concurrency or CONCURRENCY)


def record_of(message: Mapping[str, Any], queue_arn: str, region: str) -> dict[str, Any]:
    """A received message as Lambda hands it to a function; its binary attributes are in base64."""
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": {k: _attribute(v) for k, v in message.get("MessageAttributes", {}).items()},
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": region,
    }


def _attribute(value: Mapping[str, Any]) -> dict[str, Any]:
    found = {
        "dataType": value["DataType"],
        "stringValue": value.get("StringValue"),
        "binaryValue": value.get("BinaryValue"),
    }
    lists: dict[str, Any] = {"stringListValues": [], "binaryListValues": []}
    return {name: each for name, each in found.items() if each is not None} | lists


def _originals(deliveries: Sequence[MessageDelivery]) -> list[MessageDelivery]:
    return [delivery for delivery in deliveries if not delivery.copy]


def _entries(handles: Sequence[str], most: int) -> Iterator[list[dict[str, Any]]]:
    """Entries of batch requests."""
    for start in range(0, len(handles), most):
        chunk = handles[start : start + most]
        yield [{"Id": str(index), "ReceiptHandle": handle} for index, handle in enumerate(chunk)]
