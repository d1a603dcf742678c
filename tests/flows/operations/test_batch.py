"""Workspaces and meters come from events and operators, in any order, once."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.flows.operations import NOW, event, handle
from tests.support.flows.sample_world import prepare
from tests.support.project import EVENTS, ROOT

from nilometer import CreateMeter, CreateWorkspace, operator, perform, service
from nilometer.aws.dynamodb import Store
from nilometer.domain.acts.deed import Actor
from nilometer.domain.events.outcome import Message, Outcome
from nilometer.domain.store import keys
from nilometer.domain.store.times import rfc3339
from nilometer.domain.store.writes import Table
from nilometer.errors import Refused, Rejected
from nilometer.flows.operations import batch as operations
from nilometer.flows.operations.types import TYPES, data_of

SAMPLES = sorted((EVENTS / "operations").glob("*.json"))


METER = {"meter": "llm_tokens", "unit": "token", "aggregation": "sum", "dimensions": ["model"]}


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_is_accepted_once(path: Path, store: Store, objects: Any) -> None:
    """The samples in `events/` are what a service may send; a copy changes nothing."""
    prepare(store, objects)

    assert handle(store, objects, path.read_text(), path.read_text()) == [Outcome.ACCEPTED, Outcome.DUPLICATE]


def test_fact_and_effect_are_stored_together(store: Store, objects: Any) -> None:
    """The record names the event that caused it, and the event is kept."""
    handle(store, objects, event("meter.created.v1", METER))

    record = store.get(Table.RECORDS, keys.meter("llm_tokens")) or {}
    fact = store.get(Table.EVENTS, keys.operation("/services/console", "e1")) or {}
    assert (record["unit"], record["dimensions"], record["cause"]) == ("token", ["model"], "e1")
    assert fact["data"] == METER


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_an_event_from_the_future_is_kept_as_a_reject(path: Path, store: Store, objects: Any) -> None:
    """It would win over all that comes before its time; so would its envelope, which a producer may date as well."""
    prepare(store, objects)
    sample = json.loads(path.read_text())
    before = list(store.scan(Table.RECORDS))
    for n, (ahead, envelope_ahead) in enumerate([(301, 0), (86_400 * 365, 86_400 * 365)]):
        sample["detail"] |= {"id": f"ahead {n}", "time": rfc3339(NOW + timedelta(seconds=ahead))}
        sample["time"] = rfc3339(NOW + timedelta(seconds=envelope_ahead))
        message = Message("1", json.dumps(sample))
        [result] = operations.handle([message], store=store, objects=objects, now=NOW)
        assert (result.outcome, result.fields["reason"]) == (Outcome.REJECTED, "too_far_in_future")

    assert list(store.scan(Table.RECORDS)) == before


def test_a_clock_may_be_five_minutes_ahead(store: Store, objects: Any) -> None:
    """No two clocks are the same."""
    body = json.loads(event("meter.created.v1", METER))
    body["detail"]["time"] = rfc3339(NOW + timedelta(minutes=5))

    assert handle(store, objects, json.dumps(body)) == [Outcome.ACCEPTED]


def test_any_order_of_updates_ends_in_the_same_record(store: Store, objects: Any) -> None:
    """A late older event cannot undo a newer one, and does not lose what only it says."""
    updates = [
        event("workspace.updated.v1", {"name": "B", "shards": 4}, id_="u1", subject="{}", second=1),
        event("workspace.updated.v1", {"name": "C"}, id_="u2", subject="{}", second=2),
        event("workspace.updated.v1", {"status": "suspended"}, id_="u3", subject="{}", second=3),
    ]
    for n, order in enumerate(itertools.permutations(updates)):
        created = event("workspace.created.v1", {"name": "A"}, id_=f"c{n}", subject=f"ws{n}")
        bodies = [body.replace("{}", f"ws{n}").replace('"u', f'"{n}-u') for body in order]
        handle(store, objects, created, *bodies)

        record = store.get(Table.RECORDS, keys.workspace(f"ws{n}")) or {}
        assert (record["name"], record["status"], record["shards"]) == ("C", "suspended", 4)


def test_an_update_before_its_creation_comes_again(store: Store, objects: Any) -> None:
    """The bus keeps no order: the queue delivers it again, and nothing of it is stored."""
    update = event("meter.updated.v1", {"meter": "llm_tokens", "active": False}, id_="e2", second=1)

    assert handle(store, objects, update) == [Outcome.WAITING]
    assert handle(store, objects, event("meter.created.v1", METER), update) == [Outcome.ACCEPTED, Outcome.ACCEPTED]
    assert (store.get(Table.RECORDS, keys.meter("llm_tokens")) or {})["active"] is False


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (event("meter.created.v1", {**METER, "aggregation": "median"}), "invalid_schema"),
        (event("meter.created.v1", {**METER, "meter": "LLM Tokens"}), "invalid_schema"),
        (event("meter.created.v1", {**METER, "extra": 1}), "invalid_schema"),
        (event("meter.created.v1", {"meter": "x", "unit": "u", "aggregation": "unique"}), "invalid_schema"),
        (event("workspace.created.v1", {"name": "A"}), "invalid_schema"),
        (event("workspace.created.v1", {"name": "A", "shards": 3}, subject="ws"), "invalid_schema"),
        (event("workspace.renamed.v1", {"name": "A"}, subject="ws"), "invalid_schema"),
        (event("meter.created.v1", METER, id_="x" * 300), "too_large"),
        ("nonsense", "invalid_schema"),
    ],
)
def test_what_is_wrong_for_good_is_kept_with_its_reason(body: str, reason: str, store: Store, objects: Any) -> None:
    """It is not delivered again, and its neighbour passes."""
    outcomes = handle(store, objects, body, event("meter.created.v1", METER, id_="good"))

    [kept] = store.query(Table.EVENTS, "REJECT#operations#2026-11-23")
    assert outcomes == [Outcome.REJECTED, Outcome.ACCEPTED]
    assert (kept["reason"], kept["payload"]) == (reason, body)


def test_an_identity_with_another_payload_is_rejected(store: Store, objects: Any) -> None:
    """Neither is silently picked: the first stays, the second is kept as a reject."""
    other = event("meter.created.v1", {**METER, "meter": "other"})

    assert handle(store, objects, event("meter.created.v1", METER), other) == [Outcome.ACCEPTED, Outcome.REJECTED]
    assert store.get(Table.RECORDS, keys.meter("other")) is None


def test_a_unit_is_for_good(store: Store, objects: Any) -> None:
    """What was counted in tokens cannot become calls."""
    second = event("meter.created.v1", {**METER, "unit": "call"}, id_="e2")

    assert handle(store, objects, event("meter.created.v1", METER), second) == [Outcome.ACCEPTED, Outcome.REJECTED]


def test_an_operator_may_create_twice_the_same(store: Store) -> None:
    """A repeated command changes nothing; a differing one is refused and says how it differs."""
    first = perform(store, operator("op"), CreateMeter(meter="calls", unit="call", aggregation="sum"), now=NOW)
    again = perform(store, operator("op"), CreateMeter(meter="calls", unit="call", aggregation="sum"), now=NOW)

    assert first["version"] == again["version"] == 1
    with pytest.raises(Refused, match="unit 'call', not 'token'"):
        perform(store, operator("op"), CreateMeter(meter="calls", unit="token", aggregation="sum"), now=NOW)
    with pytest.raises(Rejected):
        perform(store, operator("op"), CreateMeter(meter="No Slug", unit="token", aggregation="sum"), now=NOW)


def test_an_operator_creates_a_workspace(store: Store) -> None:
    """The same rules as for meters."""
    perform(store, service("ws", "op"), CreateWorkspace(name="Acme"), now=NOW)
    perform(store, service("ws", "op"), CreateWorkspace(name="Acme"), now=NOW)

    with pytest.raises(Refused, match="exists already"):
        perform(store, service("ws", "op"), CreateWorkspace(name="Other"), now=NOW)
    assert (store.get(Table.RECORDS, keys.workspace("ws")) or {})["name"] == "Acme"


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_an_event_sent_again_after_an_upgrade_is_still_a_copy(path: Path) -> None:
    """The hashes of the samples as earlier versions stored them: no later version may compute another."""
    known = json.loads((Path(__file__).parent / "payload_hashes.json").read_text())

    assert operations._fact(operations._decode(path.read_text()), NOW).item["payload_hash"] == known[path.stem]


def test_every_verb_stands_in_one_place() -> None:
    """Each deed is in the domain, under one event type, and no field of it is written again in a flow or an event."""
    assert len({*TYPES.values()}) == len(TYPES)
    for name, deed in TYPES.items():
        assert deed.__module__.startswith("nilometer.domain."), name
        carried = [field.name for field in fields(deed) if field.metadata.get("sent", True)]
        more = ["actor"] if deed.actor is Actor.NAMED else []
        assert [*data_of(name).__struct_fields__] == [*carried, *more]
        assert "decide" in vars(deed) or any("decide" in vars(base) for base in deed.__mro__[1:-1])
    flows = {path: path.read_text() for path in (ROOT / "src/nilometer/flows").rglob("*.py")}
    verbs = {deed.__name__ for deed in TYPES.values()}
    writing = [
        path.name for path, text in flows.items() if re.search(rf"^class ({'|'.join(verbs)})\b", text, re.MULTILINE)
    ]
    assert writing == []
