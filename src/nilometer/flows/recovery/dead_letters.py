"""Dead letters: listed with their reasons, sent back to their queue, or deleted. Nothing is deleted that was not seen.

What if the process dies in the middle? Doing it again does the rest: see `aws.dead_letters`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Protocol

import msgspec

from nilometer.aws.s3 import Objects
from nilometer.domain.recovery.dead_letter import GIVEN_UP, DeadLetter, Failures, Wanted, explained
from nilometer.domain.recovery.redrive import is_batch_due, is_due
from nilometer.domain.store.times import parse_rfc3339
from nilometer.errors import NilometerError, Rejected

AT_ONCE = 10  # queues, for an empty one is waited for; as many as a client keeps connections
UNREADABLE = "unreadable batches"
"""The name of the place of what lies among the batches of streams and is none."""


class LetterBox(Protocol):
    """A place with dead letters of one kind: a dead-letter queue, or the failed batches of a stream."""

    @property
    def name(self) -> str:
        """As people name the queue, without the stack."""

    @property
    def source_url(self) -> str | None:
        """Of the queue in which the letters failed; None when it is not known."""

    @property
    def is_movable(self) -> bool:
        """Whether its letters can be sent back."""

    def opened(self) -> AbstractContextManager[Iterator[list[DeadLetter]]]:
        """Its letters in batches, hidden from other readers while the context lasts."""

    def send_back(self, letters: Sequence[DeadLetter]) -> None:
        """To where they failed, and away from here."""

    def try_again(self, letter: DeadLetter) -> None:
        """The same by a schedule, which counts its tries where the letter can carry a number."""

    def delete(self, letters: Sequence[DeadLetter]) -> None:
        """For good."""


Reasons = Callable[[LetterBox, Sequence[DeadLetter]], Mapping[str, Failures]]
"""What is known of the failures of these letters, by message id."""


def look(queues: Sequence[LetterBox], wanted: Wanted, *, reasons: Reasons, mention: str = "") -> list[DeadLetter]:
    """The wanted letters without their bodies, the oldest first; those in whose body the id `mention` stands."""
    looked = partial(_look, wanted=wanted, reasons=reasons, mention=json.dumps(mention) if mention else "")
    with ThreadPoolExecutor(AT_ONCE) as threads:
        found = threads.map(looked, queues)
        return sorted((letter for letters in found for letter in letters), key=lambda letter: letter.sent_at)


def find(queues: Sequence[LetterBox], letter_id: str, *, reasons: Reasons) -> DeadLetter | None:
    """One letter with its body."""
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return next(filter(None, threads.map(partial(_find, letter_id=letter_id, reasons=reasons), queues)), None)


@dataclass(frozen=True, slots=True)
class LettersMoved:
    """How many letters went, and of the others that were there why they stay, by id."""

    count: int
    failed: Mapping[str, str]


def send_back(queue: LetterBox, ids: frozenset[str]) -> LettersMoved:
    """Sends these to the queue in which they failed. One that fails again there is another letter."""
    return _settle(queue, ids, queue.send_back)


def delete(queue: LetterBox, ids: frozenset[str]) -> LettersMoved:
    """Deletes these for good."""
    return _settle(queue, ids, queue.delete)


@dataclass(frozen=True, slots=True)
class StreamBatches:
    """What Lambda gave up of one stream: objects in the bucket, each a batch of records; `keys` with their times.

    `invoke` gives a function such a batch again, or raises. Its flow drops what it has taken before, so a process that
    dies between this and the deletion loses nothing.
    Source: Lambda Developer Guide, "Retain discarded records for a DynamoDB event source in Lambda".
    """

    name: str
    objects: Objects
    invoke: Callable[[str, str], None]
    keys: Mapping[str, datetime] = field(default_factory=dict)
    source_url: str | None = None  # no queue of SQS

    @property
    def is_movable(self) -> bool:
        """Whether its letters can be sent back."""
        return self.name != UNREADABLE

    @contextmanager
    def opened(self) -> Iterator[Iterator[list[DeadLetter]]]:
        """Its letters in batches; nobody is kept from reading them."""
        found = (_stored(self.objects, key, at) for key, at in self.keys.items())
        yield ([letter] for letter in found if letter)

    def send_back(self, letters: Sequence[DeadLetter]) -> None:
        """To the function that gave it up, the oldest first, then deletes it here."""
        for letter in sorted(letters, key=lambda one: one.sent_at):
            self.invoke(letter.attributes["function"], letter.body)
            self.objects.delete(letter.id)

    def try_again(self, letter: DeadLetter) -> None:
        """As `send_back`."""
        self.send_back([letter])

    def delete(self, letters: Sequence[DeadLetter]) -> None:
        """For good."""
        for letter in letters:
            self.objects.delete(letter.id)


def stream_batches(objects: Objects, invoke: Callable[[str, str], None]) -> list[StreamBatches]:
    """A place a stream with batches that were given up, and one of what is no batch. Reads each object, as only its
    content names its stream."""

    def named(listed: tuple[str, datetime]) -> tuple[str, str, datetime] | None:
        letter = _stored(objects, *listed)
        return (letter.queue, *listed) if letter else None

    keys: dict[str, dict[str, datetime]] = {}
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for name, key, at in filter(None, threads.map(named, objects.listed(GIVEN_UP))):
            keys.setdefault(name, {})[key] = at
    return [StreamBatches(name, objects, invoke, keys=found) for name, found in sorted(keys.items())]


def _stored(objects: Objects, key: str, at: datetime) -> DeadLetter | None:
    """None when somebody took it away meanwhile."""
    content = objects.read(key)
    return None if content is None else _batch(key, content) or _unreadable(key, content, at)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedriveReport:
    """Of one place: how many letters were found, which were sent back, and of the others that were due why not."""

    queue: str
    found: int
    sent: tuple[str, ...]
    failed: tuple[str, ...]

    @property
    def left(self) -> int:
        """Letters that are still there."""
        return self.found - len(self.sent)


def redrive_due(
    boxes: Sequence[LetterBox], *, now: datetime, out_of_time: Callable[[], bool]
) -> Iterator[RedriveReport]:
    """One report a place, as each is done; each letter by itself. A place that cannot be read is reported as failed."""
    for box in boxes:
        if out_of_time():
            return
        try:
            yield _redriven(box, now, out_of_time)
        except NilometerError as error:
            yield RedriveReport(queue=box.name, found=0, sent=(), failed=(str(error),))


def redrive_batches(
    streams: StreamBatches, *, now: datetime, out_of_time: Callable[[], bool]
) -> Iterator[RedriveReport]:
    """One report of the batches of all streams, in one pass; one that is not due is counted and not read.

    Those that are due begin with another one each hour, so that batches that take all the time and fail again keep no
    other from its turn. One that is no batch stays and is reported as failed.
    """
    if out_of_time():
        return
    found = 0
    due: list[str] = []
    sent: list[str] = []
    failed: list[str] = []
    try:
        for key, given_up_at in streams.objects.listed(GIVEN_UP):
            if out_of_time():
                break
            found += 1
            due += [key] if is_batch_due(given_up_at, now=now) else []
        first = int(now.timestamp()) // 3600 % max(len(due), 1)
        for key in due[first:] + due[:first]:
            if out_of_time():
                break
            why = _batch_sent_back(streams, key)
            sent += [] if why else [key]
            failed += [why] if why else []
    except NilometerError as error:
        failed.append(str(error))
    if found or failed:
        yield RedriveReport(queue=streams.name, found=found, sent=tuple(sent), failed=tuple(failed))


def _batch_sent_back(streams: StreamBatches, key: str) -> str:
    """Why it stays; empty when it went, or was sent back meanwhile by somebody else."""
    content = streams.objects.read(key)
    if content is None:
        return ""
    letter = _batch(key, content)
    return _sent_back(streams, letter) if letter else f"{key} is no batch of a stream"


def _redriven(box: LetterBox, now: datetime, out_of_time: Callable[[], bool]) -> RedriveReport:
    found = 0
    sent: list[str] = []
    failed: list[str] = []
    with box.opened() as batches:
        for letter in (letter for batch in batches for letter in batch):
            if out_of_time():
                break
            found += 1
            if box.is_movable and is_due(letter, now=now):
                why = _sent_back(box, letter)
                sent += [] if why else [letter.id]
                failed += [why] if why else []
    return RedriveReport(queue=box.name, found=found, sent=tuple(sent), failed=tuple(failed))


def _sent_back(box: LetterBox, letter: DeadLetter) -> str:
    """Why it stays; empty when it went."""
    try:
        box.try_again(letter)
    except NilometerError as error:
        return str(error)
    return ""


def _find(queue: LetterBox, *, letter_id: str, reasons: Reasons) -> DeadLetter | None:
    with queue.opened() as batches:
        for [letter] in _of(frozenset({letter_id}), batches):
            return explained(letter, reasons(queue, [letter]).get(letter_id))
    return None


def _look(queue: LetterBox, *, wanted: Wanted, reasons: Reasons, mention: str) -> list[DeadLetter]:
    with queue.opened() as batches:
        letters = [replace(letter, body="") for batch in batches for letter in batch if mention in letter.body]
    known = reasons(queue, letters) if letters else {}
    return [one for letter in letters if wanted.includes(one := explained(letter, known.get(letter.id)))]


def _settle(queue: LetterBox, ids: frozenset[str], act: Callable[[list[DeadLetter]], None]) -> LettersMoved:
    done = 0
    failed: dict[str, str] = {}
    with queue.opened() as batches:
        for batch in _of(ids, batches):
            failed |= _one_by_one(batch, act)
            done += len(batch)
            if done == len(ids):
                break
    return LettersMoved(done - len(failed), failed)


def _one_by_one(batch: Sequence[DeadLetter], act: Callable[[list[DeadLetter]], None]) -> dict[str, str]:
    """Why some stay: a letter that cannot be moved keeps no other from it."""
    failed = {}
    for letter in batch:
        try:
            act([letter])
        except NilometerError as error:
            failed[letter.id] = str(error)
    return failed


def _of(ids: frozenset[str], batches: Iterable[list[DeadLetter]]) -> Iterator[list[DeadLetter]]:
    for batch in batches:
        if meant := [letter for letter in batch if letter.id in ids]:
            yield meant


class _BatchInfo(msgspec.Struct):
    stream_arn: str = msgspec.field(name="streamArn")
    records: int = msgspec.field(name="batchSize")
    arrived: str = msgspec.field(name="approximateArrivalOfFirstRecord")


class _GivenUpContext(msgspec.Struct):
    condition: str
    invocations: int = msgspec.field(name="approximateInvokeCount")
    function: str = msgspec.field(name="functionArn", default="")


class _GivenUp(msgspec.Struct):
    """By the names of Lambda."""

    info: _BatchInfo = msgspec.field(name="DDBStreamBatchInfo")
    context: _GivenUpContext = msgspec.field(name="requestContext")
    timestamp: str
    payload: str


def _batch(key: str, content: bytes) -> DeadLetter | None:
    """None when it is no batch."""
    try:
        found = msgspec.json.decode(content, type=_GivenUp)
        arrived, failed = parse_rfc3339(found.info.arrived), parse_rfc3339(found.timestamp)
    except (msgspec.MsgspecError, ValueError, RecursionError, Rejected):
        return None
    return DeadLetter(
        queue=f"stream of {found.info.stream_arn.partition('/')[2].partition('/')[0]}",
        id=key,
        type=f"{found.info.records} records",
        event_id=None,
        reason=found.context.condition,
        sent_at=arrived,
        first_failed_at=None,
        last_failed_at=failed,
        receives=found.context.invocations,
        body=found.payload,
        attributes={"function": found.context.function},
    )


def _unreadable(key: str, content: bytes, at: datetime) -> DeadLetter:
    return DeadLetter(
        queue=UNREADABLE,
        id=key,
        type=None,
        event_id=None,
        reason="it is no batch of a stream",
        sent_at=at,
        first_failed_at=None,
        last_failed_at=None,
        receives=0,
        body=content.decode(errors="replace"),
    )
