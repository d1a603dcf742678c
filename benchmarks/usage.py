"""What counting a usage event costs: `python benchmarks/usage.py [--quick]`.

Runs against a fresh local engine, so the rates compare designs on one machine and are not AWS's. CPU is that of this
process alone (`time.process_time`): ours, and botocore's with its HTTP. Write units are computed from the items by
DynamoDB's rules (1 KB steps, twice in a transaction, also when it is cancelled), as on-demand tables bill them.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from nilometer import CreateMeter, CreateWorkspace, operator, perform, service
from nilometer.aws.dynamodb import Store
from nilometer.aws.items import marshal
from nilometer.domain.events.outcome import Message, Outcome
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Absent, Key, Put, Table, Update, Write
from nilometer.errors import Cancelled
from nilometer.flows.usage import batch as usage
from nilometer.flows.usage.known import Known
from nilometer.local.plane.charges import item_bytes
from nilometer.local.plane.engine import REGION, Engine, engine

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)

Run = Callable[["Bench", Sequence[Message], int], None]


class Metered:
    """A DynamoDB client that knows how often it was called, and the CPU of botocore in it."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.reset()

    def reset(self) -> None:
        self.cpu = 0.0
        self.own = 0.0  # of the measuring itself
        self.units = 0.0
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._client, name)
        if not callable(real):
            return real

        def call(**request: Any) -> Any:
            self.calls[name] += 1
            if name in {"put_item", "update_item", "delete_item"}:
                self.units += 1.0
            began = time.thread_time()
            try:
                return real(**request)
            except Exception as error:
                self.calls[f"{name} {type(error).__name__}"] += 1
                raise
            finally:
                self.cpu += time.thread_time() - began

        return call


class InFlight:
    """DynamoDB's rule for transactions that meet: one that touches an item of another in flight is cancelled.

    The local engine runs one transaction after the other and never cancels for this, so the benchmark does.
    """

    SECONDS = 0.01  # of a transaction on AWS

    def __init__(self) -> None:
        self._keys: set[Key] = set()
        self._lock = threading.Lock()
        self.conflicts = 0

    @contextmanager
    def holding(self, keys: set[Key]) -> Iterator[None]:
        with self._lock:
            if self._keys & keys:
                self.conflicts += 1
                raise Cancelled(["TransactionConflict"])
            self._keys |= keys
        try:
            time.sleep(self.SECONDS)
            yield
        finally:
            with self._lock:
                self._keys -= keys


class MeteredStore(Store):
    """Write units of a transaction by DynamoDB's rules, also of one that is cancelled; a counter is below 1 KB."""

    def __init__(self, client: Metered, *, records: str, events: str, flight: InFlight | None = None) -> None:
        super().__init__(client, records=records, events=events)  # type: ignore[arg-type]
        self._metered = client
        self._flight = flight

    def commit(self, writes: Sequence[Write]) -> None:
        began = time.thread_time()
        sizes = (math.ceil(item_bytes(marshal(write.item)) / 1024) if isinstance(write, Put) else 1 for write in writes)
        self._metered.units += 2.0 * sum(sizes)
        self._metered.own += time.thread_time() - began
        with self._flight.holding({write.key for write in writes}) if self._flight else nullcontext():
            super().commit(writes)


@dataclass
class Bench:
    """Tables, a workspace and a meter of its own in a running engine."""

    aws: Engine
    shards: int = 1
    client: Metered = field(init=False)
    store: Store = field(init=False)

    def __post_init__(self) -> None:
        suffix = uuid.uuid4().hex[:8]
        self.records, self.events = f"records-{suffix}", f"events-{suffix}"
        plain = self.connect()
        for name in (self.records, self.events):
            plain.create_table(
                TableName=name,
                BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("pk", "sk")],
                KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            )
        self.client, self.store = self.metered()
        perform(self.store, service("ws_bench", "test"), CreateWorkspace(name="Bench"), now=NOW)
        perform(
            self.store,
            operator("test"),
            CreateMeter(meter="llm_tokens", unit="token", aggregation="sum", dimensions=["model"]),
            now=NOW,
        )
        record = self.store.get(Table.RECORDS, keys.workspace("ws_bench")) or {}
        self.store.commit([Put(table=Table.RECORDS, item={**record, "shards": self.shards})])
        self.client.reset()

    def connect(self) -> Any:
        return boto3.client(
            "dynamodb",
            endpoint_url=self.aws.endpoint_url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106  # the engine takes any
            config=Config(
                parameter_validation=False, user_agent="nilometer", retries={"mode": "standard", "max_attempts": 5}
            ),
        )

    def metered(self, flight: InFlight | None = None) -> tuple[Metered, Store]:
        client = Metered(self.connect())
        return client, MeteredStore(client, records=self.records, events=self.events, flight=flight)

    def total(self) -> Decimal:
        counters = self.store.query(Table.RECORDS, "WORKSPACE#ws_bench", prefix="USAGE#llm_tokens#2026")
        return Decimal(sum(item["total"] for item in counters))


def event(number: int) -> dict[str, Any]:
    """As large as a realistic one: a ULID, a path, a dimension."""
    return {
        "specversion": "1.0",
        "id": f"req_01JD8Q2Z5K3W9V{number:012d}",
        "source": "/services/inference",
        "type": "usage.recorded.v1",
        "subject": "ws_bench",
        "time": "2026-11-23T04:14:05.123Z",
        "data": {"meter": "llm_tokens", "quantity": "1532", "unit": "token", "dimensions": {"model": "m-large"}},
    }


def messages(count: int, *, duplicates: float = 0.0, start: int = 0) -> list[Message]:
    """`count` deliveries, of which a part are copies of earlier ones."""
    chance = random.Random(count)
    numbers: list[int] = []
    for n in range(count):
        again = numbers and chance.random() < duplicates
        numbers.append(chance.choice(numbers) if again else start + n)
    envelope = {"version": "0", "id": "x", "detail-type": "usage.recorded.v1", "source": "s", "time": "t"}
    return [Message(str(n), json.dumps({**envelope, "detail": event(number)})) for n, number in enumerate(numbers)]


def batches(sent: Sequence[Message], size: int) -> Iterator[Sequence[Message]]:
    for start in range(0, len(sent), size):
        yield sent[start : start + size]


def nilometer(bench: Bench, sent: Sequence[Message], size: int) -> None:
    known = Known(bench.store)
    for batch in batches(sent, size):
        results = usage.handle(batch, store=bench.store, objects=None, now=NOW, known=known)  # type: ignore[arg-type]
        assert all(result.outcome in {Outcome.ACCEPTED, Outcome.DUPLICATE} for result in results)


def transaction_each(bench: Bench, sent: Sequence[Message], _size: int) -> None:
    """(a) A fact and its two counters in a transaction of their own."""
    for message in sent:
        detail = json.loads(message.body)["detail"]
        key = keys.usage_event(detail["source"], detail["id"])
        fact = {"pk": key.pk, "sk": key.sk, "kind": "usage_event", "version": 1, **detail["data"], "at": detail["time"]}
        counters = [
            Update(
                table=Table.RECORDS,
                key=keys.counter("ws_bench", "llm_tokens", start, 0),
                add={"total": Decimal(detail["data"]["quantity"])},
            )
            for start in ("2026-11-01T00:00:00.000Z", "DAY#2026-11-23")
        ]
        try:
            bench.store.commit([Put(table=Table.EVENTS, item=fact, expected=Absent()), *counters])
        except Cancelled:
            continue


def powertools(bench: Bench, sent: Sequence[Message], _size: int) -> None:
    """(b) Powertools' idempotency around two ADDs: exact only while nothing dies between them and its record."""
    from aws_lambda_powertools.utilities.idempotency import (  # noqa: PLC0415  # needs the table's client
        DynamoDBPersistenceLayer,
        IdempotencyConfig,
        idempotent_function,
    )

    layer = DynamoDBPersistenceLayer(
        table_name=bench.events, key_attr="pk", sort_key_attr="sk", boto3_client=bench.client
    )
    config = IdempotencyConfig(event_key_jmespath="[source, id]")

    @idempotent_function(data_keyword_argument="detail", persistence_store=layer, config=config)
    def count(*, detail: dict[str, Any]) -> str:
        for start in ("2026-11-01T00:00:00.000Z", "DAY#2026-11-23"):
            key = keys.counter("ws_bench", "llm_tokens", start, 0)
            bench.client.update_item(
                TableName=bench.records,
                Key=marshal({"pk": key.pk, "sk": key.sk}),
                UpdateExpression="ADD #total :quantity",
                ExpressionAttributeNames={"#total": "total"},
                ExpressionAttributeValues={":quantity": {"N": detail["data"]["quantity"]}},
            )
        return "counted"

    for message in sent:
        count(detail=json.loads(message.body)["detail"])


@dataclass(frozen=True)
class Cost:
    """Of one event."""

    rate: float
    cpu: float
    botocore: float
    units: float
    exact: bool


def measure(aws: Engine, run: Run, *, count: int, size: int, copies: float) -> Cost:
    bench = Bench(aws)
    run(bench, messages(size, start=10_000_000), size)  # warm: imports, connections, caches
    bench.client.reset()
    sent = messages(count, duplicates=copies)
    before, began, cpu = bench.total(), time.perf_counter(), time.process_time()
    run(bench, sent, size)
    cpu, took = time.process_time() - cpu - bench.client.own, time.perf_counter() - began
    distinct = len({json.loads(message.body)["detail"]["id"] for message in sent})
    return Cost(
        rate=count / took,
        cpu=cpu / count * 1e3,
        botocore=bench.client.cpu / count * 1e3,
        units=bench.client.units / distinct,
        exact=bench.total() - before == 1532 * distinct,
    )


def show(aws: Engine, name: str, run: Run, *, count: int, size: int, copies: float, repeat: int = 1) -> None:
    """The run with the least CPU: what else the machine does only adds."""
    costs = [measure(aws, run, count=count, size=size, copies=copies) for _ in range(repeat)]
    best = min(costs, key=lambda cost: cost.cpu)
    print(
        f"{name:<22} {size:>5} {copies:>5.0%} {best.rate:>9,.0f} {best.cpu:>8.3f} {best.cpu - best.botocore:>7.3f} "
        f"{best.botocore:>9.3f} {best.units:>7.3f}  {'exact' if all(cost.exact for cost in costs) else 'WRONG'}",
        flush=True,
    )


def contend(aws: Engine, *, shards: int, consumers: int, count: int) -> None:
    """Several consumers, one hot workspace."""
    bench = Bench(aws, shards=shards)
    sent = messages(count)
    clients: list[Metered] = []
    flight = InFlight()

    def consume(number: int) -> None:
        client, store = bench.metered(flight)
        clients.append(client)
        known = Known(store)
        for batch in batches(sent[number::consumers], 500):
            pending: Sequence[Message] = batch
            while pending:
                results = usage.handle(pending, store=store, objects=None, now=NOW, known=known)  # type: ignore[arg-type]
                failed = {result.message_id for result in results if result.outcome is Outcome.FAILED}
                pending = [message for message in pending if message.id in failed]

    threads = [threading.Thread(target=consume, args=(n,)) for n in range(consumers)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    commits = sum(client.calls["transact_write_items"] for client in clients)
    exact = "exact" if bench.total() == 1532 * count else "WRONG"
    units = sum(client.units for client in clients) / count
    print(f"{shards:>6} {consumers:>9} {count / took:>9,.0f} {commits:>8} {flight.conflicts:>9} {units:>7.3f}  {exact}")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="a tenth of the events")
    scale = 10 if arguments.parse_args().quick else 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        with engine(port=0, data=path, log=path / "engine.log") as aws:
            print("design                 batch  dups  events/s   CPU ms   ours  botocore   WRU/ev")
            for copies in (0.0, 0.05):
                for size, count in ((10, 2_000), (100, 6_000), (1_000, 6_000), (3_000, 6_000)):
                    show(
                        aws,
                        "nilometer",
                        nilometer,
                        count=max(size, count // scale),
                        size=size,
                        copies=copies,
                        repeat=3,
                    )
                for name, run in (("(a) transaction each", transaction_each), ("(b) Powertools + ADD", powertools)):
                    show(aws, name, run, count=1_000 // scale, size=1, copies=copies)
            print("\nshards consumers  events/s  commits conflicts  WRU/ev")
            for shards in (1, 4, 8):
                contend(aws, shards=shards, consumers=4, count=8_000 // scale)


if __name__ == "__main__":
    main()
