"""The metrics are SQL that engines have in common."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
import sqlglot
from sqlglot import exp

from nilometer.domain.lake.all_tables import ALL_TABLES
from nilometer.lake.metrics.metrics import EXPLAIN_MRR, METRICS, Metric
from nilometer.lake.metrics.period import MetricPeriod

PERIOD = MetricPeriod(first=date(2026, 1, 1), last=date(2026, 3, 31), known_at=datetime(2026, 12, 1, tzinfo=UTC))
COMMON = {
    "cast", "coalesce", "sum", "min", "max", "count", "lag", "lead", "row_number", "first_value", "round", "mod",
    "greatest", "least", "date_trunc", "timestamp_trunc", "case", "if", "and", "or", "try_cast",
}  # fmt: skip


@pytest.mark.parametrize("dialect", ["duckdb", "athena", "trino", "spark"])
@pytest.mark.parametrize("metric", [*METRICS.values(), EXPLAIN_MRR], ids=lambda metric: metric.name)
def test_a_metric_is_read_by_each_dialect(metric: Metric, dialect: str) -> None:
    """As one statement over tables of ours and its own expressions, with functions that each engine has."""
    statement = sqlglot.parse_one(metric.sql(PERIOD, "ws_1"), dialect=dialect)

    own = {named.alias for named in statement.find_all(exp.CTE)} | {"months", "days"}
    assert {table.name for table in statement.find_all(exp.Table)} - own <= set(ALL_TABLES)
    assert {function.sql_name().lower() for function in statement.find_all(exp.Func)} <= COMMON
    assert not list(statement.find_all(exp.Anonymous))
