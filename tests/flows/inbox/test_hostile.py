"""The law of isolation: in any batch, for any bytes in any message, every neighbour ends as it would without it.

The odd one is accepted, known, refused with its reason, or waits: it never fails, for it would fail for ever.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.support.events.consumers import FLOWS, Flow
from tests.support.events.hostile import HOSTILE, LARGE, NO_JSON, fields, named, placed
from tests.support.events.neighbours import Odd, Settle, complaints, odd_ones
from tests.support.flows.dataset_world import batch, new_world
from tests.support.flows.operations import NOW
from tests.support.lake.build import KEYS, packed
from tests.support.lake.build import change as change_row
from tests.support.lake.build import stripe_event as stripe_event_row
from tests.support.lake.build import usage as usage_row
from tests.support.project import EVENTS
from tests.support.stores.memory import MemoryObjects, MemoryStore

from nilometer.aws.dynamodb import Store
from nilometer.aws.eventbridge import BusEntry
from nilometer.aws.s3 import Objects
from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.domain.lake import rows
from nilometer.domain.store.times import epoch
from nilometer.domain.store.writes import Table
from nilometer.domain.stripe.signature import sign
from nilometer.errors import Rejected
from nilometer.flows.billing.webhook import receive
from nilometer.flows.inbox.rejects import listed
from nilometer.flows.lake import append
from nilometer.lake.write.append import Lake

SECONDS_EACH = 0.05
"""Of a message, on average: a number of a million digits would take half a minute."""


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
    odd = odd_ones((EVENTS / flow.samples).glob("*.json"), values=LARGE, every=17 if name == "operations" else 3)

    assert complaints(odd, flow.good, worlds(flow))[1] == []


@pytest.mark.parametrize("name", FLOWS)
def test_no_text_of_a_refused_event_is_announced(name: str) -> None:
    """In any field of any sample, with either quotation mark in it: the message may quote it, the announcement not."""
    flow, objects = FLOWS[name], MemoryObjects()
    texts = {text: json.dumps(text) for text in ("Ada 'L' Byron", 'Ada "L" Byron', "Ada L'\"Byron", "Ada ö, #% Byron")}
    odd = list(odd_ones((EVENTS / flow.samples).glob("*.json"), values=texts))
    ready = MemoryStore()
    flow.prepare(ready, objects)
    told = []
    for start in range(0, len(odd), 200):
        store = ready.copy()
        messages = [Message(str(number), one.body) for number, one in enumerate(odd[start : start + 200])]
        flow.handle(messages, store=store, objects=objects, now=NOW)
        kept = [item for item in store.scan(Table.EVENTS) if item["kind"] == "reject"]
        told += [(item["message"], rows.reject_announcement(item)["message"]) for item in kept]

    assert len(told) > 100
    assert {said for _, said in told if "Ada" in said or "Byron" in said} == set()
    assert any("Byron" in message for message, _ in told)


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


OBJECTS: Any = MemoryObjects()


class _Bus:
    """Takes whatever the webhook publishes."""

    def publish(self, entries: Sequence[BusEntry]) -> None:
        assert all(entry.detail for entry in entries)


class _Secrets:
    def current(self) -> tuple[str, ...]:
        return ("whsec_1",)

    def refresh(self) -> tuple[str, ...]:
        return ("whsec_1",)


def test_the_webhook_answers_whatever_is_signed() -> None:
    """Taken, or refused for good with a reason: nothing makes it fail, for Stripe would send it for three days."""
    bus: Any = _Bus()
    paths = sorted((EVENTS / "stripe").glob("*.json"))
    bodies = [
        *(odd.body for odd in odd_ones(paths, every=97)),
        *(odd.body for odd in odd_ones(paths, values=LARGE, every=997)),
    ]
    refusals = []
    for body in [*bodies, *NO_JSON, "[" * 3_000 + "]" * 3_000]:
        content = body.encode(errors="surrogatepass")
        signature = sign(content, secret="whsec_1", timestamp=epoch(NOW))
        try:
            receive(content, signature, now=NOW, secrets=_Secrets(), bus=bus, objects=OBJECTS)
        except Rejected as error:
            refusals.append(error)

    assert {error.reason for error in refusals} == {"invalid_json", "too_large"}
    assert max(len(str(error)) for error in refusals) < 400


def test_no_value_harms_a_neighbour_on_its_way_to_a_dataset(store: Store, objects: Objects, tmp_path: Path) -> None:
    """A part of them, with the rows and their table on disk."""
    world = new_world(store, objects, tmp_path)
    columns = ("contact_id:string", "updated_at:timestamp", "stage:string:null", "score:double:null")
    world.declare("crm_contacts", *columns)
    world.declare("orders", "id:string")
    numbers = itertools.count()

    def good(_number: int) -> str:
        return batch(f"good {next(numbers)}", rows=[{"id": "1"}])

    def handle(messages: Sequence[Message]) -> Sequence[Result]:
        return world.settle(messages)

    odd = [*odd_ones((EVENTS / "datasets").glob("*.json"), every=53), *(Odd(body[:20], body) for body in NO_JSON[::3])]
    assert complaints(odd, good, lambda: handle)[1] == []


@pytest.mark.parametrize("table", ["usage", "stripe_events", "audit"])
def test_no_value_harms_a_neighbour_on_its_way_to_the_lake(table: str, objects: Objects, tmp_path: Path) -> None:
    """Of every column of a row, in messages of rows as they travel; one commit holds all good ones."""
    lake = Lake(uri=str(tmp_path / "lake"), storage_options={})
    row = {"usage": usage_row("u"), "stripe_events": stripe_event_row("evt"), "audit": change_row("c")}[table]
    numbers = itertools.count()

    def good(_number: int) -> str:
        return packed("usage", usage_row(f"good {next(numbers)}"))

    def handle(messages: Sequence[Message]) -> Sequence[Result]:
        deadline = time.monotonic() + 60
        return append.append(messages, lake=lake, objects=objects, keys=KEYS, now=NOW, deadline=deadline)

    sample = {"table": table, "rows": [row]}
    odd = [
        Odd(f"{value} at {named(place)}", placed(sample, place, text))
        for place in fields(sample)
        for value, text in HOSTILE.items()
    ]
    every = len(odd) // 400
    assert complaints([*odd[::every], *(Odd(body[:20], body) for body in NO_JSON)], good, lambda: handle)[1] == []
