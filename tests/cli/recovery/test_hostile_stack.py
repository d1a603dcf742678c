"""Hostile messages through the real webhook, bus, queues and pollers: a sample, with good ones between them."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
from tests.support.command_line import Answer
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


def test_hostile_messages_harm_nobody_in_a_running_stack(alone: Any) -> None:
    """All good customers are known, all good usage is counted, and nothing becomes a dead letter."""
    stack = alone.local()
    workspace, meter = "acme", "api_calls"
    customers = [f"cus_{uuid.uuid4().hex[:12]}" for _ in range(40)]
    odd = [one.body for one in odd_ones(sorted((EVENTS / "stripe").glob("*.json")), every=2_801)]  # some of each sample
    try:
        done(alone("workspace", "create", workspace))
        done(alone("meter", "create", meter, "--unit", "call", "--aggregation", "sum"))
        answers = [post(stack, one.encode(errors="surrogatepass")) for one in [*odd, *NO_JSON[:20]]]
        good = [post(stack, new_customer(customer, f"{workspace}_{n}")) for n, customer in enumerate(customers)]
        for _ in range(5):
            done(alone("usage", "send", "--workspace", workspace, "--meter", meter, "--quantity", "1"))
        taken = published(stack, details("usage", 61)) + published(stack, details("operations", 611))
        for _ in range(5):
            done(alone("usage", "send", "--workspace", workspace, "--meter", meter, "--quantity", "1"))
        done(alone("wait"))

        known = {name for row in alone("billing", "list", "--json").lines for name in row["customers"]}
        [used] = alone("usage", "show", workspace, "--json").json["meters"]
        letters = alone("dlq", "list", "--json").lines
        refused = {row["flow"] for row in alone("rejects", "list", "--json").lines}
    finally:
        stack.stop()

    assert set(answers) <= {200, 400, 413}
    assert set(good) == {200}
    assert taken > 80
    assert set(customers) <= known
    assert (used["meter"], used["used"]) == (meter, "10")
    assert refused >= {"billing", "usage", "operations"}
    assert letters == []


def done(answer: Answer) -> None:
    assert answer.code == 0, answer.err


def new_customer(customer: str, workspace: str) -> bytes:
    """As Stripe sends it, of a customer whose metadata names the workspace."""
    made = event("customer.created")
    metadata = {"workspace_id": workspace}
    made["data"] = {"object": {"id": customer, "object": "customer", "livemode": False, "metadata": metadata}}
    return json.dumps(made).encode()
