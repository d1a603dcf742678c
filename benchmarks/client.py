"""What the client and the HTTP API cost: `python benchmarks/client.py [--quick]`.

Runs against fresh local stacks, whose functions, engine and callers share this machine; so rates compare designs here
and are not AWS's. Times and rates are without the proxy before the engine that counts writes and dollars.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx2

from nilometer import (
    Client,
    CreateMeter,
    CreateWorkspace,
    LimitRule,
    OverrideLimit,
    connect,
    operator,
    perform,
    service,
)
from nilometer.local.demo.cost import ANSWER_SECONDS
from nilometer.local.demo.prices import prices
from nilometer.local.plane.charges import READS
from nilometer.local.plane.deployed import Function, logical
from nilometer.local.stack.runner import HTTP
from nilometer.local.stack.stack import Options, Stack, stack
from nilometer.local.workers.pool import Used

WRITES = {"PutItem", "UpdateItem", "TransactWriteItems", "BatchWriteItem", "DeleteItem"}
API = "ApiFunction"
SECONDS = 10.0
SENDERS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests")
    parser.add_argument("--only", choices=("import", "check", "lease", "events"), help="one of the measurements")
    parser.add_argument("--send", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.send:
        send_from_here(given.send[0], given.send[1], float(given.send[2]))
        return
    part = 10 if given.quick else 1
    if given.only in {None, "import"}:
        show("import", imports(11 if part == 1 else 3))
    if given.only == "import":
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NILOMETER_RUNTIME_DIR"] = folder
        if given.only in {None, "check", "events"}:
            with fresh() as running:
                if given.only != "events":
                    show("check over HTTP", checks(300 // part))
                if given.only != "check":
                    show("POST /v1/events", rates(sent(running, SECONDS / part)))
        if given.only in {None, "lease", "events"}:
            with fresh(counted=True) as running:
                if given.only != "events":
                    show("check on a lease", leases(running, 100_000 // part))
                if given.only != "lease":
                    show("dollars per million events", dollars(running, SECONDS / 10))


@contextlib.contextmanager
def fresh(*, counted: bool = False) -> Iterator[Stack]:
    """As `nilometer local` runs it; `counted` with a proxy before the engine, which slows all down."""
    with stack(Options(port=0, aws_port=0, counted=counted)) as running:
        prepare()
        idle(running)
        yield running


def show(name: str, figures: dict[str, float]) -> None:
    told = ", ".join(f"{key} {value:,.4g}" for key, value in figures.items())
    print(f"{name}: {told}", flush=True)


def prepare() -> None:
    store, now = connect().store(), datetime.now(UTC)
    perform(store, operator("bench"), CreateMeter(meter="calls", unit="call", aggregation="sum"), now=now)
    perform(store, service("acme", "bench"), CreateWorkspace(name="Acme", slug="acme", admin="ada"), now=now)
    rule = LimitRule(included="100000000", hard="100000000")
    perform(store, service("acme", "bench"), OverrideLimit(meter="calls", limit=rule), now=now)


def imports(times: int) -> dict[str, float]:
    """Milliseconds of CPU beyond the interpreter's own start, in processes of their own, each after the other."""
    bare, client = [], []
    for _ in range(times):
        bare.append(cpu("pass"))
        client.append(cpu("from nilometer import Client"))
    return {"ms beyond the interpreter": statistics.median(client) - statistics.median(bare)}


def cpu(code: str) -> float:
    script = f"import time; {code}; print(time.process_time() * 1000)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return float(done.stdout)


def checks(count: int) -> dict[str, float]:
    """Of one client, one after the other; and the first of each of many, with its connection and its key."""
    with Client() as client:
        client.whoami()
        took = [timed(lambda: client.limits.check("acme", "calls")) for _ in range(count)]
    first = [first_check() for _ in range(max(count // 5, 20))]
    named = (("", took), ("first ", first))
    return {f"{which}p{percent} ms": 1e3 * at(times, percent) for which, times in named for percent in (50, 95)}


def first_check() -> float:
    with Client() as client:
        return timed(lambda: client.limits.check("acme", "calls"))


def leases(running: Stack, count: int) -> dict[str, float]:
    """Of one holder at full speed; its blocks' requests are in the times. The writes until all is counted."""
    assert running.counter
    with Client() as client:
        client.whoami()
        running.counter.reset()
        with client.limits.lease("acme", "calls") as lease:
            took = [timed(lease.check) for _ in range(count)]
        idle(running)
        counted = running.counter.counts().charges
    writes = sum(requests for charge, requests in counted if charge.operation in WRITES)
    micro = {f"p{one:g} us": 1e6 * at(took, one) for one in (50, 99, 99.9)}
    return {**micro, "max ms": 1e3 * max(took), "write requests per 100 checks": 100 * writes / count}


def sent(running: Stack, seconds: float) -> tuple[float, float, float]:
    """Events accepted from batches of 100 by some senders at once, the requests and the seconds that they took."""
    with Client() as client:
        client.whoami()
        key = str(client._send._key)  # noqa: SLF001  # the stack gave it
    # A process of its own: who sends must not hold up the threads that answer.
    place = [running.description.origin, key, str(seconds)]
    told = subprocess.run([sys.executable, __file__, "--send", *place], capture_output=True, text=True, check=True)
    accepted, requests, took = map(float, told.stdout.split())
    return accepted, requests, took


def rates(measured: tuple[float, float, float]) -> dict[str, float]:
    accepted, requests, took = measured
    return {"events/s": accepted / took, "requests/s": requests / took}


def dollars(running: Stack, seconds: float) -> dict[str, float]:
    """Of a million events, by list prices without what is free, from counted requests and the function's seconds on a
    processor. The bus bills the events without the API too."""
    assert running.counter
    running.counter.reset()
    before = on_processor(running)
    accepted, requests, _ = sent(running, seconds)
    cpu = on_processor(running) - before
    charges = [(one, asked) for one, asked in running.counter.counts().charges if logical(one.caller) == API]
    waits = sum(asked * ANSWER_SECONDS.get(one.service, 0.0) for one, asked in charges)
    memory = api(running)[1].memory / 1024

    def price(name: str, amount: float) -> float:
        return float(prices()[name].of(Decimal(amount) * 1_000_000 / Decimal(accepted)))

    return {
        "bus": price("bus_event", sum(one.billed for one, _ in charges if one.operation == "PutEvents")),
        "HTTP API": price("http_request", requests),
        "Lambda": price("function_request", requests) + price("function_gb_second", (cpu + waits) * memory),
        "DynamoDB": price("read_unit", sum(one.billed for one, _ in charges if one.operation in READS)),
        "ms of CPU per request of the function": 1e3 * cpu / requests,
    }


def api(running: Stack) -> tuple[str, Function]:
    [found] = [(name, one) for name, one in running.runner.deployment.functions.items() if logical(name) == API]
    return found


def on_processor(running: Stack) -> float:
    return running.runner.status().functions[api(running)[0]].used.get(HTTP, Used()).cpu


def send_from_here(origin: str, key: str, seconds: float) -> None:
    """Prints how many events were accepted, by how many requests, in how many seconds."""
    began, accepted = time.monotonic(), list[int]()
    until = began + seconds
    threads = [threading.Thread(target=send, args=(origin, key, until, accepted)) for _ in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(sum(accepted), len(accepted), time.monotonic() - began)


def send(origin: str, key: str, until: float, accepted: list[int]) -> None:
    with httpx2.Client(base_url=origin, headers={"authorization": f"Bearer {key}"}, timeout=30) as http:
        while time.monotonic() < until:
            answered = http.post("/v1/events", content=batch(), headers={"content-type": "application/json"})
            accepted.append(answered.json()["accepted"])


def batch() -> bytes:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    one = {"specversion": "1.0", "source": "/workspaces/acme", "type": "usage.recorded.v1", "subject": "acme"}
    data = {"meter": "calls", "quantity": "1", "unit": "call"}
    return json.dumps([{**one, "time": now, "id": uuid.uuid4().hex, "data": data} for _ in range(100)]).encode()


def idle(running: Stack) -> None:
    deadline = time.monotonic() + 120
    while not running.status()["idle"] and time.monotonic() < deadline:
        time.sleep(0.3)


def timed(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def at(took: Sequence[float], percent: float) -> float:
    return sorted(took)[min(len(took) - 1, int(len(took) * percent / 100))]


if __name__ == "__main__":
    main()
