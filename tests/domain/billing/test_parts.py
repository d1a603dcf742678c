"""A large customer's subscriptions are in parts, and nobody can tell but by the time that an event takes."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.events.plans import CATALOG

from nilometer.domain.billing.record import stored
from nilometer.domain.billing.record.fold import fold, read_parts
from nilometer.domain.billing.record.inputs import (
    Inputs,
    catalog_names,
    changed,
    has_base,
    in_parts,
    inputs_of,
    packed,
    places,
    read_whole,
    with_views,
)
from nilometer.domain.billing.record.parts import PART, PARTED, PartedViews, PartsNeeded, part_writes
from nilometer.domain.store.compressed import unpack
from nilometer.domain.store.writes import Delete, Item, Key, Put

CUSTOMER, OTHER = "self/test/cus_1", "self/test/cus_2"
NOW, LATER = "2026-11-01T12:00:00.000Z", "2026-11-02T12:00:00.000Z"
STATUSES = ["active"] * 30 + ["trialing", "past_due", "unpaid", "canceled"]


class Stored:
    """A record and its parts, each written on condition that it is as it was read."""

    def __init__(self, inputs: Inputs) -> None:
        self.items: dict[Key, Item] = {}
        self.written = 0
        self.inputs = Inputs(catalog=inputs.catalog, large_since=dict.fromkeys(inputs.customers, NOW))
        for customer, views in inputs.customers.items():
            self.change(customer, dict(views))

    def change(self, customer: str, views: dict[str, Any], *, again: bool = False) -> None:
        """As the event of one customer does; `again`: by a process that has read nothing yet."""
        if again:
            self.inputs = self.read()
        before = places(self.inputs.customers.get(customer, {}))
        made = in_parts(_changed(self, customer, views), customer, before, LATER)
        writes = list(part_writes(before, made.customers[customer], cause="evt", updated_at="now"))
        for write in writes:
            known = self.items.get(write.key)
            assert getattr(write.expected, "number", None) == (known["version"] if known else None)
            if isinstance(write, Put):
                self.items[write.key] = write.item
            else:
                assert isinstance(write, Delete)
                del self.items[write.key]
        self.inputs, self.written = made, len(writes)

    def read(self) -> Inputs:
        """The record as another process reads it, without its parts."""
        content = packed(self.inputs)
        stored._RECENT.clear()
        return inputs_of({"inputs": content})

    @property
    def views(self) -> PartedViews:
        """Those of the customer, which is large."""
        views = self.inputs.customers[CUSTOMER]
        assert isinstance(views, PartedViews)
        return views


def _changed(held: Stored, customer: str, views: dict[str, Any]) -> Inputs:
    """Parts are read when they are asked for."""
    while True:
        try:
            made = with_views(held.inputs, customer, views)
            if isinstance(made.customers[customer], PartedViews):
                in_parts(made, customer, places(made.customers[customer]), LATER)
            read_parts(made)
        except PartsNeeded as error:
            held.inputs = inputs_of({"inputs": packed(held.inputs)}, {key: held.items[key] for key in error.keys})
        else:
            return made


@settings(max_examples=25, deadline=None)
@given(st.integers(), st.integers(0, 3 * PARTED), st.integers(0, 2 * PARTED))
def test_whatever_happens_the_record_is_that_of_the_whole(seed: int, many: int, others: int) -> None:
    """Subscriptions come, change and go, the record is written and read: what is read whole is folded the same."""
    chance = random.Random(seed)
    filled = {CUSTOMER: _some(chance, "s", many), OTHER: _some(chance, "t", others)}
    held = Stored(Inputs(catalog=CATALOG, customers=filled))
    whole = Inputs(catalog=CATALOG, customers={name: changed({}, views) for name, views in filled.items()})
    for _ in range(4):
        assert fold(held.inputs) == fold(whole)
        assert catalog_names(held.inputs) == catalog_names(whole)
        read = inputs_of({"inputs": packed(held.inputs)}, held.items)
        assert read.customers == whole.customers
        assert whole.customers == read.customers
        held.inputs = read

        changes = _changes(chance, many)
        held.change(CUSTOMER, changes, again=chance.random() < 0.5)
        whole = with_views(whole, CUSTOMER, changes)
    assert len(held.items) == sum(len(places(views)) for views in held.inputs.customers.values())


def test_a_change_writes_one_part() -> None:
    """And reads no other one."""
    held = Stored(Inputs(customers={CUSTOMER: _some(random.Random(1), "s", 10 * PARTED)}))
    before, name = held.views, min(held.views.parts[3].views)

    held.change(CUSTOMER, {name: {**before[name], "version": 9}}, again=True)

    assert held.written == 1
    assert [one.place == two.place for one, two in zip(before.parts, held.views.parts, strict=True)].count(False) == 1
    assert [one.is_read for one in held.views.parts].count(True) == 1
    assert held.views[name]["version"] == 9


def test_what_is_no_subscription_needs_no_part() -> None:
    """An invoice that opens, and one that is paid; nor does a subscription that is loose already."""
    views = _some(random.Random(1), "s", 2 * PARTED) | {"s_0": {"object": "subscription", "status": "past_due"}}
    held = Stored(Inputs(customers={CUSTOMER: views}))
    held.inputs = held.read()
    invoice = {"object": "invoice", "created": 1}

    for change in ({"in_1": invoice}, {"in_1": None}, {"s_0": {"object": "subscription", "status": "unpaid"}}):
        held.inputs = with_views(held.inputs, CUSTOMER, change)

    assert not any(one.is_read for one in held.views.parts if one.alikes)


def test_a_part_of_another_version_is_not_taken() -> None:
    """The record was read before a neighbour wrote both: whoever needs the part reads both again."""
    held = Stored(Inputs(customers={CUSTOMER: _some(random.Random(1), "s", 2 * PARTED)}))
    old, name = packed(held.inputs), min(held.views.parts[1].views)
    held.change(CUSTOMER, {name: None})
    stored._RECENT.clear()

    with pytest.raises(PartsNeeded) as error:
        read_whole(inputs_of({"inputs": old}, held.items))

    assert error.value.keys == {held.views.parts[1].place.key}


def test_a_record_has_the_periods_that_count_however_many_there_are() -> None:
    """Until so many of them have gone that what is below its floor counts: then all is read once."""
    whole = Inputs(customers={CUSTOMER: _some(random.Random(1), "s", 10 * PARTED)})
    for number, view in enumerate(whole.customers[CUSTOMER].values()):
        view["periods"] = [[1000 * month + number, 1000 * month + number + 900] for month in range(14)]
    newest = sorted(whole.customers[CUSTOMER], key=lambda name: int(name.partition("_")[2] or 0), reverse=True)
    held = Stored(whole)
    held.inputs = held.read()
    assert len(held.views.periods) < 300
    assert held.views.fits(PART), "nothing is made anew yet"

    for _ in range(4):
        gone = dict.fromkeys(newest[:60])
        del newest[:60]
        held.change(CUSTOMER, gone, again=True)
        whole = with_views(whole, CUSTOMER, gone)
        assert fold(held.inputs) == fold(whole)


def test_open_invoices_read_one_part() -> None:
    """Whether a debit is on its way is said by the invoice's own subscription: one part holds it."""
    names = [f"self/test/cus_{number}" for number in range(6)]
    whole = {name: _some(random.Random(number), f"s{number}", 2 * PARTED) for number, name in enumerate(names)}
    plain = [id_ for id_, view in whole[names[-1]].items() if view.get("status") == "active"]
    tried = {"object": "invoice", "attempt_count": 1, "created": 1, "subscription": plain[-1]}
    whole[names[-1]] = {**whole[names[-1]], **{f"in_{number}": tried for number in range(3)}}
    held = Stored(Inputs(customers=whole))

    unread = held.read()
    with pytest.raises(PartsNeeded) as error:
        read_parts(unread)
    read = inputs_of({"inputs": packed(unread)}, {key: held.items[key] for key in error.value.keys})
    read_parts(read)
    folded = fold(read)

    assert len(error.value.keys) == 1
    assert (folded["dunning"], len(folded["open_invoices"])) == (None, 3)
    assert fold(Inputs(customers=whole)) == folded


def test_the_newest_of_a_kind_goes() -> None:
    """The record has its view and no other one's: that of the next one is in a part, which is read."""
    whole = Inputs(catalog=CATALOG, customers={CUSTOMER: {f"s_{n}": _plain(n) for n in range(2 * PARTED)}})
    held = Stored(whole)
    unread, newest = held.read(), f"s_{2 * PARTED - 1}"

    with pytest.raises(PartsNeeded) as error:
        with_views(unread, CUSTOMER, {newest: None})
    read = inputs_of({"inputs": packed(unread)}, {key: held.items[key] for key in error.value.keys})
    with pytest.raises(PartsNeeded) as second:
        read_parts(with_views(read, CUSTOMER, {newest: None}))
    held.change(CUSTOMER, {newest: None}, again=True)

    assert len(error.value.keys) == len(second.value.keys) == held.written == 1
    assert fold(held.read()) == fold(with_views(whole, CUSTOMER, {newest: None}))


def test_two_kinds_are_kept_apart() -> None:
    """Also when a part has both, and one of them is a single subscription."""
    views = {f"s_{n}": _plain(n, price="odd" if n in {7, 100} else "plain") for n in range(2 * PARTED)}
    whole = Inputs(catalog=CATALOG, customers={CUSTOMER: views})
    held = Stored(whole)

    for change in ({"s_100": None}, {"s_7": _plain(7)}, {"s_1": _plain(1, price="odd")}):
        held.change(CUSTOMER, change, again=True)
        whole = with_views(whole, CUSTOMER, change)
        assert fold(held.read()) == fold(whole)


def test_who_pays_is_known_without_the_parts() -> None:
    """Of a record with two large customers: the one that has the effective subscription."""
    whole = {CUSTOMER: _some(random.Random(1), "s", 2 * PARTED), OTHER: _some(random.Random(2), "t", 2 * PARTED)}
    held = Stored(Inputs(catalog=CATALOG, customers=whole))
    base, read = fold(held.inputs)["subscription"], held.read()

    assert [name for name in whole if has_base(read.customers[name], base)] == [n for n in whole if base in whole[n]]


def test_the_release_before_does_not_read_a_record_without_its_parts() -> None:
    """It looks for `customers`, and fails: an event waits, and no subscription is lost."""
    held = Stored(Inputs(customers={CUSTOMER: _some(random.Random(1), "s", 2 * PARTED)}))

    assert "customers" not in json.loads(unpack(packed(held.inputs)))


def test_a_customer_gets_parts_when_it_has_been_large_for_a_day() -> None:
    """Until then its record is one that the release before reads; what that one writes begins the day anew."""
    inputs = Inputs(customers={CUSTOMER: _some(random.Random(1), "s", 2 * PARTED)})
    first = in_parts(inputs, CUSTOMER, {}, NOW)
    kept = inputs_of({"inputs": packed(first)})

    assert json.loads(unpack(packed(first)))["customers"] == inputs.customers
    assert in_parts(kept, CUSTOMER, {}, "2026-11-02T11:59:59.000Z") == first
    assert isinstance(in_parts(kept, CUSTOMER, {}, LATER).customers[CUSTOMER], PartedViews)
    assert in_parts(inputs, CUSTOMER, {}, LATER).customers == inputs.customers


def test_a_small_customer_has_no_parts() -> None:
    """Its record is what it always was."""
    inputs = Inputs(customers={CUSTOMER: _some(random.Random(1), "s", PARTED // 2)})

    assert in_parts(inputs, CUSTOMER, {}, LATER) is inputs
    assert json.loads(unpack(packed(inputs)))["customers"] == inputs.customers


def _some(chance: random.Random, prefix: str, count: int) -> dict[str, Any]:
    customer = {"object": "customer", "delinquent": chance.random() < 0.5, "version": 1}
    return {"cus": customer} | {f"{prefix}_{n}": _subscription(chance) for n in range(count)}


def _plain(created: int, price: str = "plain") -> dict[str, Any]:
    items = [{"id": f"si_{created}", "product": "plan", "price": price, "quantity": 1 + created % 3}]
    periods = [[created, created + 50]]
    return {
        "object": "subscription",
        "status": "active",
        "created": created,
        "items": items,
        "periods": periods,
        "version": 1,
    }


def _changes(chance: random.Random, many: int) -> dict[str, Any]:
    """A few, all of them, or the customer's deletion."""
    match chance.randrange(9):
        case 8:
            return {f"s_{n}": None for n in range(0, many, 2)}
        case 0:
            return {f"s_{n}": None for n in range(many)}
        case 1:
            return {"cus": {"object": "customer", "deleted": True, "version": 2}}
        case 2:
            return _some(chance, "n", 3 * PARTED)
        case _:
            names = [f"s_{chance.randrange(many + 20)}" for _ in range(chance.randrange(5))]
            return {name: chance.choice([None, _subscription(chance), _subscription(chance)]) for name in names}


def _subscription(chance: random.Random) -> dict[str, Any]:
    items = [
        {
            "id": f"si_{chance.random()}",
            "product": chance.choice(["plan", "add_on", "unknown"]),
            "price": chance.choice(["seat", "odd", "plain"]),
            "quantity": chance.randrange(4),
        }
        for _ in range(chance.randrange(3))
    ]
    telling = {"doubt": True} if chance.random() < 0.03 else {}
    start = chance.randrange(1000, 2000)
    bounds = chance.choice([[100, 200], [200, 300], [150, 250], *([[start, start + 31]] * 7)])
    status, created = chance.choice(STATUSES), chance.randrange(3)
    return {
        "object": "subscription",
        "status": status,
        "created": created,
        "items": items,
        "periods": [bounds],
        "version": 1,
        **telling,
    }
