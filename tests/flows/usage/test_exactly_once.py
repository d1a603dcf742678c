"""Whatever dies, is lost, comes again, is regrouped or runs twice: counters are the sum over distinct events."""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.faulty import FaultyStore, Killed, dies_at, together, unlucky
from tests.support.flows.operations import NOW, envelope
from tests.support.flows.usage import batch, changed, cloud, totals, void

from nilometer import CreateMeter, CreateWorkspace, operator, perform, service
from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.events.outcome import Message, Outcome
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Put, Table
from nilometer.flows.usage import batch as usage

EARLY = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def ready(store: Store) -> Store:
    """A store with meters; each case takes workspaces of its own."""
    perform(store, operator("test"), CreateMeter(meter="api_calls", unit="call", aggregation="sum"), now=EARLY)
    perform(store, operator("test"), CreateMeter(meter="seats", unit="seat", aggregation="max"), now=EARLY)
    return store


def known(store: Store, *, shards: int = 1) -> str:
    workspace = f"ws_{uuid.uuid4().hex[:8]}"
    perform(store, service(workspace, "test"), CreateWorkspace(name="Acme"), now=EARLY)
    record = store.get(Table.RECORDS, keys.workspace(workspace)) or {}
    store.commit([Put(table=Table.RECORDS, item={**record, "shards": shards})])
    return workspace


def bodies(events: Sequence[Any]) -> list[Message]:
    return [Message(str(n), e if isinstance(e, str) else envelope(e)) for n, e in enumerate(events)]


def deliver(store: Any, objects: Objects, messages: Sequence[Message]) -> list[Message]:
    """One invocation; what the queue delivers again."""
    try:
        results = usage.handle(messages, store=store, objects=objects, now=NOW)
    except Killed:
        return list(messages)
    failed = {result.message_id for result in results if result.outcome is Outcome.FAILED}
    return [message for message in messages if message.id in failed]


def drain(store: Store, objects: Objects, messages: Sequence[Message]) -> None:
    """Delivers until nothing is left, as the queue does."""
    for _ in range(10):
        if not messages:
            return
        messages = deliver(store, objects, messages)
    raise AssertionError(f"{len(messages)} messages never pass")


def sums_of_facts(store: Store, workspace: str) -> dict[str, Decimal]:
    """What the lake would say: the sum over the facts that are kept."""
    sums: dict[str, Decimal] = {}
    for item in store.scan(Table.EVENTS, kind="usage_event"):
        if item["workspace_id"] == workspace:
            sums[item["meter"]] = sums.get(item["meter"], Decimal(0)) + item["quantity"]
    return sums


def mixed(source: str, workspace: str, newcomer: str) -> list[Any]:
    """Duplicates, a batch, a gauge, two months, two days, a reject, and a workspace that is not known."""
    one = cloud("1", source=source, workspace=workspace, quantity="1")
    two = cloud("2", source=source, workspace=workspace, quantity="2", time=NOW - timedelta(days=1))
    old = cloud("3", source=source, workspace=workspace, quantity="4", time=NOW - timedelta(days=25))
    seats = cloud(
        "4", source=source, workspace=workspace, quantity="9", meter="seats", unit="seat", type_="usage.snapshot.v1"
    )
    bad = cloud("5", source=source, workspace=workspace, quantity="x")
    waits = [cloud(f"w{n}", source=source, workspace=newcomer, quantity="1") for n in range(3)]
    gone = [cloud(f"g{n}", source=source, workspace=workspace, quantity="100") for n in range(2)]
    voids = [void(f"g{n}", f"v{n}", source=source, workspace=workspace) for n in range(2)]
    return [one, two, batch([one, old]), seats, bad, two, *waits, gone[0], *voids, gone[1]]


@pytest.mark.parametrize("landed", [False, True], ids=["before", "after"])
def test_a_consumer_that_dies_at_any_call_counts_once(landed: bool, ready: Store, objects: Objects) -> None:
    """Every call of a whole batch, then of the redrive of what waited."""
    number, survived = 0, False
    while not survived:
        number += 1
        workspace, newcomer = known(ready), f"new_{number}"
        messages = bodies(mixed(f"/s/{landed}/{number}", workspace, newcomer))
        left = deliver(FaultyStore(ready, dies_at(number, landed=landed)), objects, messages)
        survived = not left
        drain(ready, objects, left)

        assert totals(ready, workspace=workspace) == {"api_calls": 7, "seats": 9}
        assert totals(ready, "day", workspace) == {"api_calls": 7, "seats": 9}
        assert sums_of_facts(ready, workspace) == {"api_calls": 7, "seats": 9}
        perform(ready, service(newcomer, "test"), CreateWorkspace(name="New"), now=NOW)
        drain(ready, objects, bodies([changed(newcomer)]))
        assert totals(ready, workspace=newcomer) == {"api_calls": 3}
    assert number > 5


@pytest.mark.parametrize("landed", [False, True], ids=["before", "after"])
def test_a_redrive_that_dies_at_any_call_counts_once(landed: bool, ready: Store, objects: Objects) -> None:
    """Counted, then deleted: repeated after a death it finds the facts and only deletes."""
    number, survived = 0, False
    while not survived:
        number += 1
        newcomer = f"new_{number}"
        waits = [cloud(f"{n}", source=f"/s/{number}", workspace=newcomer, quantity="1") for n in range(3)]
        drain(ready, objects, bodies(waits))
        perform(ready, service(newcomer, "test"), CreateWorkspace(name="New"), now=NOW)
        left = deliver(
            FaultyStore(ready, dies_at(number, landed=landed)), objects, bodies([changed(newcomer), waits[0]])
        )
        survived = not left
        drain(ready, objects, left)

        assert totals(ready, workspace=newcomer) == {"api_calls": 3}
        assert list(ready.query(Table.EVENTS, f"WAITING#{newcomer}")) == []
    assert number > 5


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    seed=st.integers(0, 2**32),
    shards=st.sampled_from([1, 4]),
    quantities=st.lists(st.decimals("0", "999999999999999", places=9), min_size=1, max_size=25),
    copies=st.integers(1, 3),
    size=st.integers(1, 40),
)
def test_any_history_of_deliveries_counts_each_event_once(
    seed: int,
    shards: int,
    quantities: list[Decimal],
    copies: int,
    size: int,
    ready: Store,
    objects: Objects,
) -> None:
    """Shuffled, regrouped, through two consumers that die and lose answers, with reads that are behind."""
    chance = random.Random(seed)
    workspace, source = known(ready, shards=shards), f"/s/{uuid.uuid4().hex}"
    events = [
        cloud(
            str(n),
            source=source,
            workspace=workspace,
            quantity=format(quantity, "f"),
            time=NOW - timedelta(days=chance.choice([0, 1, 25])),
        )
        for n, quantity in enumerate(quantities)
    ]
    voided = [n for n in range(len(events)) if chance.random() < 0.3]
    voids = [void(str(n), f"v{n}", source=source, workspace=workspace) for n in voided]
    sent: list[Any] = [*events * copies, *voids * 2, batch(chance.choices(events, k=5))]
    expected = sum((quantity for n, quantity in enumerate(quantities) if n not in voided), Decimal(0))
    chance.shuffle(sent)
    messages = bodies(sent)

    acknowledged: set[str] = set()

    def consume(number: int) -> None:
        unreliable: Any = FaultyStore(ready, unlucky(seed + number, deaths=0.05, losses=0.1), stale=number == 1)
        mine = random.Random(seed + number).sample(messages, len(messages))
        for start in range(0, len(mine), size):
            group = [message for message in mine[start : start + size] if message.id not in acknowledged]
            left = {message.id for message in deliver(unreliable, objects, group)}
            acknowledged.update(message.id for message in group if message.id not in left)

    together([lambda: consume(1), lambda: consume(2)])
    drain(ready, objects, [message for message in messages if message.id not in acknowledged])

    for sums in (totals(ready, workspace=workspace), totals(ready, "day", workspace), sums_of_facts(ready, workspace)):
        assert sums.get("api_calls", 0) == expected


def test_two_payloads_of_one_identity_count_once(ready: Store, objects: Objects) -> None:
    """Two consumers race with different payloads: one is counted, the other kept as a reject, never both."""
    workspace, source = known(ready), "/s/race"
    first = [cloud(str(n), source=source, workspace=workspace, quantity="1") for n in range(60)]
    second = [cloud(str(n), source=source, workspace=workspace, quantity="100") for n in range(60)]

    together([lambda: drain(ready, objects, bodies(first)), lambda: drain(ready, objects, bodies(second))])

    counted = totals(ready, workspace=workspace)
    kept = list(ready.query(Table.EVENTS, "REJECT#usage#2026-11-23"))
    assert counted == sums_of_facts(ready, workspace)
    assert len(kept) == 60


def test_a_workspace_created_while_its_usage_arrives_loses_none(ready: Store, objects: Objects) -> None:
    """Either an event waits and the creation finds it, or it is counted at once."""
    for n in range(5):
        newcomer = f"racer_{n}"
        messages = bodies([cloud(f"{n}-{i}", workspace=newcomer, quantity="1") for i in range(40)])

        def create(workspace: str = newcomer) -> None:
            perform(ready, service(workspace, "test"), CreateWorkspace(name="New"), now=NOW)
            drain(ready, objects, bodies([changed(workspace)]))

        def arrive(mine: list[Message] = messages) -> None:
            for start in range(0, len(mine), 4):
                drain(ready, objects, mine[start : start + 4])

        together([arrive, create])

        assert totals(ready, workspace=newcomer) == {"api_calls": 40}


def test_a_workspace_that_becomes_known_between_reading_and_waiting(ready: Store, objects: Objects) -> None:
    """Its creation and redrive slip in before the waiting put: the put's own conditions send it to be counted."""

    def create(name: str, _call: int, landed: bool) -> None:
        if name == "commit" and not landed and ready.get(Table.RECORDS, keys.workspace("ws_new")) is None:
            perform(ready, service("ws_new", "test"), CreateWorkspace(name="New"), now=NOW)
            drain(ready, objects, bodies([changed("ws_new")]))

    left = deliver(FaultyStore(ready, create), objects, bodies([cloud(workspace="ws_new")]))

    assert left == []
    assert totals(ready, workspace="ws_new") == {"api_calls": 10}


PAYLOADS = {
    "1": {"quantity": "1"},
    "2": {"quantity": "2"},
    "no such unit": {"unit": "token"},
    "later a meter": {"meter": "later"},
    "later a workspace": {"workspace": "later"},
    "void of another workspace": {"voids": "theirs"},
    "void": {"voids": "ours"},
}


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from("xy"), st.sampled_from(sorted(PAYLOADS))), min_size=1, max_size=6),
        min_size=1,
        max_size=3,
    )
)
def test_ids_that_are_used_again_and_again_end(
    ready: Store, objects: Objects, sent: list[list[tuple[str, str]]]
) -> None:
    """However often one id is in a batch, and with whatever payloads: the delivery ends, and what it counted is in the
    facts once."""
    run = uuid.uuid4().hex[:8]
    source, workspace, other = f"/s/{run}", known(ready), known(ready)

    def element(id_: str, given: dict[str, str]) -> dict[str, Any]:
        if "voids" in given:
            return void(given["voids"], id_, source=source, workspace=workspace)
        names = {name: f"{value}_{run}" if value == "later" else value for name, value in given.items()}
        return cloud(id_, **{"source": source, "workspace": workspace, **names})

    stored = [cloud("ours", source=source, workspace=workspace), cloud("theirs", source=source, workspace=other)]
    deliver(ready, objects, bodies(stored))
    messages = bodies([batch([element(id_, PAYLOADS[name]) for id_, name in elements]) for elements in sent])

    assert deliver(ready, objects, messages) == []
    assert totals(ready, workspace=workspace) == totals(ready, "day", workspace) == sums_of_facts(ready, workspace)
    assert deliver(ready, objects, messages) == []
    assert totals(ready, workspace=workspace) == totals(ready, "day", workspace) == sums_of_facts(ready, workspace)
