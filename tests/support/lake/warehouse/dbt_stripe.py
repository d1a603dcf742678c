"""`make dbt-stripe`: Fivetran's package, unmodified, on our tables, and how its recurring revenue differs.

`python -m tests.support.lake.warehouse.dbt_stripe PACKAGE [LAKE]`. PACKAGE is the folder of the package, in which
`dbt deps` ran; LAKE a folder or an `s3://` path, by default one with the known company of
seed 1, which is in Stripe's test mode.
"""

from __future__ import annotations

import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
from tests.support.flows.billing_play import OBJECTS
from tests.support.lake.books import Books
from tests.support.lake.known_company import END, START, KnownCompany
from tests.support.lake.known_stripe import Delivery
from tests.support.lake.warehouse.dbt_build import build
from tests.support.stores.memory import MemoryStore

from nilometer.lake.metrics.metrics import METRICS
from nilometer.lake.metrics.period import MetricPeriod
from nilometer.lake.warehouse.export import export

_COMPARED = """
    with ours as (
      select date_trunc('month', day)::date as month, currency, max_by(mrr, day) as mrr from truth group by all),
    theirs as (
      select subscription_month as month, currency, sum(month_contract_mrr) as contracted,
             sum(month_billed_mrr) as billed
      from main_stripe.stripe__subscription_item_mrr_report group by all)
    select month, currency, mrr, round(contracted)::bigint as contracted, round(billed)::bigint as billed
    from ours left join theirs using (month, currency) where currency = 'usd' order by month"""


def main() -> int:
    """dbt's own code of return; its output and the comparison go to the terminal."""
    package = Path(sys.argv[1] if len(sys.argv) > 1 else "")
    if not (package / "dbt_packages").is_dir():
        print("PACKAGE is a folder with dbt_stripe in which `dbt deps` ran: make dbt-stripe PACKAGE=folder")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        own = len(sys.argv) < 3
        file = Path(folder) / "lake.duckdb"
        export(_known_lake(Path(folder) / "lake") if own else sys.argv[2], file)
        failed = build(package, file, stripe__using_livemode=not own)
        if not failed and own:
            _compare(file)
        return failed


def _known_lake(folder: Path) -> str:
    books = Books(MemoryStore(), OBJECTS, folder)
    Delivery(KnownCompany(1), books, 1).run()
    return str(folder)


def _compare(file: Path) -> None:
    last = (END - timedelta(days=1)).date()
    period = MetricPeriod(first=START.date(), last=last, known_at=datetime(2028, 1, 1, tzinfo=UTC))
    with duckdb.connect(str(file)) as connection:
        connection.execute("set timezone = 'UTC'; set schema = 'nilometer'")
        connection.execute(f"create temp table truth as {METRICS['mrr_daily'].sql(period)}")
        connection.execute("set schema = 'main'")
        connection.sql(_COMPARED).show(max_rows=100)


if __name__ == "__main__":
    sys.exit(main())
