"""What a known company's Stripe answers, and how its events come: shuffled, twice, late, or only when asked for."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.support.flows.billing_play import OBJECTS, PLAYED_AT, play
from tests.support.lake.books import Books
from tests.support.lake.known_books import Told
from tests.support.lake.known_company import CONNECTED, END, KnownCompany

from nilometer.domain.stripe.event import FEATURES, SUMMARY, Scope
from nilometer.flows.billing import batch as billing
from nilometer.flows.billing.backfill import backfill_events
from nilometer.flows.billing.reconcile import reconcile

Object = dict[str, Any]
FIRST_ARRIVAL = int(END.timestamp()) + 3600
BATCH = 60


@dataclass(frozen=True, slots=True)
class KnownPage:
    """`stripe_api.Page`."""

    objects: list[Object]
    second: int
    part: str = ""


class KnownStripe:
    """`stripe_api.StripeApi` over objects as they are at one second, and events that were lost."""

    def __init__(self, objects: Iterable[Object], second: int, lost: Sequence[Object] = ()) -> None:
        self.second = second
        self._objects = [copy.deepcopy(one) for one in objects]
        self._lost = lost

    def pages(self, object_type: str, after: str | None = None) -> Iterator[KnownPage]:
        """In hundreds; deleted objects are listed no more, and discounts are shown by what has them."""
        found = [one for one in self._objects if one["object"] == object_type and not one.get("deleted")]
        if object_type in {FEATURES, SUMMARY}:
            return
        for start in range(0, len(found), 100):
            yield KnownPage([self._shown(one) for one in found[start : start + 100]], self.second)

    def events(self, *, since: int, after: str | None = None) -> Iterator[KnownPage]:
        """Those that were lost, newest first."""
        ordered = sorted(self._lost, key=lambda event: event["created"], reverse=True)
        for start in range(0, len(ordered), 100):
            yield KnownPage(ordered[start : start + 100], self.second)

    def fetch(self, object_type: str, object_id: str) -> Any:
        """What is asked for by id is not needed here."""
        raise AssertionError((object_type, object_id))

    def of(self, account: str) -> KnownStripe:
        """One account only."""
        raise AssertionError(account)

    def _shown(self, one: Object) -> Object:
        discounts = [d for d in self._objects if d["object"] == "discount" and not d.get("deleted")]
        if one["object"] == "subscription":
            own = [d for d in discounts if d["subscription"] == one["id"]]
            items = [
                {**item, "discounts": [d for d in own if d["subscription_item"] == item["id"]]}
                for item in one["items"]["data"]
            ]
            whole = [d for d in own if not d["subscription_item"]]
            return {**one, "discounts": whole, "items": {**one["items"], "data": items}}
        if one["object"] == "customer":
            of_customer = [d for d in discounts if d["customer"] == one["id"] and not d["subscription"]]
            return {**one, "discount": of_customer[-1] if of_customer else None}
        return one


class Delivery:
    """Of one company into one store and lake; `arrived` are the indices of its events, by when they were known."""

    def __init__(self, company: KnownCompany, books: Books, seed: int) -> None:
        self.company = company
        self.books = books
        self.random = random.Random(seed)
        self.arrived: dict[int, int] = {}
        later = [n for n, event in enumerate(company.world.events) if event["created"] >= CONNECTED.timestamp()]
        self.lost = set(self.random.sample(later, k=len(later) // 20))
        self._order = [n for n in later if n not in self.lost]
        self._order += self.random.choices(self._order, k=len(later) * 3 // 10)
        self.random.shuffle(self._order)

    def run(self) -> None:
        """Backfill; events in their order of arrival; the lost ones, and what no event tells, by reconcile."""
        self._reconcile(KnownStripe(self.company.backfilled, _second(CONNECTED)), known_at=_second(CONNECTED) + 60)
        for n, start in enumerate(range(0, len(self._order), BATCH)):
            self._deliver(self._order[start : start + BATCH], known_at=FIRST_ARRIVAL + n)
            if n % 12 == 0:
                self.books.flush()
        self.last_arrival = FIRST_ARRIVAL + n
        events = [self.company.world.events[n] for n in self.lost]
        api = KnownStripe(self.company.world.objects.values(), _second(END) - 1, events)
        for _ in backfill_events(api, self._handle, since=0):
            pass
        self.books.collect(known_at=self.last_arrival + 60)
        self._reconcile(api, known_at=self.last_arrival + 120)

    def told(self, known_at: int | None = None) -> Iterator[Told]:
        """All that happened; or what was known by then: the backfill, and the events that had arrived."""
        events = self.company.world.events
        for n, event in enumerate(events):
            if known_at is None or self.arrived.get(n, 1 << 40) <= known_at:
                yield event["created"], n, _snapshot(event)
        if known_at is None:
            yield from ((one["created"], -1, one) for one in self.company.entries)
        else:
            yield from ((_second(CONNECTED), -1, one) for one in self.company.backfilled if not one.get("deleted"))

    def _deliver(self, numbers: Sequence[int], *, known_at: int) -> None:
        play(self.books.store, [self.company.world.events[n] for n in numbers], batch=self.random.choice((7, 20, 60)))
        self.books.collect(known_at=known_at)
        for n in numbers:
            self.arrived.setdefault(n, known_at)

    def _reconcile(self, api: KnownStripe, *, known_at: int) -> None:
        reconcile(self.books.store, api, scope=Scope(), now=PLAYED_AT)
        self.books.collect(known_at=known_at)
        self.books.flush()

    def _handle(self, messages: Sequence[Any]) -> list[Any]:
        return billing.handle(messages, store=self.books.store, objects=OBJECTS, now=PLAYED_AT)


def _snapshot(event: Object) -> Object:
    found: Object = event["data"]["object"]
    return {**found, "deleted": True} if event["type"] == "customer.discount.deleted" else found


def _second(instant: datetime) -> int:
    return int(instant.astimezone(UTC).timestamp())
