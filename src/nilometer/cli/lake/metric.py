"""`nilometer metric` and `nilometer explain`: figures of the business, and the events that they are made of."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from nilometer.cli.lake.query import rows_table
from nilometer.cli.lake.tables import lake_of
from nilometer.cli.terminal.completing import among
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.groups import SectionedGroup
from nilometer.cli.terminal.near import near_names
from nilometer.cli.terminal.output import echo, json_option, note, out, print_json_lines, table, whole
from nilometer.cli.terminal.times import time_option
from nilometer.domain.stripe.event import OWN_ACCOUNT
from nilometer.errors import Rejected

if TYPE_CHECKING:
    from nilometer.lake.metrics.period import MetricPeriod

MONTHS = 12  # shown by default


def _names() -> Iterable[str]:
    from nilometer.lake.metrics.metrics import METRICS

    return METRICS


_known_at = time_option("--known-at", help="As it was known at this time; as known now unless given.")
_workspace = click.option("--workspace", metavar="ID", help="Of this workspace only.")
_account = click.option(
    "--account", metavar="ACCT", default=OWN_ACCOUNT, help="A Connect account; the platform's own unless given."
)
_csv = click.option("--csv", "as_csv", is_flag=True, help="CSV with a header on stdout.")


@click.command()
@click.argument("name", required=False, shell_complete=among(_names))
@time_option("--from", help="First day; the first of the month twelve months ago unless given.")
@time_option("--to", help="Last day, included; today unless given.")
@_known_at
@_workspace
@_account
@click.option(
    "--rates", type=click.File(), metavar="FILE", help="CSV currency,day,rate: convert all amounts to one currency."
)
@click.option("--currency", default="usd", metavar="CODE", help="The currency to convert to; usd.")
@_csv
@click.option("--sql", "as_sql", is_flag=True, help="Print the statement instead of its result.")
@stack_options
@json_option
def metric(
    connection: Connection,
    *,
    name: str | None,
    known_at: datetime | None,
    workspace: str | None,
    account: str,
    rates: Iterable[str] | None,
    currency: str,
    as_csv: bool,
    as_sql: bool,
    as_json: bool,
    **days: datetime | None,
) -> None:
    """Figures of the business: recurring revenue, churn, cohorts, revenue, receivables.

    Without a name, lists all metrics. Amounts are whole minor units of their currency; docs/metrics.md has the rules. A
    rate is the number of minor units of --currency for one minor unit, from its day on.

    \b
    Examples:
      nilometer metric mrr_movements --from 2026-01-01
      nilometer metric revenue --known-at 2026-11-05 --csv > revenue.csv
      nilometer metric mrr_daily --rates rates.csv --currency eur --json
      nilometer metric revenue --account acct_1SWfA2KZ9dQ
    """
    from nilometer.lake.metrics.metrics import METRICS

    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other")
    if name is None:
        out().print(table(["metric", "~question"], [(m.name, m.question) for m in METRICS.values()]))
        return
    if name not in METRICS:
        near = near_names(name, METRICS)
        raise click.UsageError(f"there is no metric {name}{near}; `nilometer metric` lists them")
    period = asked_period(connection.now, days["from"], days["to"], known_at)
    if as_sql:
        echo(METRICS[name].sql(period, workspace, account))
        return
    columns, rows = _asked(connection, METRICS[name].sql(period, workspace, account))
    if rates is not None:
        from nilometer.lake.metrics.rates import in_one_currency, read_rates

        rows = in_one_currency(METRICS[name], rows, read_rates(rates, currency))
        columns = METRICS[name].columns
    _show(columns, rows, as_csv=as_csv, as_json=as_json)
    if not rows:
        _say_whose(connection, account)


@click.group(cls=SectionedGroup)
def explain() -> None:
    """The events behind a figure."""


@explain.command()
@click.argument("month")
@_known_at
@_workspace
@_account
@_csv
@stack_options
@json_option
def mrr(
    connection: Connection,
    *,
    month: str,
    known_at: datetime | None,
    workspace: str | None,
    account: str,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Every change of every item up to the end of MONTH: the changes add up to its recurring revenue.

    `cause` is the event; `because` is change, or the reason of a change without an event: trial, discount, pause, end.

    \b
    Example:
      nilometer explain mrr 2026-10 --workspace acme
    """
    from nilometer.lake.metrics.metrics import EXPLAIN_MRR

    first, last = month_bounds(month)
    period = asked_period(connection.now, _midnight(first), _midnight(last), known_at)
    columns, rows = _asked(connection, EXPLAIN_MRR.sql(period, workspace, account))
    _show(columns, rows, as_csv=as_csv, as_json=as_json)
    if not rows:
        _say_whose(connection, account)
    for currency, amount in sorted({str(row["currency"]): row["mrr"] for row in rows}.items()):
        note(f"{month}: {amount:,} {currency} in minor units")


def _asked(connection: Connection, sql: str) -> tuple[Sequence[str], list[dict[str, Any]]]:
    from nilometer.lake.read.query import query

    answer = query(sql, **lake_of(connection))
    return answer.columns, [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]


def asked_period(
    now: datetime, first: datetime | None, last: datetime | None, known_at: datetime | None
) -> MetricPeriod:
    """Whole UTC days, twelve months back and up to today unless given. `Rejected("invalid_period")` for none."""
    from nilometer.lake.metrics.period import MetricPeriod

    until = (last or now).astimezone(UTC).date()
    since = first.astimezone(UTC).date() if first else _months_before(until, MONTHS)
    if since > until:
        raise Rejected("invalid_period", f"--from {since} is after --to {until}; exchange them")
    return MetricPeriod(first=since, last=until, known_at=known_at or now)


def _months_before(day: date, months: int) -> date:
    number = day.year * 12 + day.month - 1 - months
    return date(number // 12, number % 12 + 1, 1)


def month_bounds(text: str) -> tuple[date, date]:
    """First and last day of a month as 2026-10. `Rejected("invalid_month")` for anything else."""
    try:
        first = date.fromisoformat(f"{text}-01")
    except ValueError as error:
        raise Rejected("invalid_month", f"{text!r} is no month; write it as 2026-10") from error
    return first, (first.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _show(columns: Sequence[str], rows: list[dict[str, Any]], *, as_csv: bool, as_json: bool) -> None:
    if as_json:
        print_json_lines({name: whole(value) for name, value in row.items()} for row in rows)
    elif as_csv:
        writer = csv.DictWriter(sys.stdout, columns)
        writer.writeheader()
        writer.writerows(rows)
    elif rows:
        out().print(rows_table(columns, [list(row.values()) for row in rows]))


_ACCOUNTS = f"""
select account from (select account from subscriptions_history union select account from invoices_history)
order by account <> '{OWN_ACCOUNT}', account
"""  # noqa: S608  # constants of the code


def _say_whose(connection: Connection, account: str) -> None:
    """That there is nothing; and some accounts that have something, our own first, when this one never had."""
    _, rows = _asked(connection, _ACCOUNTS)
    others = [str(row["account"]) for row in rows]
    known = f"; there is money of --account {', '.join(others[:_NAMED])}" if others and account not in others else ""
    note(f"nothing in this time{known}")


_NAMED = 5
