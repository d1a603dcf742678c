"""The law of isolation for Stripe's events: whatever one holds, in any field, its neighbours end as without it.

`NILOMETER_HOSTILE=0:29` tries all parts of all values in all fields, each commit tries one.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from tests.support.events.consumers import SAMPLES, around
from tests.support.events.consumers import new_customer as good
from tests.support.events.hostile import HOSTILE, LARGE, NO_JSON, fields, named, placed
from tests.support.events.neighbours import Odd, Settle, complaints
from tests.support.flows.billing_play import PLAYED_AT
from tests.support.stores.memory import MemoryObjects, MemoryStore

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.flows.billing import batch as billing
from nilometer.flows.billing import reading
from nilometer.flows.inbox.rejects import listed

PARTS = 29
"""One part of 29 of all values in all fields is tried: 29 is prime, so the part holds every field and every value."""
TRIED = range(*map(int, os.environ.get("NILOMETER_HOSTILE", "7:8").split(":")))
LEAST_VALUES = 60
A_SECOND = 400
"""Messages at least, of a process on a busy machine; 2,000 on a quiet one."""


def odd_ones(values: Mapping[str, str], *, every: int, first: int = 0) -> Iterator[Odd]:
    """Of each sample each field with each value: one in `every`, from `first` on."""
    places = [(stem, place) for stem, sample in SAMPLES.items() for place in fields(sample)]
    names = list(values)
    for number in range(first, len(places) * len(names), every):
        (stem, place), name = places[number // len(names)], names[number % len(names)]
        yield Odd(f"{stem}: {name} at {named(place)}", around(placed(SAMPLES[stem], place, values[name])))


def in_memory() -> Settle:
    store: Any = MemoryStore()
    objects: Any = MemoryObjects()

    def settle(messages: Sequence[Message]) -> Sequence[Result]:
        results = billing.handle(messages, store=store, objects=objects, now=PLAYED_AT)
        list(reading.list_billing(store))  # what is stored can be read
        return results

    return settle


@pytest.mark.parametrize("part", TRIED)
def test_no_value_in_any_field_harms_a_neighbour(part: int, record_property: Any) -> None:
    """In batches of 200, with a good customer before and after each; thousands a second without an engine."""
    odd = list(odd_ones(HOSTILE, every=PARTS, first=part))
    began = time.process_time()
    count, broken = complaints(odd, good, in_memory)
    rate = count / (time.process_time() - began)

    assert broken == []
    assert rate > A_SECOND
    record_property("measured", ("hostile messages of billing", "a second", f"{rate:,.0f}"))


def test_a_part_holds_every_field_of_every_sample_and_every_value() -> None:
    """Of at least sixty hostile values and wrong types."""
    places = {f"{stem} {named(place)}" for stem, sample in SAMPLES.items() for place in fields(sample)}
    tried = [re.fullmatch(r"(.+?): (.+) at (.+)", odd.what) for odd in odd_ones(HOSTILE, every=PARTS, first=TRIED[0])]

    assert len(HOSTILE) >= LEAST_VALUES
    assert {f"{one[1]} {one[3]}" for one in tried if one} == places
    assert {one[2] for one in tried if one} == set(HOSTILE)


def test_no_large_value_harms_a_neighbour() -> None:
    """Of 100 KB and more, nested 100,000 times: in fields that we read and in those that we do not."""
    assert complaints(odd_ones(LARGE, every=53), good, in_memory)[1] == []


def test_bytes_that_are_no_json_harm_nobody() -> None:
    """As the body, and inside the bus's envelope."""
    odd = [Odd(text[:20], body) for text in NO_JSON for body in (text, around(text))]

    assert complaints(odd, good, in_memory)[1] == []


def test_so_it_is_in_the_engine(store: Store, objects: Objects) -> None:
    """A part of them through DynamoDB itself; every reject can be listed, with its event's id where it is one."""
    odd = [*odd_ones(HOSTILE, every=8_009), *(Odd(text[:20], text) for text in NO_JSON)]

    def settle() -> Settle:
        return lambda messages: billing.handle(messages, store=store, objects=objects, now=PLAYED_AT)

    assert complaints(odd[:90], good, settle)[1] == []
    kept = list(listed(store, "billing", since=PLAYED_AT, now=PLAYED_AT))
    assert any(one["event_id"] for one in kept)
    assert all(len(one["message"].encode()) <= 2_000 for one in kept)


@pytest.mark.parametrize("position", [0, 7, 199])
@pytest.mark.parametrize("value", ["attempt_count", "metadata", "created", "items"])
def test_a_text_where_none_belongs(position: int, value: str) -> None:
    """At any position of a batch of 200: 199 customers are known afterwards."""
    store: Any = MemoryStore()
    stem = "invoice.payment_failed" if value == "attempt_count" else "customer.subscription.updated"
    event = json.loads(json.dumps(SAMPLES[stem]))
    event["data"]["object"][value] = "2x"
    bodies = [good(number) for number in range(199)]
    bodies.insert(position, around(json.dumps(event)))
    messages = [Message(str(number), body) for number, body in enumerate(bodies)]
    objects: Any = MemoryObjects()

    results = billing.handle(messages, store=store, objects=objects, now=PLAYED_AT)

    assert {result.outcome for result in results} == {Outcome.ACCEPTED}
    assert sum((one["workspace"] or "").startswith("ws_good") for one in reading.list_billing(store)) == 199
