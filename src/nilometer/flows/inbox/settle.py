"""The one inbox of every queue: whatever a message holds, it changes no neighbour's outcome.

    open ──▶ judge ──▶ group ──▶ decide ──▶ commit ──▶ settle ──▶ keep rejects ──▶ one result a message

A consumer says how to `open` one message and how to `decide` on a group of them and commit. The inbox keeps the
promises that all consumers make:

* One result a message, in their order.
* Each message is opened and judged inside its own boundary.
* A group that fails for a reason that is not the world's is halved until the message that is the reason stands
  alone. That one becomes a reject, with its reason, its payload and its identity as far as it can be read.
* What the world is to blame for (an engine that is away or throttles) is FAILED: delivered again.
* What needs something that is not known yet waits in its queue, for `PATIENCE` after its arrival; then it is a reject.
* No text of a stranger's error is logged.

What if the process dies in the middle? The messages come again: a consumer's commits are conditional or may be
repeated. What if a group is decided twice, because a neighbour made it fail? The same.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.events.outcome import Message, Result
from nilometer.errors import Misconfigured, NotKnownYet, Refused, Unavailable
from nilometer.flows.inbox.identity import arrived_at, overdue
from nilometer.flows.inbox.parcel import Parcel
from nilometer.flows.inbox.rejects import keep

PATIENCE = timedelta(minutes=10)
"""How long after its arrival a message waits for what it builds on: the bus keeps no order. Less than the receives of
a queue take, so that it becomes a reject and never a dead letter."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    """Where the rejects of a flow are kept, and when that is."""

    flow: str
    store: Store
    objects: Objects
    now: datetime


def alone(parcel: Parcel[T]) -> Hashable:
    """The key of a consumer that decides on each message by itself."""
    return id(parcel)


def together(_parcel: Parcel[T]) -> Hashable:
    """The key of a consumer that decides on the whole batch at once."""
    return None


def settle(
    messages: Sequence[Message],
    inbox: Inbox,
    *,
    open: Callable[[Message], T],  # noqa: A002  # the field's word for it
    decide: Callable[[Sequence[Parcel[T]]], None],
    group: Callable[[Parcel[T]], Hashable] = alone,
) -> list[Result]:
    """One result a message, in their order. Never raises for what a message holds.

    `open` makes of a message what `decide` needs; `Rejected` when it is wrong for good. `group` is the key of those
    that are decided together. `decide` gets the parcels of one group, reads, decides, commits, and gives each an
    outcome once that is stored. It may be called again with some of them, when others made it fail, and skips none.
    """
    parcels: list[Parcel[T]] = [Parcel(message) for message in messages]
    groups: dict[Hashable, list[Parcel[T]]] = {}
    for parcel in parcels:
        if (key := _opened(parcel, open, group, inbox)) is not _SETTLED:
            groups.setdefault(key, []).append(parcel)
    for members in groups.values():
        _decide(members, decide, inbox)
    _keep(parcels, inbox)
    return [parcel.result() for parcel in parcels]


_SETTLED = object()


def _opened(
    parcel: Parcel[T], open_: Callable[[Message], T], group: Callable[[Parcel[T]], Hashable], inbox: Inbox
) -> Hashable:
    """The key of its group, or `_SETTLED`."""
    try:
        parcel.opened = open_(parcel.message)
        key = group(parcel)
        hash(key)
    except Exception as error:  # noqa: BLE001  # whatever it holds, the neighbours must pass
        _blame(parcel, error, inbox)
        return _SETTLED
    return key


def _decide(members: Sequence[Parcel[T]], decide: Callable[[Sequence[Parcel[T]]], None], inbox: Inbox) -> None:
    try:
        decide(members)
    except Exception as error:  # noqa: BLE001  # the other groups must pass
        if _worlds_fault(error):
            for parcel in _unsettled(members):
                parcel.fail(error)
        else:
            _halve(members, decide, inbox, error)


def _halve(
    members: Sequence[Parcel[T]], decide: Callable[[Sequence[Parcel[T]]], None], inbox: Inbox, error: Exception
) -> None:
    """Until the message that is the reason stands alone."""
    left = _unsettled(members)
    for parcel in left:
        parcel.fields, parcel.refused = {}, []
    if len(members) == 1:
        for parcel in left:
            _blame(parcel, error, inbox)
        return
    middle = (len(left) + 1) // 2
    for half in (left[:middle], left[middle:]):
        if half:
            _decide(half, decide, inbox)


def _blame(parcel: Parcel[T], error: Exception, inbox: Inbox) -> None:
    """No neighbour is the reason: the world, what came too early, or the message itself."""
    if _worlds_fault(error):
        parcel.fail(error)
    elif isinstance(error, NotKnownYet | Refused) and not _overdue(parcel, inbox):
        parcel.wait(error.reason if isinstance(error, NotKnownYet) else "refused")
    else:
        parcel.refuse(error)


def _worlds_fault(error: Exception) -> bool:
    """Whether the same message may pass another time, whatever it holds."""
    worlds = isinstance(error, Unavailable | Misconfigured | OSError | MemoryError)
    return worlds and not isinstance(error, NotKnownYet)


def _overdue(parcel: Parcel[T], inbox: Inbox) -> bool:
    message = parcel.message
    since = arrived_at(message.body, sent_at=message.sent_at, now=inbox.now)
    return overdue(since, PATIENCE, now=inbox.now)


def _unsettled(parcels: Iterable[Parcel[T]]) -> list[Parcel[T]]:
    return [parcel for parcel in parcels if parcel.outcome is None]


def _keep(parcels: Sequence[Parcel[T]], inbox: Inbox) -> None:
    """All together; when that fails, each by itself. What cannot be kept comes again."""
    refused = [parcel for parcel in parcels if parcel.refused]
    try:
        _keep_of(refused, inbox)
    except Exception:  # noqa: BLE001  # which of them it was is found out here
        for parcel in refused:
            try:
                _keep_of([parcel], inbox)
            except Exception as error:  # noqa: BLE001  # not kept: it must come again
                parcel.fail(error)


def _keep_of(parcels: Sequence[Parcel[T]], inbox: Inbox) -> None:
    rejects = [reject for parcel in parcels for reject in parcel.rejects(inbox.flow)]
    keep(inbox.store, inbox.objects, rejects, now=inbox.now)
