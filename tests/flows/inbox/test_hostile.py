"""The law of isolation: in any batch, for any bytes in any message, every neighbour ends as it would without it.

The odd one is accepted, known, refused with its reason, or waits: it never fails, for it would fail for ever.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from tests.support.events.hostile import NO_JSON
from tests.support.events.neighbours import Odd, Settle, complaints, large_ones, odd_ones
from tests.support.flows import sample_world
from tests.support.flows.operations import NOW, envelope, event
from tests.support.flows.usage import cloud
from tests.support.flows.usage import prepare as prepare_usage
from tests.support.project import EVENTS
from tests.support.stores.memory import MemoryObjects, MemoryStore

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.flows.inbox.rejects import listed
from nilometer.flows.notices import batch as notices
from nilometer.flows.operations import batch as operations
from nilometer.flows.usage import batch as usage

SECONDS_EACH = 0.05
"""Of a message, on average: a number of a million digits would take half a minute."""


@dataclass(frozen=True)
class Flow:
    """A consumer, its samples, a message that it accepts, and what that needs."""

    samples: str
    handle: Callable[..., Sequence[Result]]
    good: Callable[[int], str]
    prepare: Callable[[Store, Any], object]


def new_workspace(number: int) -> str:
    return event("workspace.created.v1", {"name": "A"}, id_=f"good {number}", subject=f"ws_good_{number}")


def call(number: int) -> str:
    return envelope(cloud(f"good {number}"))


def new_role(number: int) -> str:
    """A change that is told to its member."""
    sample = json.loads((EVENTS / "changes/record.changed.v1.membership-modified.json").read_text())
    data = sample["detail"]["data"]
    for image in (data["old_image"], data["new_image"]):
        image["user_id"] = "user_max"
    data["new_image"]["version"] = 100 + number
    return json.dumps(sample)


FLOWS = {
    "operations": Flow("operations", operations.handle, new_workspace, sample_world.prepare),
    "usage": Flow("usage", usage.handle, call, lambda store, _objects: prepare_usage(store)),
    "notices": Flow("changes", notices.handle, new_role, sample_world.prepare),
}


def worlds(flow: Flow) -> Callable[[], Settle]:
    """A new world in memory for each batch."""
    objects = MemoryObjects()
    ready = MemoryStore()
    flow.prepare(ready, objects)

    def settle() -> Settle:
        store = ready.copy()
        return lambda messages: flow.handle(messages, store=store, objects=objects, now=NOW)

    return settle


@pytest.mark.parametrize("name", FLOWS)
def test_no_value_in_any_field_harms_a_neighbour(name: str, record_property: Any) -> None:
    """Of every sample every field, with every hostile value and wrong type, in batches of 200."""
    flow, began = FLOWS[name], time.process_time()
    count, broken = complaints(odd_ones((EVENTS / flow.samples).glob("*.json")), flow.good, worlds(flow))
    seconds = time.process_time() - began

    assert broken == []
    assert seconds / count < SECONDS_EACH
    record_property("measured", (f"hostile messages of {name}", "a second", f"{count / seconds:,.0f}"))


@pytest.mark.parametrize("name", FLOWS)
def test_no_large_value_harms_a_neighbour(name: str) -> None:
    """Of 100 KB and more, nested 100,000 times: what quotes it is cut, what holds it rests in the bucket."""
    flow = FLOWS[name]
    odd = large_ones((EVENTS / flow.samples).glob("*.json"), every=17 if name == "operations" else 3)

    assert complaints(odd, flow.good, worlds(flow))[1] == []


@pytest.mark.parametrize("name", FLOWS)
def test_bytes_that_are_no_json_harm_nobody(name: str) -> None:
    """Put on the queue by hand, cut off, or of another encoding."""
    odd = [Odd(body[:20], body) for body in NO_JSON]

    assert complaints(odd, FLOWS[name].good, worlds(FLOWS[name]))[1] == []


@pytest.mark.parametrize("name", FLOWS)
def test_so_it_is_in_the_engine(name: str, store: Store, objects: Objects) -> None:
    """A part of them, and all that is no JSON, through DynamoDB itself; every reject can be listed."""
    flow = FLOWS[name]
    flow.prepare(store, objects)
    paths = sorted((EVENTS / flow.samples).glob("*.json"))
    fields = 997 if name == "operations" else 211
    odd = [*odd_ones(paths, every=fields, first=5), *(Odd(body[:20], body) for body in NO_JSON)]
    rejected = []

    def settle() -> Settle:
        def handle(messages: Sequence[Message]) -> Sequence[Result]:
            results = flow.handle(messages, store=store, objects=objects, now=NOW)
            rejected.extend(one for one in results if one.outcome is Outcome.REJECTED)
            return results

        return handle

    assert complaints(odd[:100], flow.good, settle)[1] == []
    kept = list(listed(store, name, since=NOW, now=NOW))
    assert 0 < len(kept) <= len(rejected)
    assert all(len(one["message"]) <= 2_000 for one in kept)
