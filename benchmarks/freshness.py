"""How long after an event its row is visible in a typed table: `python benchmarks/freshness.py [--events 300]`.

A whole stack on this machine gets webhooks of subscriptions; a reader opens the Delta table again and again, as an
analyst would, and notes when it first sees each. One JSON line: percentiles of seconds from the post to the reader, and
`window_seconds`, for which a batch of rows may wait (`LakeWindow`; a second here, 20 by default on AWS).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from nilometer.lake.tables.storage import storage_options
from nilometer.lake.tables.tables import table_uri
from nilometer.local.demo.delivery import WebhookClient
from nilometer.local.stack.stack import Options, Stack, stack
from nilometer.local.stripe.world import StripeWorld

TABLE = "subscriptions_history"
LOCAL_WINDOW = 1
GOAL = 2  # seconds above the window
PATIENCE = 120


class Reader:
    """Opens the table until it is stopped; `seen` is when each event's resolved row was there."""

    def __init__(self, running: Stack) -> None:
        where = {"AWS_ENDPOINT_URL": running.engine.endpoint_url, "AWS_REGION": "us-east-1"}
        credentials = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        self._options = storage_options({**os.environ, **where, **credentials})
        self._uri = table_uri(running.description.lake_uri, TABLE)
        self._stopped = threading.Event()
        self.seen: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        version = -1
        while not self._stopped.wait(0.05):
            try:
                table = DeltaTable(self._uri, storage_options=self._options)
            except TableNotFoundError:
                continue
            if table.version() > version:
                version = table.version()
                rows = table.to_pyarrow_table(columns=["cause", "origin"]).to_pylist()
                now = time.monotonic()
                for row in rows:
                    if row["origin"] == "event":
                        self.seen.setdefault(row["cause"], now)


def events(count: int) -> Iterator[dict[str, Any]]:
    """`count` of a subscription that is new: each changes what is known of one."""
    world = StripeWorld(datetime.now(UTC))
    price = world.price(world.product("Papyrus", {}), 4900)
    found = 0
    while found < count:
        before = len(world.events)
        world.subscribe(world.customer(f"ws_{found}"), [(price, 1)])
        for event in world.events[before:]:
            if event["type"] == "customer.subscription.created":
                found += 1
                yield event


def measure(running: Stack, count: int, rate: float) -> dict[str, Any]:
    """Posts `count` events at `rate` a second and waits until the reader has seen them."""
    client = WebhookClient(running.description.webhook_url, secret=str(running.description.stripe_secret))
    reader = Reader(running)
    posted: dict[str, float] = {}
    began = time.monotonic()
    for number, event in enumerate(events(count)):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        posted[event["id"]] = time.monotonic()
        assert client.deliver(number, json.dumps(event).encode()).taken
    deadline = time.monotonic() + PATIENCE
    while posted.keys() - reader.seen.keys() and time.monotonic() < deadline:
        time.sleep(0.1)
    reader.stop()
    took = sorted(reader.seen[event] - when for event, when in posted.items() if event in reader.seen)
    cuts = statistics.quantiles(took, n=100)
    return {
        "table": TABLE,
        "events": count,
        "rate": rate,
        "missing": count - len(took),
        "window_seconds": LOCAL_WINDOW,
        "p50": round(cuts[49], 2),
        "p95": round(cuts[94], 2),
        "p99": round(cuts[98], 2),
        "load": round(os.getloadavg()[0], 1),
        "cpus": os.cpu_count(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=300)
    parser.add_argument("--rate", type=float, default=10)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NILOMETER_RUNTIME_DIR"] = str(Path(folder) / "run")
        with stack(Options(port=0, aws_port=0)) as running:
            measure(running, 20, 10)  # warm
            measured = measure(running, given.events, given.rate)
    print(json.dumps(measured))
    return int(measured["missing"] > 0 or measured["p95"] > LOCAL_WINDOW + GOAL)


if __name__ == "__main__":
    sys.exit(main())
