"""How far a stage scales, computed: `python benchmarks/scaling.py [--write]`.

From template.yaml (batch sizes, concurrency, memory, throttles), AWS's default quotas, and what an event costs in the
other benchmarks here (`MEASURED`), it computes how many events a second each part lets through, how much of it the two
goals need, and what the goals cost an hour at the prices of `nilometer cost`. Nothing runs on AWS: the ceilings are
estimates, and the first real load test should be held against them. `--write` puts the tables into docs/scaling.md.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from nilometer.local.demo.prices import prices

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/scaling.md"
STRIPE, USAGE = 10_000, 100_000  # events a second: the goals
VCPU_MEMORY = 1769  # MB of a Lambda function that are one vCPU
ACCOUNT_CONCURRENCY = 1_000
TABLE_UNITS = 40_000  # write units a second of one table
NEW_SHARDS = 4  # of the stream of a new on-demand table
HOT_TRANSACTIONS = 100  # a second on one item, before they cancel each other
QUOTAS = {  # EventBridge: PutEvents and invocations of targets a second
    "us-east-1, us-west-2, eu-west-1": (10_000, 18_750),
    "us-east-2, eu-central-1": (2_400, 4_500),
}
MEASURED: Mapping[str, float] = {
    "request_s": 0.008,  # one request to DynamoDB or EventBridge from Lambda
    "commit_s": 0.5,  # opening, reading and committing a Delta table on S3
    "webhook_cpu_s": 0.0008,
    "billing_cpu_s": 0.0006,  # benchmarks/billing.py: own and botocore's
    "billing_requests": 0.11,
    "billing_meeting": 2.0,  # times the requests of one worker, when several meet
    "billing_units": 1.9,  # in `records`; one more in `events`
    "record_changes": 1.3,  # of an event, on the stream of `records`
    "deliveries": 2.1,  # targets of the bus an event: its queue, and the changes it causes
    "usage_cpu_s": 0.00007,  # benchmarks/usage.py
    "usage_requests": 0.02,
    "usage_units": 2.04,
    "change_cpu_s": 0.00035,
    "stripe_rows": 2_063,  # rows of a queue that fit into the 6 MB of an invocation
    "usage_rows": 83_000,
    "lake_two": 1.48,  # benchmarks/writers.py: two writers of a table and day beside one
    "lake_four": 1.92,
}


@dataclass(frozen=True, slots=True)
class Ceiling:
    """`per_second` events of `kind` that one part lets through, why, and what lifts it."""

    kind: str
    part: str
    per_second: int
    why: str
    lift: str


class _Tags(yaml.SafeLoader):
    """Tags of CloudFormation stay as what stands under them."""


def _tagged(loader: Any, _suffix: str, node: Any) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    return loader.construct_sequence(node) if isinstance(node, yaml.SequenceNode) else loader.construct_mapping(node)


_Tags.add_multi_constructor("!", _tagged)


class Deployed:
    """What template.yaml gives each function."""

    def __init__(self, text: str) -> None:
        body = yaml.load(text, Loader=_Tags)  # noqa: S506  # a SafeLoader with the tags
        self._resources = {name: one["Properties"] for name, one in body["Resources"].items() if "Properties" in one}
        self.webhook_rate = int(body["Parameters"]["WebhookRate"]["Default"])

    def mapping(self, function: str) -> Mapping[str, Any]:
        """Batch size, concurrency and so on of the first source of a function."""
        mappings = (one for one in self._resources.values() if "EventSourceArn" in one)
        return next(one for one in mappings if f"{function}Function" in str(one["FunctionName"]))

    def speed(self, function: str) -> float:
        """vCPUs."""
        return int(self._resources[f"{function}Function"]["MemorySize"]) / VCPU_MEMORY


def ceilings(deployed: Deployed) -> list[Ceiling]:
    """Of every part that an event passes, in its order."""
    return [Ceiling("stripe", *row) for row in _of_stripe(deployed)] + [
        Ceiling("usage", *row) for row in _of_usage(deployed)
    ]


Row = tuple[str, int, str, str]


def _of_stripe(deployed: Deployed) -> Iterator[Row]:
    m = MEASURED
    puts, invocations = QUOTAS["us-east-1, us-west-2, eu-west-1"]
    webhook = m["webhook_cpu_s"] / deployed.speed("Webhook") + m["request_s"]
    yield "HTTP API", deployed.webhook_rate, "parameter `WebhookRate`", "`WebhookRate`; 10,000 is the account's quota"
    why = f"{ACCOUNT_CONCURRENCY:,} at once, {webhook * 1000:.0f} ms each"
    yield "webhook", int(ACCOUNT_CONCURRENCY / webhook), why, "the account's quota of concurrent executions"
    yield "bus, PutEvents", puts, "one event a request", "its quota; 2,400 in us-east-2 and eu-central-1"
    why = f"{invocations:,} invocations of targets, {m['deliveries']} an event"
    yield "bus, deliveries", int(invocations / m["deliveries"]), why, "its quota; `ChangesOnBus=needed` sends fewer"
    requests = m["billing_requests"] * m["billing_meeting"]
    yield _consumer(deployed, "Billing", STRIPE, m["billing_cpu_s"], requests)
    why, lift = f"{m['billing_units']} write units an event", "its quota; a new table begins at 4,000 units: warm it"
    yield "table `records`", int(TABLE_UNITS / m["billing_units"]), why, lift
    yield "table `events`", TABLE_UNITS, "1 write unit an event", lift
    yield _changes(deployed)
    yield _lake("stripe_events", m["stripe_rows"], m["commit_s"])


def _of_usage(deployed: Deployed) -> Iterator[Row]:
    m = MEASURED
    puts, _ = QUOTAS["us-east-1, us-west-2, eu-west-1"]
    why = "10 entries of 100 events a request, as `nilometer.publish` sends them; 100,000 one by one"
    yield "bus, PutEvents", puts * 10 * 100, why, "its quota"
    yield _consumer(deployed, "Usage", USAGE, m["usage_cpu_s"], m["usage_requests"])
    why = f"{m['usage_units']} write units an event"
    yield "table `events`", int(TABLE_UNITS / m["usage_units"]), why, "its quota"
    why = f"{HOT_TRANSACTIONS} transactions a second on one item, 95 events each"
    yield "one counter", HOT_TRANSACTIONS * 95, why, "shards of the meter"
    yield _lake("usage", m["usage_rows"], 2 * m["commit_s"])


def _lake(table: str, rows: float, seconds: float) -> Row:
    """Two writers a table, whose commits come one after the other."""
    why = f"{rows:,.0f} rows a batch of {seconds} s, two writers are {MEASURED['lake_two']} of one"
    lift = f"`MaximumConcurrency` of its mapping: four are {MEASURED['lake_four']} of one"
    return f"lake, `{table}`", int(rows / seconds * MEASURED["lake_two"]), why, lift


def _consumer(deployed: Deployed, function: str, goal: int, cpu: float, requests: float) -> Row:
    source = deployed.mapping(function)
    size, workers = int(source["BatchSize"]), int(source["ScalingConfig"]["MaximumConcurrency"])
    seconds = size * (cpu / deployed.speed(function) + requests * MEASURED["request_s"])
    lift = f"`MaximumConcurrency` of its mapping: {math.ceil(goal * seconds / size)} for the goal"
    return function.lower(), int(workers * size / seconds), f"{workers} at once, {size:,} in {seconds:.2f} s", lift


def _changes(deployed: Deployed) -> Row:
    factor = int(deployed.mapping("Changes")["ParallelizationFactor"])
    each, records = MEASURED["change_cpu_s"] / deployed.speed("Changes"), MEASURED["record_changes"]
    why = f"{NEW_SHARDS} shards of a new table × {factor}, {each * 1000:.1f} ms a record, {records} records an event"
    return (
        "changes",
        int(NEW_SHARDS * factor / each / records),
        why,
        "`ParallelizationFactor`, up to 10; a table that grew has more shards",
    )


def costs() -> dict[str, Decimal]:
    """Dollars an hour at the goals, for what grows with events and is most of the bill: units and bus."""
    listed = prices()
    m = {name: Decimal(str(value)) for name, value in MEASURED.items()}
    unit, event = listed["write_unit"], listed["bus_event"]
    stripe = unit.of((m["billing_units"] + 1) * STRIPE) + event.of(m["deliveries"] * STRIPE)
    usage = unit.of(m["usage_units"] * USAGE) + event.of(Decimal(USAGE) / 100)
    return {"stripe": stripe * 3600, "usage": usage * 3600}


def markdown(rows: list[Ceiling]) -> str:
    """The tables of docs/scaling.md."""
    lines = []
    for kind, goal in (("stripe", STRIPE), ("usage", USAGE)):
        name = "Stripe events" if kind == "stripe" else "usage events"
        lines += [f"| part | {name} a second | why | reaches {goal:,} | what lifts it |", "|---|---|---|---|---|"]
        for one in rows:
            if one.kind == kind:
                reached = "yes" if one.per_second >= goal else "no"
                lines.append(f"| {one.part} | {one.per_second:,} | {one.why} | {reached} | {one.lift} |")
        dollars = f"{costs()[kind]:,.0f} dollars an hour"
        lines += ["", f"At {goal:,} a second write units and the bus, most of the bill, cost about {dollars}.", ""]
    return "\n".join(lines).rstrip()


def deployed() -> Deployed:
    """The template of this checkout."""
    return Deployed((ROOT / "template.yaml").read_text())


def with_tables(page: str, rows: list[Ceiling]) -> str:
    """The page with these tables between its marks."""
    before, mark, rest = page.partition("<!-- >>> tables -->\n")
    _, end, after = rest.partition("<!-- <<< tables -->")
    return f"{before}{mark}{markdown(rows)}\n{end}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="the tables of docs/scaling.md")
    rows = ceilings(deployed())
    if parser.parse_args().write:
        PAGE.write_text(with_tables(PAGE.read_text(), rows))
        return
    for row in rows:
        print(json.dumps({**asdict(row), "goal": STRIPE if row.kind == "stripe" else USAGE}))
    print(json.dumps({"dollars_an_hour": {kind: round(float(cost), 2) for kind, cost in costs().items()}}))


if __name__ == "__main__":
    main()
