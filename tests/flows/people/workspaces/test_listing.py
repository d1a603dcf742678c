"""Lists by their index: what they find and cost, and the pass that gives records of earlier versions their place."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterator
from datetime import timedelta
from typing import Any

import pytest
from benchmarks.billing import NoObjects, envelope
from tests.support.faulty import FaultyStore, Killed, dies_at
from tests.support.flows.operations import NOW
from tests.support.simulation.services.dynamodb import SimDynamoDB, SimTables

from nilometer import CreateMeter, CreateWorkspace, UpdateWorkspace, operator, perform, service
from nilometer.aws.dynamodb import Store
from nilometer.client.testing.memory import MemoryStore
from nilometer.console.workspaces import reading as console
from nilometer.domain.events.outcome import Message
from nilometer.domain.lake.change import Change, ItemAction, audit_row
from nilometer.domain.recovery.step_rules import AuditStep
from nilometer.domain.recovery.steps import wrong_steps
from nilometer.domain.store import keys
from nilometer.domain.store.keys import LISTED
from nilometer.domain.store.lists import EVERY, SETTLES, TRUSTED
from nilometer.domain.store.times import epoch
from nilometer.domain.store.writes import Item, Key, Table, new_item
from nilometer.errors import Rejected
from nilometer.flows.billing import batch as billing
from nilometer.flows.billing import reading
from nilometer.flows.lake.announcing import BILLING
from nilometer.flows.people import workspaces
from nilometer.flows.people.listing import complete_lists
from nilometer.flows.recovery import overview
from nilometer.local.stripe.month import random_month

RECORDS = Table.RECORDS
DUE = NOW + SETTLES
NAMES = [f"ws_{n:02}" for n in range(7)]


def model(page: int | None = None) -> Store:
    """On the simulation's DynamoDB, with so many items a page."""
    client: Any = SimDynamoDB(SimTables(), page=page)
    for name in Table:
        client.create_table(TableName=name)
    return Store(client, records="records", events="events")


def fill(store: Store) -> None:
    """A month of Stripe's events, workspaces that Stripe knows nothing of, and meters."""
    events = random_month(2, customers=12).events
    messages = [Message(str(n), envelope(event)) for n, event in enumerate(events)]
    for start in range(0, len(messages), 100):
        billing.handle(messages[start : start + 100], store=store, objects=NoObjects(), now=NOW)  # type: ignore[arg-type]  # nothing here is large
    for name in NAMES:
        perform(store, service(name, "services"), CreateWorkspace(name="Acme", admin="ada"), now=NOW)
    for meter in ("calls", "tokens"):
        perform(store, operator("op"), CreateMeter(meter=meter, unit="call", aggregation="sum"), now=NOW)


def age(store: Store, only: Container[Key] | None = None) -> list[Key]:
    """All that a list names, or some of it, as versions from before the index wrote it."""
    scanned = ((Key(item["pk"], item["sk"]), item) for item in store.scan(RECORDS))
    found = [item for key, item in scanned if item["kind"] in LISTED and (only is None or key in only)]
    store.put_all(RECORDS, [{name: value for name, value in item.items() if name != "gsi2pk"} for item in found])
    return [Key(item["pk"], item["sk"]) for item in found]


def small(store: Store) -> list[Key]:
    for name in NAMES:
        perform(store, service(name, "services"), CreateWorkspace(name="Acme"), now=NOW)
        store.put_all(RECORDS, [new_item(Key(keys.workspace(name).pk, f"ALERT#{n}"), "alert") for n in range(3)])
    return age(store)


def run_to_end(store: Store, *, start: Any = DUE) -> int:
    """How many runs of one page each it took."""
    for runs in itertools.count(1):
        done = complete_lists(store, now=start, out_of_time=lambda: True)
        if done and done.whole:
            return runs
    raise AssertionError("unreachable")


def listed(store: Store) -> list[str]:
    return [key.pk.removeprefix("WORKSPACE#") for key in store.query_list("workspace")]


# ---------------------------------------------------------------- what lists find


def everything(store: Store) -> dict[str, Any]:
    """What each list says, in an order of its own."""

    def console_pages() -> Iterator[Any]:
        cursor: str | None = None
        while True:
            page = console.listed(store, cursor)
            yield from ((row.workspace_id, row.name, row.billing and row.billing["pk"]) for row in page.rows)
            if (cursor := page.after) is None:
                return

    return {
        "workspaces": sorted(map(str, workspaces.all_workspaces(store))),
        "billing": list(overview.billing(store, now=NOW)),
        "records": sorted(map(str, reading.list_billing(store))),
        "conflicts": sorted(map(str, reading.list_conflicts(store))),
        "meters": sorted(item["meter"] for item in store.every("meter")),
        "console": sorted(map(str, console_pages())),
    }


def test_lists_say_the_same_by_the_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by the whole table, before and after the pass; in the console on pages of any size."""
    monkeypatch.setattr(console, "PAGE", 4)
    store = MemoryStore()
    fill(store)
    age(store)
    scanned = everything(store)
    complete_lists(store, now=NOW)
    complete_lists(store, now=DUE)
    assert store.has_lists()

    found = everything(store)

    def no_scan(*_args: Any, **_given: Any) -> Any:
        raise AssertionError("a list reads the whole table")

    monkeypatch.setattr(store, "scan", no_scan)
    monkeypatch.setattr(store, "walk", no_scan)
    assert everything(store) == found
    assert {name: len(rows) for name, rows in found.items()} == {name: len(rows) for name, rows in scanned.items()}
    timeless = ("billing", "meters", "console", "conflicts")
    assert {name: strip(found[name]) for name in timeless} == {name: strip(scanned[name]) for name in timeless}


def strip(rows: list[Any]) -> list[Any]:
    """Without what the pass changes of every record."""
    changed = {"version", "cause"}
    return [{n: row[n] for n in row.keys() - changed} if isinstance(row, dict) else row for row in rows]


def test_the_console_goes_on_at_a_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    """By their ids, then customers without a workspace; what goes between two pages is no trouble."""
    monkeypatch.setattr(console, "PAGE", 3)
    store = model()
    small(store)
    unlinked = Key(keys.customer("self", False, "cus_1"), "BILLING")
    records = [keys.billing(NAMES[1]), keys.billing("of_stripe_alone"), unlinked]
    for key in records:
        name = None if key == unlinked else key.pk.removeprefix("WORKSPACE#")
        store.put_all(RECORDS, [new_item(key, "billing", workspace_id=name, gsi2pk="billing")])
    complete_lists(store, now=NOW)
    run_to_end(store)

    first = console.listed(store, None)
    store.delete_all(RECORDS, [keys.workspace(NAMES[2])])
    second = console.listed(store, first.after)
    third = console.listed(store, second.after)

    assert [row.workspace_id for row in first.rows] == ["of_stripe_alone", *NAMES[:2]]
    assert [row.workspace_id for row in second.rows] == NAMES[3:6]
    assert [row.workspace_id for row in third.rows] == [NAMES[6], None]
    assert third.after is None


@pytest.mark.parametrize("aged", [True, False])
def test_a_list_costs_what_it_lists(aged: bool) -> None:
    """Three workspaces among 5,000 other items of 2 KB: the table is ten pages, the list three requests."""
    store = model()
    others = [new_item(Key(f"OBJECT#{n}", "PRODUCT"), "other", evidence=b"x" * 2000) for n in range(5000)]
    store.put_all(RECORDS, others)
    for name in NAMES[:3]:
        perform(store, service(name, "services"), CreateWorkspace(name="Acme"), now=NOW)
    if not aged:
        complete_lists(store, now=NOW)
        complete_lists(store, now=DUE)

    costs = {}
    for name, ask in LISTS.items():
        store.requests = 0
        list(ask(store))
        costs[name] = store.requests

    if aged:
        assert all(cost >= 10 for cost in costs.values())
    else:
        assert costs == {"workspace list": 3, "billing list": 5, "meter list": 2, "console": 5}


LISTS: dict[str, Callable[[Store], Any]] = {
    "workspace list": workspaces.all_workspaces,
    "billing list": lambda store: overview.billing(store, now=NOW),
    "meter list": lambda store: store.every("meter"),
    "console": lambda store: console.listed(store, None).rows,
}


# ---------------------------------------------------------------- the pass


def test_lists_read_the_table_until_a_pass_was_whole() -> None:
    """A day passes first, in which the functions of before go; what they wrote meanwhile comes in too."""
    store = model(page=2)
    small(store)

    assert complete_lists(store, now=NOW) is None
    assert complete_lists(store, now=DUE - timedelta(minutes=1)) is None
    done = complete_lists(store, now=DUE, out_of_time=lambda: True)

    assert done
    assert not done.whole
    assert not store.has_lists()
    assert len(list(store.every("workspace"))) == len(NAMES)
    assert run_to_end(store) > 5
    assert store.has_lists()
    assert listed(store) == NAMES


def test_a_pass_comes_back_every_week_and_is_trusted_for_three() -> None:
    """What a service with an older library made since comes in."""
    store = model(page=3)
    complete_lists(store, now=NOW)
    run_to_end(store)
    small(store)
    assert listed(store) == []

    assert complete_lists(store, now=DUE + EVERY - timedelta(minutes=1)) is None
    run_to_end(store, start=DUE + EVERY)

    assert listed(store) == NAMES
    item = store.get(Table.EVENTS, keys.LISTS)
    assert item
    assert item["expires_at"] == epoch(DUE + EVERY + TRUSTED)


@pytest.mark.parametrize("landed", [True, False])
def test_a_pass_survives_death_at_every_call(landed: bool) -> None:
    """The next run goes on; each record is written once, and the index is trusted only when it has all."""
    for number in range(1, 60):
        store = model(page=4)
        small(store)
        complete_lists(store, now=NOW)
        faulty: Any = FaultyStore(store, dies_at(number, landed=landed))
        try:
            complete_lists(faulty, now=DUE)
        except Killed:
            assert not store.has_lists() or listed(store) == NAMES
            complete_lists(store, now=DUE)
        assert store.has_lists()
        assert listed(store) == NAMES
        assert [item["version"] for item in store.every("workspace")] == [2] * len(NAMES)
    assert faulty.calls < number, "the last death came after the end"


def test_a_pass_writes_over_nothing() -> None:
    """Somebody renames each workspace, and deletes one, between the read and the write."""
    store = model()
    waiting = sorted(small(store))
    complete_lists(store, now=NOW)

    def meanwhile(name: str, _number: int, after: bool) -> None:
        if name != "commit" or after or not waiting:
            return
        key = waiting.pop(0)
        if key == keys.workspace(NAMES[0]):
            store.delete_all(RECORDS, [key])
            return
        door = service(key.pk.removeprefix("WORKSPACE#"), "services")
        perform(store, door, UpdateWorkspace(name="Renamed"), now=NOW + timedelta(hours=1))
        age(store, [key])

    faulty: Any = FaultyStore(store, meanwhile)
    done = complete_lists(faulty, now=DUE)

    assert done
    assert done.whole
    assert listed(store) == NAMES[1:]
    assert {item["name"] for item in store.every("workspace")} == {"Renamed"}


def test_of_two_runs_the_slower_one_stops() -> None:
    """It stores no page over a later one."""
    store = model(page=4)
    small(store)
    complete_lists(store, now=NOW)
    ended = []

    def meanwhile(name: str, _number: int, after: bool) -> None:
        if name == "put" and not after and not ended:
            ended.append(run_to_end(store))

    done = complete_lists(FaultyStore(store, meanwhile), now=DUE)  # type: ignore[arg-type]  # stands for one

    assert done
    assert not done.whole
    assert store.has_lists()
    assert listed(store) == NAMES


def test_a_table_without_the_index_is_never_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was restored from before: lists go on reading it."""
    store = model()
    small(store)
    complete_lists(store, now=NOW)

    def refused(*_args: Any, **_given: Any) -> Any:
        raise Rejected("too_large", "the table has no such index")

    monkeypatch.setattr(store, "query_list", refused)
    with pytest.raises(Rejected):
        complete_lists(store, now=DUE)

    assert not store.has_lists()
    assert len(list(workspaces.all_workspaces(store))) == len(NAMES)


@pytest.mark.parametrize("kind", LISTED)
def test_a_place_in_the_index_is_a_step_of_the_audit_and_announces_nothing(kind: str) -> None:
    """Its row says who did it; `nilometer verify steps` finds nothing wrong with it."""
    store = MemoryStore()
    fill(store)
    age(store)
    before = next(store.scan(RECORDS, kind=kind))
    complete_lists(store, now=NOW)
    complete_lists(store, now=DUE)
    after = store.get(RECORDS, Key(before["pk"], before["sk"]))
    change = change_of(before, after or {})
    row = audit_row(change)
    names = ("pk", "sk", "kind", "cause")
    step = AuditStep(
        **{name: row[name] for name in names},
        action=ItemAction.MODIFY,
        old=row["old_image"],
        new=row["new_image"],
        changed_fields=tuple(row["changed_fields"]),
        occurred_at=DUE,
    )

    assert set(row["changed_fields"]) <= {"gsi2pk", "version", "cause", "actor"}
    assert (row["cause"], row["actor"]) == ("lists", None)
    assert list(wrong_steps(step, is_void=lambda _: False)) == []
    assert list(BILLING.entries(change)) == []


def change_of(old: Item, new: Item) -> Change:
    return Change(
        change_id="c",
        table=RECORDS,
        action=ItemAction.MODIFY,
        key=Key(old["pk"], old["sk"]),
        old=old,
        new=new,
        sequence_number="1",
        occurred_at=epoch(DUE),
    )
