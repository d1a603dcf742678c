"""Usage whose workspace never becomes known ends as a reject, with its payload, once."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from tests.support.faulty import FaultyStore, Killed, dies_at, together
from tests.support.flows.operations import NOW
from tests.support.flows.usage import changed, cloud, handle, outcomes, totals

from nilometer import CreateWorkspace, perform, service
from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table
from nilometer.flows.inbox.rejects import listed
from nilometer.flows.usage.waiting import abandon

LATE = NOW + timedelta(days=35, hours=1)


def kept_for(store: Store, workspace: str) -> tuple[int, int]:
    """How many wait, and how many are rejects."""
    refused = [item for day in (LATE, LATE + timedelta(days=1)) for item in listed(store, "usage", since=day, now=day)]
    waits = list(store.query(Table.EVENTS, keys.waiting_for_workspace(workspace), consistent=True))
    return len(waits), len([item for item in refused if item["workspace_id"] == workspace])


def test_a_workspace_that_never_comes_leaves_rejects(ready: Store, objects: Objects) -> None:
    """Not before its time; each with its payload and identity, in the list and once."""
    handle(ready, objects, *(cloud(str(n), workspace="ws#never") for n in range(100)))
    handle(ready, objects, cloud("later", workspace="ws#never"), now=NOW + timedelta(days=2))

    assert abandon(ready, now=NOW + timedelta(days=34)) == 0
    assert abandon(ready, now=LATE, out_of_time=lambda: True) == 0
    assert [abandon(ready, now=LATE), abandon(ready, now=LATE)] == [100, 0]
    assert kept_for(ready, "ws#never") == (1, 100)
    refused = next(item for item in listed(ready, "usage", since=LATE, now=LATE) if item["event_id"] == "7")
    assert (refused["reason"], json.loads(refused["payload"])["id"]) == ("unknown_workspace", "7")
    assert abandon(ready, now=LATE + timedelta(days=2)) == 1


@pytest.mark.parametrize("landed", [False, True], ids=["before", "after"])
def test_who_dies_while_he_abandons_loses_nothing(landed: bool, ready: Store, objects: Objects) -> None:
    """At any call: each event waits or is a reject, never both; the next run does the rest, also a day later."""
    handle(ready, objects, *(cloud(str(n), workspace="ws_never") for n in range(3)))
    survived, number = False, 0
    while not survived:
        number += 1
        try:
            abandon(FaultyStore(ready, dies_at(number, landed=landed)), now=LATE)  # type: ignore[arg-type]
            survived = True
        except Killed:
            assert sum(kept_for(ready, "ws_never")) == 3
    abandon(ready, now=LATE + timedelta(days=1))

    assert kept_for(ready, "ws_never") == (0, 3)


def test_two_who_abandon_at_once_reject_once(ready: Store, objects: Objects) -> None:
    """Also on two sides of midnight, where the rejects have other names."""
    handle(ready, objects, *(cloud(str(n), workspace="ws_never") for n in range(20)))
    done: list[int] = []
    nights = (LATE, LATE + timedelta(days=1))
    together([lambda at=at: done.append(abandon(ready, now=at)) for at in nights])  # type: ignore[misc]

    assert (sum(done), kept_for(ready, "ws_never")) == (20, (0, 20))


def test_what_was_given_up_is_not_counted_by_a_slow_twin(ready: Store, objects: Objects) -> None:
    """Between reading what waits and counting it, it is given up: it is a reject and nothing else; and the other way
    round, a hundred that wait are counted in transactions that hold them and their checks."""
    for workspace in ("ws_slow", "ws_quick"):
        handle(ready, objects, *(cloud(str(n), workspace=workspace, source=f"/{workspace}") for n in range(100)))
        perform(ready, service(workspace, "test"), CreateWorkspace(name="New"), now=NOW)
    meanwhile = [lambda: abandon(ready, now=LATE)]

    def fault(name: str, _call: int, after: bool) -> None:
        if name == "commit" and not after and meanwhile:
            meanwhile.pop()()

    assert outcomes(handle(ready, objects, changed("ws_quick"))) == ["accepted"]
    assert totals(ready, workspace="ws_quick") == {"api_calls": 1000}
    handle(FaultyStore(ready, fault), objects, changed("ws_slow"))  # type: ignore[arg-type]

    assert (kept_for(ready, "ws_slow"), totals(ready, workspace="ws_slow")) == ((0, 100), {})
    assert kept_for(ready, "ws_quick") == (0, 0)


def test_a_meter_that_never_comes_leaves_rejects(ready: Store, objects: Objects) -> None:
    """After a day, and not before; each once, with its payload."""
    handle(ready, objects, *(cloud(str(n), meter="typo") for n in range(3)))
    late = NOW + timedelta(days=1, minutes=1)

    assert abandon(ready, now=NOW + timedelta(hours=23)) == 0
    assert [abandon(ready, now=late), abandon(ready, now=late)] == [3, 0]
    refused = list(listed(ready, "usage", since=late, now=late))
    assert {(item["reason"], item["event_id"]) for item in refused} == {("unknown_meter", str(n)) for n in range(3)}
