"""Figures of several currencies in one, by a table of exchange rates that the user brings."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from nilometer.errors import Rejected
from nilometer.lake.metrics.metrics import Metric


@dataclass(frozen=True, slots=True)
class Rates:
    """By currency: (from which day on, minor units of `target` for one of it), newest first."""

    target: str
    by_currency: Mapping[str, Sequence[tuple[date, Decimal]]]

    def changed(self, amount: int, currency: str, day: date) -> int:
        """Half up. `Rejected("no_rate")` for a currency or day that the table does not know."""
        if currency == self.target:
            return amount
        rate = next((rate for since, rate in self.by_currency.get(currency, ()) if since <= day), None)
        if rate is None:
            raise Rejected("no_rate", f"there is no rate of {currency} for {day}; add a line {currency},DAY,RATE")
        return int((amount * rate).quantize(Decimal(1), ROUND_HALF_UP))


def read_rates(lines: Iterable[str], target: str) -> Rates:
    """CSV with the header `currency,day,rate`. `Rejected("invalid_rates")` for anything else."""
    found: dict[str, list[tuple[date, Decimal]]] = {}
    try:
        for row in csv.DictReader(lines):
            found.setdefault(row["currency"].lower(), []).append((date.fromisoformat(row["day"]), _rate(row["rate"])))
    except (KeyError, TypeError, ValueError, AttributeError, InvalidOperation) as error:
        raise Rejected(
            "invalid_rates", "rates are CSV with the header currency,day,rate, a day as 2026-11-01"
        ) from error
    return Rates(target.lower(), {currency: sorted(rows, reverse=True) for currency, rows in found.items()})


def _rate(text: str) -> Decimal:
    rate = Decimal(text)
    if not 0 < rate < _LARGEST:
        raise ValueError(text)
    return rate


_LARGEST = 10**9


def in_one_currency(metric: Metric, rows: Iterable[Mapping[str, Any]], rates: Rates) -> list[dict[str, Any]]:
    """Rows of `metric`: each amount changed and rounded by itself at its row's day, then added up."""
    summed: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        when = row[metric.day]
        day = when.date() if isinstance(when, datetime) else when
        key = tuple(row[name] for name in metric.keys)
        sums = summed.setdefault(key, dict.fromkeys((*metric.money, *metric.counts), 0))
        for name in metric.money:
            sums[name] += rates.changed(int(row[name]), row["currency"], day)
        for name in metric.counts:
            sums[name] += int(row[name] or 0)
    return [
        {**dict(zip(metric.keys, key, strict=True)), "currency": rates.target, **sums} for key, sums in summed.items()
    ]
