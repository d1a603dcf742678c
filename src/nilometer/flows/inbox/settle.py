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
  Who waits is written down for `nilometer waiting`.
* What our own code stumbles over is FAILED as long: the next version of it may not. Then it is a reject.
* No text of another library's error is logged.

What if the process dies in the middle? The messages come again: a consumer's commits are conditional or may be
repeated. What if a group is decided twice, because a neighbour made it fail? The same.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.events.outcome import Message, Result
from nilometer.domain.events.reject import Reject, RejectingFlow
from nilometer.errors import Misconfigured, NotKnownYet, Refused, Rejected, Unavailable
from nilometer.flows.inbox.parcel import Parcel, arrived_at, overdue
from nilometer.flows.inbox.rejects import keep
from nilometer.flows.inbox.waits import note

PATIENCE = timedelta(minutes=10)
"""How long after its arrival a message waits for what it builds on, because the bus keeps no order, or for a version of
ours that can read it. Less than the receives of a queue take, so that it becomes a reject and never a dead letter."""
RECEIVES = 5
"""Of a message before it is a dead letter: `maxReceiveCount` of every queue. Waiting ends with the last, too, for those
that Lambda could not take count as well."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    """Of which flow, when, and how its rejects are kept; `keep` may be repeated. `note` writes down who waits."""

    flow: str
    now: datetime
    keep: Callable[[Iterable[Reject]], None]
    note: Callable[[Sequence[Parcel[Any]]], None] = lambda _waiting: None

    def is_overdue(self, message: Message) -> bool:
        """Whether it waited long enough; what it lacks or fails by is a reason to refuse it now."""
        since = arrived_at(message.body, sent_at=message.sent_at, now=self.now)
        return message.receives >= RECEIVES or overdue(since, PATIENCE, now=self.now)


def inbox(flow: RejectingFlow, *, store: Store, objects: Objects, now: datetime) -> Inbox:
    """The inbox of a flow whose rejects stand in the events table."""
    return Inbox(
        flow=flow,
        now=now,
        keep=lambda rejects: keep(store, objects, rejects, now=now),
        note=lambda waiting: note(store, flow, waiting, patience=PATIENCE, now=now),
    )


def alone(parcel: Parcel[T]) -> Hashable:
    """The key of a consumer that decides on each message by itself."""
    return id(parcel)


def together(_parcel: Parcel[T]) -> Hashable:
    """The key of a consumer that decides on the whole batch at once."""
    return None


def settle(
    messages: Sequence[Message],
    into: Inbox,
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
    settling = _Settling(into, open, decide, group)
    groups: dict[Hashable, list[Parcel[T]]] = {}
    for parcel in parcels:
        if (key := settling.opened(parcel)) is not _SETTLED:
            groups.setdefault(key, []).append(parcel)
    for members in groups.values():
        settling.decided(members)
    if refused := [parcel for parcel in parcels if parcel.refused]:
        _keep(refused, into)
    if waiting := [parcel for parcel in parcels if parcel.again]:
        into.note(waiting)
    return [parcel.result() for parcel in parcels]


_SETTLED = object()


@dataclass(frozen=True, slots=True)
class _Settling(Generic[T]):
    """The state of one batch in `settle`."""

    inbox: Inbox
    open: Callable[[Message], T]
    decide: Callable[[Sequence[Parcel[T]]], None]
    group: Callable[[Parcel[T]], Hashable]

    def opened(self, parcel: Parcel[T]) -> Hashable:
        """The key of its group, or `_SETTLED`."""
        try:
            parcel.opened = self.open(parcel.message)
            key = self.group(parcel)
            hash(key)
        except Exception as error:  # noqa: BLE001  # whatever it holds, the neighbours must pass
            self._blame(parcel, error)
            return _SETTLED
        return key

    def decided(self, members: Sequence[Parcel[T]]) -> None:
        """Gives each an outcome, unless the consumer forgot one."""
        isolate(members, self._decide, settled=_is_settled, fail=Parcel.fail, blame=self._blame)

    def _decide(self, members: Sequence[Parcel[T]]) -> None:
        for parcel in members:
            parcel.fields, parcel.refused = {}, []
        self.decide(members)

    def _blame(self, parcel: Parcel[T], error: Exception) -> None:
        """No neighbour is the reason: the world, what came too early, our own code, or the message itself."""
        parcel.fields = {}
        if worlds_fault(error):
            parcel.fail(error)
        elif isinstance(error, Rejected) or self.inbox.is_overdue(parcel.message):
            parcel.refuse(error)
        elif isinstance(error, NotKnownYet | Refused):
            parcel.wait(error.reason if isinstance(error, NotKnownYet) else "refused", str(error))
        else:
            parcel.fail(error)


def _is_settled(parcel: Parcel[T]) -> bool:
    return parcel.outcome is not None


def _keep(refused: Sequence[Parcel[T]], into: Inbox) -> None:
    """All together; when that fails, each by itself. What cannot be kept comes again."""
    try:
        into.keep([reject for parcel in refused for reject in parcel.rejects(into.flow)])
    except Exception:  # noqa: BLE001  # which of them it was is found out here
        for parcel in refused:
            try:
                into.keep(parcel.rejects(into.flow))
            except Exception as error:  # noqa: BLE001  # not kept: it must come again
                parcel.fail(error)


def isolate(
    members: Sequence[T],
    decide: Callable[[Sequence[T]], None],
    *,
    settled: Callable[[T], bool],
    fail: Callable[[T, Exception], None],
    blame: Callable[[T, Exception], None],
) -> None:
    """Decides on all of `members`, which are not settled, and halves them until what makes it fail stands alone.

    `decide` may be called again with some of them, so what it stores is conditional or may be repeated. `fail` takes
    those that are not settled when the world is to blame, `blame` the one that alone is the reason.
    """
    try:
        decide(members)
    except Exception as error:  # noqa: BLE001  # whatever it is, the others must pass
        left = [one for one in members if not settled(one)]
        if worlds_fault(error) or len(members) == 1:
            for one in left:
                (fail if worlds_fault(error) else blame)(one, error)
            return
        middle = (len(left) + 1) // 2
        for half in filter(None, (left[:middle], left[middle:])):
            isolate(half, decide, settled=settled, fail=fail, blame=blame)


def worlds_fault(error: Exception) -> bool:
    """Whether the same input may pass another time, whatever it holds."""
    worlds = isinstance(error, Unavailable | Misconfigured | OSError | MemoryError)
    return worlds and not isinstance(error, NotKnownYet)
