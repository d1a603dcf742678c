"""Verify: the lake folded must equal the tables. Reads only; both sides stream.

* `records`: every record equals the newest image that the audit has of it, and none is missing on either side.
* `counters`: every counter of usage, by period and by day, is the sum of the usage table.
* `books`: the current row of every Stripe object is what its register says, field by field.
* `origin`: every row of the audit proves that the relay wrote it, or is older than proofs, or was voided.
* `stripe_events`, `usage_events`: every fact is a row, and every row that arrived within a fact's life is a fact.
* `steps`, when it is asked for: every row of the audit is a step that the domain allows (`flows.recovery.steps`).

On a running system some changes are in flight: a difference in something that changed within `grace` is counted as
in flight and not as wrong. Run it again and it has arrived, or is wrong.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.lake import exact, redaction
from nilometer.domain.recovery.verification import ComparedEntry, Difference, DifferenceKind, compare, sum_of_shards
from nilometer.domain.store.times import rfc3339
from nilometer.domain.store.writes import Item, Table
from nilometer.errors import Rejected
from nilometer.flows.recovery.books import compared_books
from nilometer.flows.recovery.steps import judged_steps
from nilometer.lake.read.ledger import Ledger
from nilometer.lake.read.ordering import ordered

CHECKS = ("records", "counters", "stripe_events", "usage_events", "origin", "books")
STEPS = "steps"
GRACE = timedelta(minutes=2)
FACTS_LIVE = timedelta(days=39)  # a day less than their TTL, which deletes when it likes
SHOWN = 100  # differences that a report carries; it counts all

_json = msgspec.json.Encoder(decimal_format="number")
Rows = Iterator[tuple[Any, ...]]


@dataclass(slots=True, kw_only=True)
class VerifyReport:
    """What one check found. `ok` when nothing but what is in flight differs."""

    check: str
    compared: int = 0
    in_flight: int = 0
    different: int = 0
    differences: list[Difference] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing differs except changes in flight."""
        return self.different == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The two sides, and when they are compared."""

    store: Store
    ledger: Ledger
    objects: Objects
    now: datetime
    grace: timedelta = GRACE

    def run(self, checks: Iterable[str] = CHECKS) -> Iterator[VerifyReport]:
        """One report a check, as each is done."""
        by_name: dict[str, Callable[[], Iterator[ComparedEntry | Difference]]] = {
            "records": self._records,
            "origin": self._origin,
            "books": lambda: compared_books(self.store, self.ledger),
            "counters": self._counters,
            "stripe_events": self._stripe_events,
            "usage_events": self._usage_events,
            STEPS: lambda: judged_steps(self.ledger, self.objects),
        }
        for check in checks:
            yield self._report(check, by_name[check]())

    def _report(self, check: str, judged: Iterator[ComparedEntry | Difference]) -> VerifyReport:
        report = VerifyReport(check=check)
        settled = rfc3339(self.now - self.grace)
        for one in judged:
            report.compared += 1
            if isinstance(one, ComparedEntry):
                continue
            if one.changed_at >= settled:
                report.in_flight += 1
                continue
            report.different += 1
            if len(report.differences) < SHOWN:
                report.differences.append(one)
        return report

    def _records(self) -> Iterator[ComparedEntry | Difference]:
        scanned = (_record_row(item) for item in self.store.scan(Table.RECORDS))
        table = (ComparedEntry((pk, sk), _parsed(image), at) for pk, sk, image, at in ordered(scanned, by=2))
        lake = (
            ComparedEntry((pk, sk), self._read(image, ref), rfc3339(at))
            for pk, sk, image, ref, at in self.ledger.latest_images()
        )
        return compare(table, lake)

    def _origin(self) -> Iterator[ComparedEntry | Difference]:
        """Nothing is in flight here: a row without proof is wrong at once."""
        for pk, sk, change_id, trusted in self.ledger.origins():
            key = (pk, sk, change_id)
            yield ComparedEntry(key, None) if trusted else Difference(kind=DifferenceKind.UNPROVEN, key=key)

    def _read(self, image: str | None, reference: str) -> dict[str, Any]:
        """Of a record that was too large for a row from the bucket; what is gone there equals no record."""
        if image is None:
            try:
                images = msgspec.json.decode(self.objects.get(reference), type=dict[str, msgspec.Raw])
            except Rejected as error:
                return {"image": str(error)}
            image = bytes(images["new_image"]).decode()
        return redaction.image(exact.read(_parsed(image)))

    def _counters(self) -> Iterator[ComparedEntry | Difference]:
        scanned = (_counter_row(item) for item in self.store.scan(Table.RECORDS, kind="counter"))
        shards = (
            ComparedEntry((w, m, s), (Decimal(total), int(count)), at)
            for w, m, s, total, count, at in ordered(scanned, by=3)
        )
        counted = (entry for entry in sum_of_shards(shards) if entry.value != (0, 0))
        return compare(counted, self._sums())

    def _sums(self) -> Iterator[ComparedEntry]:
        """Periods and days, merged in the order of their keys. What was voided altogether is no sum."""
        sums = (self.ledger.usage_by_period(), self.ledger.usage_by_day())
        return heapq.merge(*map(_sum_entries, sums), key=lambda entry: entry.key)

    def _stripe_events(self) -> Iterator[ComparedEntry | Difference]:
        facts = self.store.scan(Table.EVENTS, kind="stripe_event")
        scanned = ((f.get("account") or "self", f["event_id"], f["type"], f["received_at"]) for f in facts)
        return self._facts(scanned, self.ledger.stripe_events(since=self.now - FACTS_LIVE))

    def _usage_events(self) -> Iterator[ComparedEntry | Difference]:
        facts = self.store.scan(Table.EVENTS, kind="usage_event")
        scanned = ((f["source"], f["event_id"], _plain(f["quantity"]), f["received_at"]) for f in facts)
        rows = (
            (s, e, _plain(quantity), at) for s, e, quantity, at in self.ledger.usage_events(since=self.now - FACTS_LIVE)
        )
        return self._facts(scanned, rows)

    def _facts(self, facts: Rows, rows: Rows) -> Iterator[ComparedEntry | Difference]:
        since = rfc3339(self.now - FACTS_LIVE)
        recent = ordered((fact for fact in facts if fact[3] >= since), by=2)
        table = (ComparedEntry((space, event_id), value, at) for space, event_id, value, at in recent)
        return compare(
            table, (ComparedEntry((space, event_id), value, rfc3339(at)) for space, event_id, value, at in rows)
        )


def _record_row(item: Item) -> tuple[str, str, str, str]:
    image = redaction.image(item)
    return image["pk"], image["sk"], _json.encode(image).decode(), str(item.get("updated_at", ""))


def _counter_row(item: Item) -> tuple[str, ...]:
    start = str(item["period_start"])
    if item["scope"] == "day":
        start = f"DAY#{start[:10]}"
    total, count = _plain(item.get("total", 0)), str(item.get("count", 0))
    return item["workspace_id"], item["meter"], start, total, count, item["updated_at"]


def _sum_entries(rows: Rows) -> Iterator[ComparedEntry]:
    for workspace_id, meter, start, total, count, recorded_at in rows:
        yield ComparedEntry((workspace_id, meter, start), (total, count), rfc3339(recorded_at))


def _parsed(image: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(image, parse_float=Decimal)
    return parsed


def _plain(quantity: int | Decimal) -> str:
    """One text for one number: 1.50 is 1.5, and 100 is not 1E+2."""
    return format(Decimal(quantity).normalize(), "f")
