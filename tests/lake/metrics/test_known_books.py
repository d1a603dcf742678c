"""The law of the metrics: however a company's events came, its figures are those of its books, to the last unit.

`METRIC_ORDERS=0:100 pytest tests/lake/metrics/test_known_books.py` tries a hundred of companies and orders.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.flows.billing_play import OBJECTS
from tests.support.lake.books import Books
from tests.support.lake.known_books import KnownBooks
from tests.support.lake.known_company import END, START, KnownCompany
from tests.support.lake.known_stripe import FIRST_ARRIVAL, Delivery
from tests.support.stores.memory import MemoryStore

from nilometer.lake.metrics.metrics import METRICS
from nilometer.lake.metrics.period import MetricPeriod
from nilometer.lake.read.query import connect

ORDERS = range(*map(int, os.environ.get("METRIC_ORDERS", "0:2").split(":")))
FIRST, LAST = START.date(), (END - timedelta(days=1)).date()
FOREVER = datetime(2028, 1, 1, tzinfo=UTC)


class Figures:
    """What the metrics answer."""

    def __init__(self, books: Books, known_at: datetime = FOREVER) -> None:
        self.lake = connect(lake_uri=books.lake.uri, storage_options={})
        self.period = MetricPeriod(first=FIRST, last=LAST, known_at=known_at)

    def of(self, metric: str) -> list[dict[str, Any]]:
        """Rows by column."""
        answer = self.lake.sql(METRICS[metric].sql(self.period))
        return [dict(zip(answer.columns, row, strict=True)) for row in answer.fetchall()]


@pytest.mark.parametrize("seed", ORDERS)
def test_every_figure_is_that_of_the_books(tmp_path: Path, seed: int) -> None:
    """Shuffled, 30 % twice, 5 % lost and reconciled, the first of two years only backfilled: 0 units wrong in every
    month; and as known earlier, what could be known then."""
    company = KnownCompany(seed)
    books = Books(MemoryStore(), OBJECTS, tmp_path / "lake")
    delivery = Delivery(company, books, seed)
    delivery.run()

    assert books.check().ok
    truth = KnownBooks(delivery.told(), int(END.timestamp()))
    _compare(Figures(books), truth)
    _compare_owed(Figures(books), truth)
    for known_at in (FIRST_ARRIVAL - 60, (FIRST_ARRIVAL + delivery.last_arrival) // 2):
        knowable = KnownBooks(delivery.told(known_at), min(known_at, int(END.timestamp())))
        _compare(Figures(books, datetime.fromtimestamp(known_at, UTC)), knowable)


def _compare(figures: Figures, truth: KnownBooks) -> None:
    assert _moved(figures) == truth.moved()
    assert _revenue(figures) == truth.revenue()
    used = {(row["month"], row["currency"], row["price_id"]): row["amount"] for row in figures.of("usage_revenue")}
    assert used == truth.used()
    daily: dict[date, Counter[str]] = {}
    for row in figures.of("mrr_daily"):
        daily.setdefault(row["day"], Counter())[row["currency"]] += row["mrr"]
    for day, found in daily.items():
        assert +found == +truth.recurring(_midnight(day + timedelta(days=1))), day
    churn, cohorts = figures.of("churn"), figures.of("cohorts")
    for begins, ends in _months():
        first, last = _midnight(begins), _midnight(ends)
        _compare_churn([row for row in churn if row["month"] == begins], truth, first, last)
        _compare_cohorts([row for row in cohorts if row["month"] == begins], truth, last)


def _compare_owed(figures: Figures, truth: KnownBooks) -> None:
    owed = figures.of("receivables")
    for begins, ends in _months():
        mine = [row for row in owed if row["month"] == begins]
        told = Counter(
            {(row["currency"], name): int(row[name]) for row in mine for name in ("owed", "overdue", "invoices")}
        )
        assert +told == truth.owed(_midnight(ends)), begins


def _compare_churn(rows: list[dict[str, Any]], truth: KnownBooks, begins: int, ends: int) -> None:
    before, after = truth.customers(begins), truth.customers(ends)
    for row in rows:
        paying = [key for key in before if key[1] == row["currency"]]
        assert row["customers"] == len(paying)
        assert row["churned_customers"] == sum(not after[key] for key in paying)
        assert row["mrr"] == sum(before[key] for key in paying)
    assert +Counter({row["currency"]: row["churned_mrr"] for row in rows}) == truth.lost(begins, ends)


def _compare_cohorts(rows: list[dict[str, Any]], truth: KnownBooks, ends: int) -> None:
    standing, began = truth.customers(ends), truth.began()
    found = {(row["cohort"], row["currency"]): (row["customers"], row["paying"], row["mrr"]) for row in rows}
    expected: dict[tuple[date, str], tuple[int, int, int]] = {}
    for (customer, currency), cohort in began.items():
        if _midnight(cohort) < ends:
            known = expected.get((cohort, currency), (0, 0, 0))
            mrr = standing[customer, currency]
            expected[cohort, currency] = (known[0] + 1, known[1] + bool(mrr), known[2] + mrr)
    assert found == expected


def _moved(figures: Figures) -> Counter[tuple[date, str, str]]:
    rows = figures.of("mrr_movements")
    return Counter({(row["month"], row["currency"], row["movement"]): row["mrr"] for row in rows})


def _revenue(figures: Figures) -> Counter[tuple[date, str, str]]:
    kinds = ("paid", "refunded", "disputed", "fees")
    rows = figures.of("revenue")
    return Counter({(row["month"], row["currency"], kind): row[kind] for row in rows for kind in kinds if row[kind]})


def _months() -> Iterator[tuple[date, date]]:
    month = FIRST
    while month <= LAST:
        after = (month.replace(day=28) + timedelta(days=4)).replace(day=1)
        yield month, after
        month = after


def _midnight(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp())
