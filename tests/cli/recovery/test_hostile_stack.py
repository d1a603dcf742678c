"""Hostile messages through the real webhook, bus, queues and pollers: a sample, with good ones between them."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
from tests.support.events.hostile import NO_JSON
from tests.support.events.neighbours import odd_ones
from tests.support.events.webhook import event, post
from tests.support.project import EVENTS

ENTRY_BYTES = 200_000


def client(stack: Any, service: str) -> Any:
    return boto3.client(
        service,  # type: ignore[call-overload]
        endpoint_url=stack.about["aws_endpoint_url"],
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def published(stack: Any, details: Iterator[str]) -> int:
    """How many the bus took: one that is no JSON object it refuses itself."""
    events, taken = client(stack, "events"), 0
    for start in iter(lambda: list(itertools.islice(details, 10)), []):
        entries = [
            {"EventBusName": stack.about["bus"], "Source": "services.odd", "DetailType": type_of(one), "Detail": one}
            for one in start
            if len(one.encode(errors="replace")) < ENTRY_BYTES
        ]
        answer = events.put_events(Entries=entries) if entries else {"Entries": []}
        taken += sum("EventId" in one for one in answer["Entries"])
    return taken


def type_of(detail: str) -> str:
    found = json.loads(detail).get("type")
    return found if isinstance(found, str) and 0 < len(found) <= 128 else "usage.recorded.v1"


def details(flow: str, every: int) -> Iterator[str]:
    """Events of a flow as a service would publish them, with hostile values, that are JSON objects."""
    for odd in odd_ones(sorted((EVENTS / flow).glob("*.json")), every=every, first=3):
        try:
            detail = json.loads(odd.body)["detail"]
            text = json.dumps(detail)
            text.encode()
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
        if isinstance(detail, dict):
            yield text


def test_hostile_messages_harm_nobody_in_a_running_stack(nilometer: Any, stack: Any) -> None:
    """All good customers are known, all good usage is counted, and nothing becomes a dead letter."""
    before = len(nilometer("dlq", "list", "--json").lines)
    workspace, meter = f"ws_{uuid.uuid4().hex[:8]}", f"m_{uuid.uuid4().hex[:8]}"
    nilometer("workspace", "create", workspace)
    nilometer("meter", "create", meter, "--unit", "call")
    customers = [f"cus_{uuid.uuid4().hex[:12]}" for _ in range(40)]

    odd = [one.body for one in odd_ones(sorted((EVENTS / "stripe").glob("*.json")), every=1_499)]
    answers = [post(stack, one.encode(errors="surrogatepass")) for one in [*odd[:110], *NO_JSON[:20]]]
    for number, customer in enumerate(customers):
        made = event("customer.created")
        metadata = {"workspace_id": f"{workspace}_{number}"}
        made["data"] = {"object": {"id": customer, "object": "customer", "livemode": False, "metadata": metadata}}
        assert post(stack, json.dumps(made).encode()) == 200
        nilometer(
            "usage", "send", "--workspace", workspace, "--meter", meter, "--quantity", "1"
        ) if number < 5 else None
    taken = published(stack, details("usage", 61)) + published(stack, details("operations", 611))
    for _ in range(5):
        nilometer("usage", "send", "--workspace", workspace, "--meter", meter, "--quantity", "1")
    nilometer("wait")

    known = {name for row in nilometer("billing", "list", "--json").lines for name in row["customers"]}
    used = {one["meter"]: one["used"] for one in nilometer("usage", "show", workspace, "--json").json["meters"]}
    assert set(answers) <= {200, 400}
    assert taken > 80
    assert set(customers) <= known
    assert used == {meter: "10"}
    assert len(nilometer("dlq", "list", "--json").lines) == before
