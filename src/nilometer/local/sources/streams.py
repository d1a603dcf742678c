"""DynamoDB stream event source mappings: ordered batches of a shard, retries, bisection, checkpoints.

One batch of a shard runs at a time, which keeps the order that Lambda promises for each key with any
ParallelizationFactor.

The engine has one shard a stream and keeps its records 24 hours, through every restart (`local.plane`), also those of
items that expired: a REMOVE by the service, as on AWS.

Source: Lambda Developer Guide, "Using AWS Lambda with Amazon DynamoDB".
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from nilometer.local.plane.deployed import StreamMapping
from nilometer.local.sources.batches import event, failed_identifiers, fitting
from nilometer.local.sources.changes import ChangesPage, StreamChange, passing
from nilometer.local.sources.failures import AGE_EXCEEDED, RETRIES_EXHAUSTED, invocation_record, object_key
from nilometer.local.sources.source import Feed, Poller
from nilometer.local.workers.runtime import InvocationResult

POLL_SECONDS = 0.25  # Lambda's base rate of four reads a second
RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 10.0
SPARED_ATTEMPTS = 2  # from this retry on chaos breaks nothing
_READ_RECORDS = 1000  # the most that GetRecords gives
_LOST_ITERATOR = {"ExpiredIteratorException", "TrimmedDataAccessException"}


@dataclass(frozen=True, slots=True)
class StreamBatch:
    """Consecutive records of a shard, and how often they were tried again as they are."""

    records: Sequence[StreamChange]
    attempts: int = 0
    invocations: int = 0

    def halves(self) -> list[StreamBatch]:
        """Splitting does not consume the retry quota."""
        middle = len(self.records) // 2
        return [
            StreamBatch(part, self.attempts, self.invocations)
            for part in (self.records[:middle], self.records[middle:])
        ]


class ShardPoller(Poller):
    """Runs one mapping on one shard. What is not done when it stops is read again by the next runner."""

    def __init__(self, mapping: StreamMapping, shard: str, feed: Feed) -> None:
        super().__init__(f"stream-{mapping.table}", feed, retry_seconds=RETRY_SECONDS)
        self.mapping = mapping
        self._shard = shard
        self._streams = feed.client("dynamodbstreams")
        self._s3 = feed.client("s3")
        self._name = f"{mapping.function}#{mapping.stream_arn}"
        self._iterator = ""
        self._seen = feed.checkpoints.get(self._name, shard)  # sequence number of the last record that was read
        self._buffer: list[StreamChange] = []  # read, passed the filters, and not done
        self._opened = 0.0  # when the first of the buffer came
        self._next_read = 0.0  # not before, so that what is written one by one comes together
        self.discarded = 0

    def lag(self) -> int:
        """Records that passed the filters, or will, and are not done; counts a thousand unread ones at most."""
        return len(self._buffer) + len(self._new(self._ask_changes(self._iterator or self._position())))

    def _recover(self) -> None:
        self._iterator = ""

    def _turn(self) -> None:
        """One read, and one batch if it is due: full, or its window over.

        The first record after a pause is read at once, what follows at Lambda's rate: a function that gets few records
        at a time costs many invocations.
        """
        self._stopping.wait(self._pause())
        seen = self._feed.bell.seen(self.mapping.table)
        asks = self._may_read()
        read = asks and self._read()
        if not self._buffer:
            if asks and not read:
                self._feed.bell.wait(self.mapping.table, seen, otherwise=POLL_SECONDS)
            return
        left = self._opened + self.mapping.window - time.monotonic()
        if left <= 0 or len(self._buffer) >= self.mapping.batch_size:
            self._deliver(self._batch())
            self._opened = time.monotonic()
        elif not read:
            self._stopping.wait(min(left, POLL_SECONDS))

    # ------------------------------------------------------------------ reading

    def _pause(self) -> float:
        """Seconds until something is to be done: the next read, or the batch that gathers."""
        if len(self._buffer) >= self.mapping.batch_size:
            return 0.0
        due = min(self._next_read, self._opened + self.mapping.window) if self._buffer else self._next_read
        return max(0.0, due - time.monotonic())

    def _may_read(self) -> bool:
        room = len(self._buffer) < max(self.mapping.batch_size, _READ_RECORDS)
        return room and time.monotonic() >= self._next_read

    def _read(self) -> bool:
        """False when there was nothing new."""
        self._iterator = self._iterator or self._position()
        page = self._ask_changes(self._iterator)
        found = self._new(page)
        if page.changes:
            self._feed.activity.note()
            if len(page.changes) < self.mapping.batch_size:
                self._next_read = time.monotonic() + POLL_SECONDS
            if not self._buffer:
                self._opened = time.monotonic()
            self._buffer += found
            self._seen = page.changes[-1].number
        self._iterator = page.following or self._iterator
        if page.changes:
            self._feed.activity.note()
        if page.changes and not self._buffer:
            self._feed.checkpoints.save(self._name, self._shard, self._seen or "")
        return bool(page.changes)

    def _new(self, page: ChangesPage) -> list[StreamChange]:
        seen = -1 if self._seen is None else int(self._seen)
        return passing([change for change in page.changes if int(change.number) > seen], self.mapping.filters)

    def _ask_changes(self, iterator: str) -> ChangesPage:
        return self._feed.api.changes(self.mapping.stream_arn, iterator, _READ_RECORDS)

    def _position(self) -> str:
        """After what was read; from the oldest record when that has expired, as after 24 hours."""
        if self._seen is None:
            return self._ask(self.mapping.starting_position)
        try:
            return self._ask("AFTER_SEQUENCE_NUMBER", SequenceNumber=self._seen)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _LOST_ITERATOR:
                raise
            return self._ask("TRIM_HORIZON")

    def _ask(self, kind: str, **position: str) -> str:
        response = self._streams.get_shard_iterator(
            StreamArn=self.mapping.stream_arn, ShardId=self._shard, ShardIteratorType=kind, **position
        )
        return str(response["ShardIterator"])

    # ------------------------------------------------------------------ delivering

    def _batch(self) -> list[StreamChange]:
        """The first of the buffer that go together."""
        most = self._buffer[: self.mapping.batch_size]
        return most[: fitting([change.content for change in most])]

    def _deliver(self, records: Sequence[StreamChange]) -> None:
        """Returns when every record succeeded or was given up, or when the runner stops."""
        pending = [StreamBatch(records)]
        while pending and not self._stopping.is_set():
            batch = pending.pop(0)
            if aged := self._aged(batch.records):
                self._discard(StreamBatch(batch.records[:aged], batch.attempts, batch.invocations), None, AGE_EXCEEDED)
                batch = StreamBatch(batch.records[aged:], batch.attempts, batch.invocations)
            if batch.records:
                pending[:0] = self._try(batch)

    def _try(self, batch: StreamBatch) -> list[StreamBatch]:
        """What is left to do of the batch, in order."""
        sabotage = self._feed.dice.sabotage(spared=batch.attempts >= SPARED_ATTEMPTS)
        answer = self._feed.pool.invoke(_event(batch.records), source=self.mapping.table, sabotage=sabotage)
        if self._stopping.is_set() and answer.error:
            # It may be the stop itself that killed the worker: nothing is decided.
            return []
        done = _done(batch.records, answer, partial=self.mapping.partial)
        tried = StreamBatch(batch.records[done:], batch.attempts, batch.invocations + 1)
        if done and tried.records:
            self._finish(batch.records[:done])
            return [StreamBatch(tried.records)]
        if not tried.records:
            return self._succeed(batch)
        return self._fail(tried, answer)

    def _succeed(self, batch: StreamBatch) -> list[StreamBatch]:
        if self._feed.dice.duplicated():
            self._feed.pool.invoke(_event(batch.records), source=self.mapping.table)
        self._finish(batch.records)
        return []

    def _fail(self, batch: StreamBatch, answer: InvocationResult) -> list[StreamBatch]:
        """Halve it, try it again, or give it up.

        Lambda's guide does not say what it does when the first record is the one that was reported and
        bisection is on; it is halved here, as after a function error, so that one bad record goes alone.
        """
        if self.mapping.bisect and len(batch.records) > 1:
            return batch.halves()
        if self.mapping.retries is not None and batch.attempts >= self.mapping.retries:
            self._discard(batch, answer, RETRIES_EXHAUSTED)
            return []
        self._stopping.wait(min(self._retry_seconds * 2**batch.attempts, LONGEST_RETRY_SECONDS))
        return [StreamBatch(batch.records, batch.attempts + 1, batch.invocations)]

    def _aged(self, records: Sequence[StreamChange]) -> int:
        """How many of the first records are past the maximum age."""
        if self.mapping.maximum_age is None:
            return 0
        oldest = time.time() - self.mapping.maximum_age
        ages = (change.written < oldest for change in records)
        return next((index for index, aged in enumerate(ages) if not aged), len(records))

    def _discard(self, batch: StreamBatch, answer: InvocationResult | None, condition: str) -> None:
        """To the on-failure destination, then on with the shard. Until S3 has it, the shard waits."""
        if self.mapping.failure_bucket:
            now = datetime.now(UTC)
            self._s3.put_object(
                Bucket=self.mapping.failure_bucket,
                Key=object_key(self.mapping, self._shard, now),
                Body=invocation_record(
                    self.mapping,
                    shard=self._shard,
                    records=batch.records,
                    answer=answer,
                    invocations=batch.invocations,
                    condition=condition,
                    now=now,
                ),
            )
        self.discarded += len(batch.records)
        self._finish(batch.records)

    def _finish(self, records: Sequence[StreamChange]) -> None:
        """The records are the first of the buffer: done with, for this runner and the next."""
        last = records[-1].number
        emptied = len(records) == len(self._buffer)
        # What the filters dropped behind the last record is done too.
        self._feed.checkpoints.save(self._name, self._shard, self._seen if emptied and self._seen else last)
        self._buffer = self._buffer[len(records) :]
        self._feed.activity.note()


def _event(records: Sequence[StreamChange]) -> bytes:
    return event([change.content for change in records])


def _done(records: Sequence[StreamChange], answer: InvocationResult, *, partial: bool) -> int:
    """How many of the first records are done: all before the lowest sequence number that failed."""
    numbers = [change.number for change in records]
    failed = failed_identifiers(answer, numbers, partial=partial)
    return next((index for index, number in enumerate(numbers) if number in failed), len(records))


def shards(streams: Any, stream_arn: str) -> Iterator[str]:
    """Shard ids of a stream, all pages."""
    start: dict[str, str] = {}
    while True:
        described = streams.describe_stream(StreamArn=stream_arn, **start)["StreamDescription"]
        yield from (shard["ShardId"] for shard in described["Shards"])
        if "LastEvaluatedShardId" not in described:
            return
        start = {"ExclusiveStartShardId": described["LastEvaluatedShardId"]}
