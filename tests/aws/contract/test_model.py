"""The simulation's model of DynamoDB answers as the real engines do, for any sequence of writes."""

from __future__ import annotations

import uuid
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.simulation.services.dynamodb import SimDynamoDB, SimTables

from nilometer.aws.dynamodb import Store
from nilometer.domain.store.writes import (
    Absent,
    Check,
    Delete,
    Enough,
    Key,
    Less,
    Present,
    Put,
    Table,
    Unchanged,
    Update,
    Version,
    Write,
)
from nilometer.errors import Cancelled, Rejected

REAL = ["ministack", "dynoxide"]
TABLES = st.sampled_from(list(Table))
PLACES = st.tuples(st.sampled_from("ab"), st.sampled_from("xy"))
NUMBERS = st.sampled_from(
    [0, 1, -1, 7, Decimal("0.10"), Decimal("-2.5"), Decimal("0.000000001"), 10**37, Decimal("12345678901234567.89")]
)
TEXTS = st.sampled_from(["", "a", "ä", "2026-11-23T12:00:00.000Z"])
VALUES = NUMBERS | TEXTS | st.booleans() | st.none() | st.binary(max_size=3)
DEEP = VALUES | st.lists(VALUES, max_size=2) | st.dictionaries(st.sampled_from("pq"), VALUES, max_size=2)
NAMES = st.sampled_from(["n", "m", "name", "status"])  # the last two are reserved words
EXPECTED = st.one_of(
    st.none(),
    st.just(Absent()),
    st.just(Present()),
    st.builds(Version, st.integers(1, 2)),
    st.builds(Less, NAMES, st.sampled_from([0, 5, "b"])),
    st.builds(Unchanged, st.integers(1, 3), st.dictionaries(NAMES, NUMBERS | TEXTS, max_size=1)),
    st.builds(Enough, NAMES, st.sampled_from([0, 5]), st.dictionaries(NAMES, NUMBERS | TEXTS, max_size=1)),
)


@st.composite
def writes(draw: st.DrawFn) -> Write:
    table, (pk, sk), expected = draw(TABLES), draw(PLACES), draw(EXPECTED)
    kind = draw(st.sampled_from(["put", "update", "delete", "check"]))
    if kind == "put":
        more = draw(st.dictionaries(NAMES, DEEP, max_size=2))
        item = {"pk": pk, "sk": sk, "kind": "test", "version": draw(st.integers(1, 2)), **more}
        return Put(table=table, item=item, expected=expected)
    if kind == "update":
        names = draw(st.permutations(["n", "m", "name", "status"]))
        add = draw(st.dictionaries(st.just(names[0]), NUMBERS, max_size=1))
        put = draw(st.dictionaries(st.just(names[1]), DEEP, max_size=1))
        once = draw(st.dictionaries(st.just(names[2]), VALUES, min_size=0 if add or put else 1, max_size=1))
        return Update(table=table, key=Key(pk, sk), add=add, set=put, set_once=once, expected=expected)
    if kind == "delete":
        return Delete(table=table, key=Key(pk, sk), expected=expected)
    return Check(table=table, key=Key(pk, sk), expected=expected or Present())


def answer(store: Store, batch: list[Write]) -> Any:
    """What the caller of `commit` can tell apart."""
    try:
        store.commit(batch, returning=True)
    except Cancelled as error:
        return error.reasons, dict(error.found)
    except Rejected as error:
        return error.reason
    return "stored"


def under(prefix: str, write: Write) -> Write:
    """The same write in a partition of this example's own."""
    if isinstance(write, Put):
        return replace(write, item={**write.item, "pk": prefix + write.item["pk"]})
    return replace(write, key=Key(prefix + write.key.pk, write.key.sk))


def contents(store: Store, prefix: str) -> list[dict[str, Any]]:
    return [item for table in Table for pk in "ab" for item in store.query(table, prefix + pk, consistent=True)]


@pytest.mark.parametrize("engine_url", REAL, indirect=True)
@given(st.lists(st.lists(writes(), min_size=1, max_size=4), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
def test_the_model_answers_as_the_engine_does(store: Store, batches: list[list[Write]]) -> None:
    """The same answers, the same cancellation reasons with the same items, and the same items in the same order in the
    end."""
    client: Any = SimDynamoDB(SimTables({table.value: {} for table in Table}))
    model = Store(client, records=Table.RECORDS.value, events=Table.EVENTS.value)
    prefix = uuid.uuid4().hex

    for batch in batches:
        some = [under(prefix, write) for write in batch]
        assert answer(model, some) == answer(store, some)

    assert contents(model, prefix) == contents(store, prefix)
