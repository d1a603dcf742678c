"""How long a page of the console takes: `python benchmarks/console.py [--events 1000000] [--workspaces 10000]`.

An engine on this machine holds so many usage events, a Stripe event and two changes for every hundredth of them, and so
many workspaces with subscriptions; for every thousandth event another one was refused this week. Each page is asked for
the first time, then five times more; a list also at its second page, and where it finds nothing. Goal: a second by the
clock at the first look, on a machine that does nothing else; beside it the CPU that the console took. Then nobody looks
for a while. Exit code 1 when a goal was missed.
"""

from __future__ import annotations

import argparse
import html
import http.client
import os
import re
import statistics
import sys
import tempfile
import threading
import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import uvicorn
from deltalake import write_deltalake
from tests.support.stack.still import still
from tests.support.stores.engine import new_store

from nilometer.aws.clients import client
from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.console.app import application
from nilometer.console.http.visitor import LaptopGate
from nilometer.console.place import Place
from nilometer.domain.events.reject import Reject, item
from nilometer.domain.lake.all_tables import ALL_TABLES
from nilometer.domain.lake.tables import Type
from nilometer.domain.store import keys
from nilometer.domain.store.compressed import pack_record
from nilometer.domain.store.writes import Table, new_item
from nilometer.lake.tables.storage import storage_options
from nilometer.lake.tables.tables import open_or_create, table_uri
from nilometer.local.plane.engine import engine

GOAL = 1.0
IDLE_SECONDS, IDLE_GOAL = 10, 5
DAYS = 31
PAGES = (
    "/",
    "/events",
    "/events/lake",
    "later /events/lake",
    "/events/lake?workspace=ws_7",
    "/events/lake?kind=usage&text=nothing",
    "/events/lake?object=cus_7",
    "/event?name=evt_9",
    "/event?name=/services/inference%23req_9",
    "/event?name=evt_nowhere",
    "/workspaces",
    "later /workspaces",
    "/workspaces?q=ws_7",
    "/workspaces/ws_7",
    "/workspaces/ws_7/history",
    "/workspaces/ws_7/as-of?at=4000000000",
    "/money",
    *(f"/money/{part}" for part in ("mrr", "movement", "churn", "cohorts", "revenue", "receivables", "usage_revenue")),
    *(f"/money/{part}" for part in ("failed", "ended", "usage")),
    "/money/mrr.csv",
    "/money/usage.csv",
    "/money/events/mrr?of_currency=usd",
    "/money/events/movement?of_currency=usd",
    "/operations",
    "/operations/letters",
    "/operations/rejects",
    "/operations/schedules",
    "/operations/reconcile",
    "/operations/cost",
    "/sql",
    "/sql?recipe=events-per-type",
)
LATER = "later "
"""Before a list: the page that follows its first one."""
SQL_TYPES = {
    Type.STRING: "varchar",
    Type.JSON: "varchar",
    Type.INT64: "bigint",
    Type.TIMESTAMP: "timestamptz",
    Type.DATE: "date",
    Type.DECIMAL: "decimal(24, 9)",
    Type.BOOL: "boolean",
    Type.DOUBLE: "double",
}
AT = f"now() - to_seconds(({DAYS} * 86400 * (1 - (n + 1) / total))::bigint)"
COMMON = {
    "event_date": f"({AT})::date",
    "created": f"epoch({AT})::bigint",
    **dict.fromkeys(("time", "created_at", "received_at", "recorded_at", "occurred_at", "valid_from", "known_at"), AT),
    **dict.fromkeys(("livemode", "deleted", "ambiguous"), "false"),
    "account": "'self'",
    "workspace_id": "'ws_' || (n % workspaces)",
    "origin": "'event'",
    "change_id": "'change_' || n",
    "digest": "'digest_' || n",
    "sequence_number": "lpad(n::varchar, 20, '0')",
}
OF = {
    "usage": {
        "event_id": "'req_' || n",
        "source": "'/services/inference'",
        "type": "'usage.recorded.v1'",
        "meter": "'api_calls'",
        "quantity": "n % 100",
        "unit": "'call'",
        "period_start": "date_trunc('month', now())",
    },
    "stripe_events": {
        "event_id": "'evt_' || n",
        "type": "'customer.subscription.updated'",
        "source": "'webhook'",
        "object_type": "'subscription'",
        "object_id": "'sub_' || n",
        "customer_id": "'cus_' || n",
        "payload": '\'{"id": "evt_\' || n || \'", "noise": "\' || repeat(md5(n::varchar), 60) || \'"}\'',
    },
    "audit": {
        "table_name": "'records'",
        "kind": "'billing'",
        "action": "'MODIFY'",
        "cause": "'evt_' || n",
        "pk": "'WORKSPACE#ws_' || (n % workspaces)",
        "sk": "'BILLING'",
        "changed_fields": "'[\"plan\"]'",
        "old_image": '\'{"plan": "reed"}\'',
        "new_image": '\'{"plan": "papyrus"}\'',
    },
    "subscriptions_history": {
        "object_id": "'sub_' || n",
        "customer_id": "'cus_' || n",
        "status": "'active'",
        "cause": "'evt_' || n",
    },
    "subscription_items_history": {
        "object_id": "'si_' || n",
        "subscription_id": "'sub_' || n",
        "position": "0",
        "price_id": "'price_1'",
        "currency": "'usd'",
        "unit_amount": "4900",
        "quantity": "1",
        "interval": "'month'",
        "interval_count": "1",
    },
    "customers_history": {"object_id": "'cus_' || n"},
}


def fill_lake(lake: dict[str, Any], counts: dict[str, int], workspaces: int) -> None:
    """A commit a day and table, as upkeep leaves them."""
    for name, total in counts.items():
        declared = ALL_TABLES[name]
        made = {**COMMON, **OF[name]}
        columns = ", ".join(
            f"({made.get(one.name, 'null')})::{SQL_TYPES[one.type]} as {one.name}" for one in declared.columns
        )
        connection = duckdb.connect()
        connection.execute("set timezone = 'UTC'")
        numbers = f"select range as n, {total} as total, {workspaces} as workspaces from range({total})"  # noqa: S608  # ours
        rows = connection.sql(f"select {columns} from ({numbers})")  # noqa: S608  # our own names
        open_or_create(lake["lake_uri"], declared, lake["storage_options"])
        write_deltalake(
            table_uri(lake["lake_uri"], name),
            rows.to_arrow_table(),
            mode="append",
            storage_options=lake["storage_options"],
        )


def fill_tables(store: Store, workspaces: int) -> None:
    """A workspace and its billing record each, one meter, and counters of one workspace."""
    inputs = pack_record(b'{"customers": {}, "catalog": {}}')
    billing = {"inputs": inputs, "plan": "papyrus", "status": "active", "access": "full", "seats": 1, "customers": []}
    billing |= {"open_invoices": [], "conflicts": [], "cause": "evt_1", "updated_at": "2026-11-01T00:00:00.000Z"}
    for start in range(0, workspaces, 500):
        names = [f"ws_{number}" for number in range(start, min(start + 500, workspaces))]
        items = [
            one
            for name in names
            for one in (
                new_item(keys.workspace(name), "workspace", workspace_id=name, name=name, status="active", version=1),
                new_item(keys.billing(name), "billing", workspace_id=name, version=1, **billing),
            )
        ]
        store.put_all(Table.RECORDS, items)


def fill_rejects(store: Store, count: int) -> None:
    """Usage that was refused in the last six days."""
    now, noise = datetime.now(UTC), "x" * 800
    refused = Reject(flow="usage", reason="wrong_unit", message="api_calls counts call", payload="")
    for start in range(0, count, 500):
        items = [
            item(
                replace(refused, event_id=f"bad_{number}", workspace_id="ws_7", payload=f"{number} {noise}"),
                now=now - timedelta(days=number % 6),
            )
            for number in range(start, min(start + 500, count))
        ]
        store.put_all(Table.EVENTS, items)


def later(address: str, path: str) -> str:
    """The address of the list's second page."""
    connection = http.client.HTTPConnection(address, timeout=120)
    connection.request("GET", path)
    [found] = set(re.findall(rf'href="({path}[^"]*after=[^"]+)"', connection.getresponse().read().decode()))
    return html.unescape(found)


def serve(place: Place) -> str:
    """In a thread of this process."""
    config = uvicorn.Config(application(place, gate=LaptopGate()), port=0, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.05)
    return f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"


def looked(address: str, path: str) -> tuple[float, float]:
    """Seconds by the wall and of CPU."""
    connection = http.client.HTTPConnection(address, timeout=120)
    began, used = time.monotonic(), time.process_time()
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    assert answer.status in {200, 404}, (path, answer.status)
    return time.monotonic() - began, time.process_time() - used


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--events", type=int, default=1_000_000)
    options.add_argument("--workspaces", type=int, default=10_000)
    wanted = options.parse_args()
    missed = []
    with (
        tempfile.TemporaryDirectory() as folder,
        engine(port=0, data=Path(folder, "d"), log=Path(folder, "l")) as plane,
    ):
        os.environ.update(plane.environment)
        store, bucket = new_store(client("dynamodb")), f"lake-{uuid.uuid4().hex[:12]}"
        client("s3").create_bucket(Bucket=bucket)
        lake = {"lake_uri": f"s3://{bucket}/lake", "storage_options": storage_options(os.environ)}
        few = wanted.events // 100
        fill_lake(
            lake,
            {
                "usage": wanted.events - few,
                "stripe_events": few,
                "audit": 2 * few,
                **dict.fromkeys(("subscriptions_history", "subscription_items_history"), wanted.workspaces),
                "customers_history": wanted.workspaces,
            },
            wanted.workspaces,
        )
        fill_tables(store, wanted.workspaces)
        fill_rejects(store, wanted.events // 1000)
        objects = Objects(client("s3"), bucket=bucket)
        address = serve(still(store, objects, lake))
        print(f"{wanted.events:,} events, {wanted.workspaces:,} workspaces; goal {GOAL:.0f} s at the first look")
        for path in PAGES:
            asked = later(address, path.removeprefix(LATER)) if path.startswith(LATER) else path
            first, *others = [looked(address, asked) for _ in range(6)]
            again = statistics.median(wall for wall, _ in others)
            over = first[0] > GOAL
            missed += [path] if over else []
            print(
                f"{path:<40}first {first[0]:6.2f} s (CPU {first[1]:5.2f})   then {again:6.2f} s{'   missed' * over}",
                flush=True,
            )
        used = time.process_time()
        time.sleep(IDLE_SECONDS)
        share = (time.process_time() - used) / IDLE_SECONDS * 100
        print(f"while nobody looks {share:.2f} % of a processor; goal {IDLE_GOAL} %")
    return int(bool(missed) or share > IDLE_GOAL)


if __name__ == "__main__":
    sys.exit(main())
