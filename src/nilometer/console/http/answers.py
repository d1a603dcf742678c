"""Answers of the lake as pages need them: CSV for a spreadsheet, series for a chart."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from starlette.responses import Response

from nilometer.console.http.formats import is_number, moment_of

SERIES = 6  # as many as have a colour of their own
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_of(name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Response:
    """A file `name.csv`. A text that a spreadsheet would take for a formula gets a `'` before it."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(columns)
    writer.writerows([_plain(value) for value in row] for row in rows)
    headers = {"content-disposition": f'attachment; filename="{name}.csv"'}
    return Response(file.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def chart_of(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[str, Any] | None:
    """Lines over the first column of times, one for each number and value of the first text; None without either,
    and for one time alone."""
    times = [index for index, _ in enumerate(columns) if rows and isinstance(rows[0][index], date)]
    numbers = [index for index, _ in enumerate(columns) if any(is_number(row[index]) for row in rows)]
    texts = [index for index, _ in enumerate(columns) if rows and isinstance(rows[0][index], str)]
    if not times or not numbers:
        return None
    series: dict[str, dict[int, float]] = {}
    for row in rows:
        at = _seconds(row[times[0]])
        for number in numbers if not texts else numbers[:1]:
            name = str(row[texts[0]]) if texts else columns[number]
            points = series.setdefault(name, {})
            if at is not None and is_number(row[number]) and math.isfinite(row[number]):
                points[at] = points.get(at, 0.0) + float(row[number])
    kept = dict(list(series.items())[:SERIES])
    starts = sorted({at for points in kept.values() for at in points})
    data: list[list[float | None]] = [list(starts), *([points.get(at) for at in starts] for points in kept.values())]
    return {"names": list(kept), "data": data} if len(starts) > 1 else None


def _seconds(value: Any) -> int | None:
    moment = moment_of(value.isoformat() if isinstance(value, date) and not isinstance(value, datetime) else value)
    return int(moment.timestamp()) if moment else None
