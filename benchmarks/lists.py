"""What a list costs: `python -m benchmarks.lists [--workspaces 3] [--others 5000]`.

On an engine on this machine, among `--others` registers of a kilobyte: each list by the whole table, as before there
was an index and until its pass is whole, then by the index. Requests are as on AWS, seconds are this machine's. The
pass itself comes between: what it costs to put the workspaces of before into the index, once.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.billing import client_of
from tests.support.stores.engine import new_store

from nilometer import CreateWorkspace, perform, service
from nilometer.aws.dynamodb import Store
from nilometer.console.workspaces import reading as console
from nilometer.domain.store.writes import Key, Table, new_item
from nilometer.flows.people import workspaces
from nilometer.flows.people.listing import complete_lists
from nilometer.flows.recovery import overview
from nilometer.local.plane.engine import engine

NOW = datetime(2026, 12, 1, tzinfo=UTC)
LISTS: dict[str, Callable[[Store], Any]] = {
    "workspace list": workspaces.all_workspaces,
    "billing list": lambda store: overview.billing(store, now=NOW),
    "meter list": lambda store: store.every("meter"),
    "a page of the console": lambda store: console.listed(store, None).rows,
}


def measure(client: Any, count: int, others: int) -> Iterator[dict[str, Any]]:
    store = new_store(client)
    filled(store, count, others)
    for way in ("the table", "the index"):
        for name, read in LISTS.items():
            store.requests, began = 0, time.monotonic()
            rows = len(list(read(store)))
            took = round(time.monotonic() - began, 3)
            yield {
                "figure": name,
                "by": way,
                "rows": rows,
                "requests": store.requests,
                "s": took,
            }
        if way == "the table":
            complete_lists(store, now=NOW)
            store.requests, store.write_units, began = 0, 0.0, time.monotonic()
            complete_lists(store, now=NOW + timedelta(days=1))
            took = round(time.monotonic() - began, 3)
            yield {"figure": "the pass", "requests": store.requests, "write_units": store.write_units, "s": took}


def filled(store: Store, count: int, others: int) -> None:
    """Half of the workspaces as versions from before the index wrote them."""
    store.put_all(
        Table.RECORDS,
        [
            new_item(Key(f"OBJECT#{n}", f"PRODUCT#{n}"), "register", object_type="product", x="x" * 900)
            for n in range(others)
        ],
    )
    for n in range(count):
        perform(store, service(f"ws_{n}", "services"), CreateWorkspace(name="Acme"), now=NOW)
    old = list(store.scan(Table.RECORDS, kind="workspace"))[::2]
    store.put_all(Table.RECORDS, [{name: item[name] for name in item if name != "gsi2pk"} for item in old])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspaces", type=int, default=3)
    parser.add_argument("--others", type=int, default=5000)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        engine(port=0, data=Path(folder), log=Path(folder) / "log", saved=False) as running,
    ):
        for figure in measure(client_of(running.endpoint_url), options.workspaces, options.others):
            print(json.dumps(figure), flush=True)


if __name__ == "__main__":
    main()
