"""Dead letters: listed with their reasons, sent back to their queue, or deleted. Nothing is deleted that was not seen.

What if the process dies in the middle? Doing it again does the rest: see `aws.dead_letters`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

from nilometer.aws.dead_letters import DeadLetterQueue
from nilometer.aws.s3 import Objects
from nilometer.domain.recovery.dead_letter import DeadLetter, Failures, Wanted, explained
from nilometer.domain.store.times import parse_rfc3339

AT_ONCE = 10  # queues, for an empty one is waited for; as many as a client keeps connections
GIVEN_UP = "aws/lambda/"  # where Lambda keeps what it could not relay of a stream

Reasons = Callable[[DeadLetterQueue, Sequence[DeadLetter]], Mapping[str, Failures]]
"""What is known of the failures of these letters of a queue, by message id."""


def look(queues: Sequence[DeadLetterQueue], wanted: Wanted, *, reasons: Reasons, mention: str = "") -> list[DeadLetter]:
    """The wanted letters without their bodies, the oldest first; those in whose body the id `mention` stands."""
    looked = partial(_look, wanted=wanted, reasons=reasons, mention=json.dumps(mention) if mention else "")
    with ThreadPoolExecutor(AT_ONCE) as threads:
        found = threads.map(looked, queues)
        return sorted((letter for letters in found for letter in letters), key=lambda letter: letter.sent_at)


def find(queues: Sequence[DeadLetterQueue], letter_id: str, *, reasons: Reasons) -> DeadLetter | None:
    """One letter with its body."""
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return next(filter(None, threads.map(partial(_find, letter_id=letter_id, reasons=reasons), queues)), None)


def send_back(queue: DeadLetterQueue, ids: frozenset[str]) -> int:
    """How many of these were sent to the queue in which they failed. One that fails again is another letter."""
    return _settle(queue, ids, queue.send_back)


def delete(queue: DeadLetterQueue, ids: frozenset[str]) -> int:
    """How many of these were deleted for good."""
    return _settle(queue, ids, queue.delete)


def given_up(objects: Objects) -> Iterator[DeadLetter]:
    """What Lambda gave up of the streams of the tables: objects in the bucket, each a batch of records.

    Source: Lambda Developer Guide, "Retain discarded records for a DynamoDB event source in Lambda".
    """
    for key, content in objects.below(GIVEN_UP):
        yield _batch(key, json.loads(content))


def _find(queue: DeadLetterQueue, *, letter_id: str, reasons: Reasons) -> DeadLetter | None:
    with queue.opened() as batches:
        for [letter] in _of(frozenset({letter_id}), batches):
            return explained(letter, reasons(queue, [letter]).get(letter_id))
    return None


def _look(queue: DeadLetterQueue, *, wanted: Wanted, reasons: Reasons, mention: str) -> list[DeadLetter]:
    with queue.opened() as batches:
        letters = [replace(letter, body="") for batch in batches for letter in batch if mention in letter.body]
    known = reasons(queue, letters) if letters else {}
    return [one for letter in letters if wanted.includes(one := explained(letter, known.get(letter.id)))]


def _settle(queue: DeadLetterQueue, ids: frozenset[str], act: Callable[[list[DeadLetter]], None]) -> int:
    done = 0
    with queue.opened() as batches:
        for batch in _of(ids, batches):
            act(batch)
            done += len(batch)
            if done == len(ids):
                break
    return done


def _of(ids: frozenset[str], batches: Iterable[list[DeadLetter]]) -> Iterator[list[DeadLetter]]:
    for batch in batches:
        if meant := [letter for letter in batch if letter.id in ids]:
            yield meant


def _batch(key: str, kept: Mapping[str, Any]) -> DeadLetter:
    batch, context = kept["DDBStreamBatchInfo"], kept["requestContext"]
    return DeadLetter(
        queue=f"stream of {batch['streamArn'].split('/')[1]}",
        id=key,
        type=f"{batch['batchSize']} records",
        event_id=None,
        reason=context["condition"],
        sent_at=parse_rfc3339(batch["approximateArrivalOfFirstRecord"]),
        first_failed_at=None,
        last_failed_at=parse_rfc3339(kept["timestamp"]),
        receives=context["approximateInvokeCount"],
        body=kept["payload"],
    )
