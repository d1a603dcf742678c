"""A large customer's views are in parts, and nobody can tell but by the time that an event takes."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.events.plans import CATALOG

from nilometer.domain.billing.record import stored
from nilometer.domain.billing.record.fold import fold
from nilometer.domain.billing.record.inputs import Inputs, catalog_names, in_parts, inputs_of, packed, with_views
from nilometer.domain.billing.record.parts import PARTED, UNKNOWN, PartedViews
from nilometer.domain.store.compressed import unpack

CUSTOMER, OTHER = "self/test/cus_1", "self/test/cus_2"
STATUSES = ["active"] * 30 + ["trialing", "past_due", "unpaid", "canceled"]


@settings(max_examples=25, deadline=None)
@given(st.integers(), st.integers(0, 3 * PARTED), st.integers(0, 2 * PARTED))
def test_whatever_happens_the_record_is_that_of_the_whole(seed: int, many: int, others: int) -> None:
    """Subscriptions come, change and go, the record is written and read: what is read whole is folded the same."""
    chance = random.Random(seed)
    whole = Inputs(catalog=CATALOG, customers={CUSTOMER: _some(chance, "s", many), OTHER: _some(chance, "t", others)})
    held = in_parts(whole)
    for _ in range(4):
        assert held == whole
        assert whole == held
        assert fold(held) == fold(whole)
        assert catalog_names(held) == catalog_names(whole)

        content = packed(held)

        assert json.loads(unpack(content))["customers"] == whole.customers, "for who knows nothing of parts"
        changes = _changes(chance, many)
        held = in_parts(with_views(chance.choice([held, _again(held)]), CUSTOMER, changes))
        whole = with_views(whole, CUSTOMER, changes)


def test_a_change_makes_one_part_anew() -> None:
    """All others are written as they were read."""
    held = in_parts(Inputs(customers={CUSTOMER: _some(random.Random(1), "s", 10 * PARTED)}))
    read = inputs_of({"inputs": packed(held)})
    before, name = _parts(read), min(_parts(read).parts[3].views)

    after = _parts(with_views(read, CUSTOMER, {name: {**before[name], "version": 9}}))

    assert [one is two for one, two in zip(before.parts, after.parts, strict=True)].count(False) == 1
    assert after[name]["version"] == 9
    assert after != before


def test_a_note_has_the_periods_that_count_however_many_there_are() -> None:
    """Until so many of them have gone that what is below its floor counts: then all is read once."""
    chance = random.Random(1)
    whole = Inputs(customers={CUSTOMER: _some(chance, "s", 10 * PARTED)})
    for number, view in enumerate(whole.customers[CUSTOMER].values()):
        view["periods"] = [[1000 * month + number, 1000 * month + number + 900] for month in range(14)]
    newest = sorted(whole.customers[CUSTOMER], key=lambda name: int(name.partition("_")[2] or 0), reverse=True)

    held = _again(in_parts(whole))
    assert len(_parts(held).periods) < 300
    assert _parts(held).fits, "nothing is made anew yet"

    for _ in range(4):
        gone = dict.fromkeys(newest[:60])
        del newest[:60]
        held, whole = _again(in_parts(with_views(held, CUSTOMER, gone))), with_views(whole, CUSTOMER, gone)
        assert fold(held) == fold(whole)


def test_the_sums_of_a_note_without_a_floor_are_made_anew() -> None:
    """The release before writes no floor, and what it read had one."""
    held = in_parts(Inputs(customers={CUSTOMER: _some(random.Random(1), "s", 2 * PARTED)}))
    for part in _parts(held).parts:
        for one in part.alikes:
            one.periods.clear()
    unsaid = replace(held, customers={CUSTOMER: PartedViews(_parts(held).loose, _parts(held).parts, UNKNOWN)})

    assert fold(in_parts(unsaid)) == fold(Inputs(customers={CUSTOMER: dict(_parts(held))}))


def test_open_invoices_read_no_part_of_another_customer() -> None:
    """Whether a debit is on its way is said by the invoice's own subscription: one part holds it."""
    names = [f"self/test/cus_{number}" for number in range(6)]
    whole = {name: _some(random.Random(number), f"s{number}", 2 * PARTED) for number, name in enumerate(names)}
    plain = [id_ for id_, view in whole[names[-1]].items() if view.get("status") == "active"]
    tried = {"object": "invoice", "attempt_count": 1, "created": 1, "subscription": plain[-1]}
    whole[names[-1]] = {**whole[names[-1]], **{f"in_{number}": tried for number in range(3)}}

    held = _again(in_parts(Inputs(customers=whole)))
    folded = fold(held)

    read = [vars(part)["_views"] is not None for views in held.customers.values() for part in views.parts]  # type: ignore[attr-defined]  # all are in parts
    assert (folded["dunning"], len(folded["open_invoices"])) == (None, 3)
    assert sum(read) <= 1
    assert fold(Inputs(customers=whole)) == folded


def _again(inputs: Inputs) -> Inputs:
    """As another process reads it."""
    content = packed(inputs)
    stored._RECENT.clear()
    return inputs_of({"inputs": content})


def test_a_small_customer_has_no_parts() -> None:
    """Its record is what it always was."""
    inputs = Inputs(customers={CUSTOMER: _some(random.Random(1), "s", PARTED // 2)})

    assert in_parts(inputs).customers[CUSTOMER] is inputs.customers[CUSTOMER]


def _parts(inputs: Inputs) -> PartedViews:
    views = inputs.customers[CUSTOMER]
    assert isinstance(views, PartedViews)
    return views


def _some(chance: random.Random, prefix: str, count: int) -> dict[str, Any]:
    customer = {"object": "customer", "delinquent": chance.random() < 0.5, "version": 1}
    return {"cus": customer} | {f"{prefix}_{n}": _subscription(chance) for n in range(count)}


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
