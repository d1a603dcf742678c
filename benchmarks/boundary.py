"""What the boundary costs: `python -m benchmarks.boundary [--customers 150] [--rounds 5]`.

The CPU of everything that stands between a message and its flow, as a share of the CPU of the whole `handle`, in one
run: how deep it nests, the inbox (parcels, groups, results), the bounds of ids and times, the check of every field
that a register reads, and, for usage, of the context and the window. Tables are in memory, so what botocore and its
HTTP take is in neither: on AWS the share is smaller. The goal is 5 %.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.flows.billing_play import OBJECTS, PLAYED_AT, bodies
from tests.support.flows.operations import NOW, envelope
from tests.support.flows.usage import cloud
from tests.support.flows.usage import prepare as prepare_usage
from tests.support.stores.memory import MemoryObjects, MemoryStore

from nilometer.domain.events.cloudevents import check_context
from nilometer.domain.events.outcome import Message, Outcome
from nilometer.domain.store.times import epoch
from nilometer.domain.stripe.event import StripeEvent, check, check_bounds
from nilometer.domain.stripe.registers import projection
from nilometer.domain.stripe.registers.register import project
from nilometer.domain.usage.event import check_window
from nilometer.flows.billing import batch as billing
from nilometer.flows.billing.batch import arrived
from nilometer.flows.inbox.envelope import check_depth
from nilometer.flows.inbox.parcel import Parcel
from nilometer.flows.inbox.settle import Inbox, settle, together
from nilometer.flows.usage import batch as usage
from nilometer.flows.usage.events import parse
from nilometer.local.stripe.month import random_month

BATCH = 100


@dataclass(frozen=True, slots=True)
class Share:
    flow: str
    bytes_each: int
    handle_us: float
    parts_us: dict[str, float]

    @property
    def percent(self) -> float:
        return 100 * sum(self.parts_us.values()) / self.handle_us


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=5, help="the least of so many is taken")
    given = parser.parse_args()
    for share in (of_billing(given.customers, given.rounds), of_usage(20 * given.customers, given.rounds)):
        parts = ", ".join(f"{name} {us:.1f}" for name, us in share.parts_us.items())
        print(f"{share.flow}: {share.bytes_each:,} bytes and {share.handle_us:.0f} us of CPU a message")
        print(f"  the boundary: {share.percent:.1f} % ({parts} us)")


def of_billing(customers: int, rounds: int) -> Share:
    """A month of Stripe's events, each customer's in order."""
    messages = bodies(random_month(1, customers).events)
    opened = [arrived(one.body, objects=OBJECTS, now=PLAYED_AT).event for one in messages]
    events = [one for one in opened if isinstance(one, StripeEvent)]
    checks = _field_checks(events)

    def handle() -> None:
        store: Any = MemoryStore()
        for batch in _batches(messages):
            results = billing.handle(batch, store=store, objects=OBJECTS, now=PLAYED_AT)
            assert all(one.outcome in {Outcome.ACCEPTED, Outcome.DUPLICATE} for one in results)

    def bounds() -> None:
        for event in events:
            check_bounds(event, now=epoch(PLAYED_AT))
            check(event)

    def of_fields() -> None:
        for readable, value in checks:
            readable(value)

    return _share("billing", messages, handle, {"ids and times": bounds, "fields": of_fields}, rounds)


def of_usage(count: int, rounds: int) -> Share:
    """Usage of one workspace, one event a message."""
    messages = [Message(str(n), envelope(cloud(f"e{n}"))) for n in range(count)]
    contexts = [parse(str.encode(_detail(one.body)), arrival=NOW)[0].context for one in messages]
    known = [one for one in contexts if one]

    def handle() -> None:
        store: Any = MemoryStore()
        objects: Any = MemoryObjects()
        prepare_usage(store)
        for batch in _batches(messages):
            results = usage.handle(batch, store=store, objects=objects, now=NOW)
            assert all(one.outcome is Outcome.ACCEPTED for one in results)

    def of_context() -> None:
        for one in known:
            check_context(specversion="1.0", event_id=one.id, source=one.source, subject=one.subject)
            check_window(one.time, arrival=NOW)

    return _share("usage", messages, handle, {"context and window": of_context}, rounds)


def _share(
    flow: str, messages: Sequence[Message], handle: Callable[[], None], more: dict[str, Callable[[], None]], rounds: int
) -> Share:
    def depth() -> None:
        for one in messages:
            check_depth(one.body.encode(errors="replace"))

    def inbox() -> None:
        into = Inbox(flow=flow, now=NOW, keep=lambda _rejects: None)
        for batch in _batches(messages):
            settle(batch, into, open=lambda message: message, decide=_accept, group=together)

    pieces = {"depth": depth, "inbox": inbox, **more}
    costs = {name: _least(piece, rounds) / len(messages) * 1e6 for name, piece in pieces.items()}
    size = sum(len(one.body) for one in messages) // len(messages)
    return Share(flow, size, _least(handle, rounds) / len(messages) * 1e6, costs)


def _field_checks(events: Sequence[StripeEvent]) -> list[tuple[Callable[[Any], bool], Any]]:
    """Every check that reading these events makes."""
    found: list[tuple[Callable[[Any], bool], Any]] = []

    def recording(snapshot: Any, checks: Any, bad: Any) -> dict[str, Any]:
        found.extend((checks[name], snapshot[name]) for name in checks if snapshot.get(name) is not None)
        return real(snapshot, checks, bad)

    real = projection.take
    projection.take = recording  # for as long as it records
    try:
        for event in events:
            project(event.object)
    finally:
        projection.take = real
    return found


def _accept(parcels: Sequence[Parcel[Message]]) -> None:
    for parcel in parcels:
        parcel.settle(Outcome.ACCEPTED)


def _detail(body: str) -> str:
    return body[body.index('"detail":') + len('"detail":') : -1].strip()


def _batches(messages: Sequence[Message]) -> list[Sequence[Message]]:
    return [messages[start : start + BATCH] for start in range(0, len(messages), BATCH)]


def _least(run: Callable[[], None], rounds: int) -> float:
    def once() -> float:
        began = time.process_time()
        run()
        return time.process_time() - began

    return min(once() for _ in range(rounds))


if __name__ == "__main__":
    main()
