"""A version of ours that stumbles: what it cannot take comes again for the next one, and its neighbours pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from tests.support.events.consumers import FLOWS, Flow, new_customer
from tests.support.flows.operations import NOW
from tests.support.stores.memory import MemoryObjects, MemoryStore

from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.domain.store.writes import Put, Table, Write
from nilometer.flows.billing import batch as billing
from nilometer.flows.inbox.rejects import listed
from nilometer.flows.inbox.settle import RECEIVES

TRIED = {
    "billing": Flow("stripe", billing.handle, new_customer, lambda _store, _objects: None),
    "operations": FLOWS["operations"],
    "usage": FLOWS["usage"],
}


class Stumbling(MemoryStore):
    """Raises what nobody foresaw, whenever what it should write mentions `over`; rejects it takes."""

    over = "good7"

    def commit(self, writes: Sequence[Write], *, returning: bool = False) -> None:
        self._stumble([one.item for one in writes if isinstance(one, Put)])
        super().commit(writes, returning=returning)

    def put_all(self, table: Table, items: Any) -> None:
        self._stumble(items)
        super().put_all(table, items)

    def _stumble(self, items: Sequence[Any]) -> None:
        if any(self.over in str(item).replace(" ", "").replace("_", "") for item in items if item["kind"] != "reject"):
            raise KeyError("a text of the message")


def run(name: str, store: MemoryStore, *, receives: int) -> list[Result]:
    flow, objects = TRIED[name], MemoryObjects()
    messages = [Message(str(number), flow.good(number), receives=receives) for number in range(10, 0, -1)]
    return list(flow.handle(messages, store=store, objects=objects, now=NOW))


def ready(name: str, kind: type[MemoryStore]) -> MemoryStore:
    store = kind()
    TRIED[name].prepare(store, MemoryObjects())  # type: ignore[arg-type]  # a store in memory
    return store


@pytest.mark.parametrize("name", TRIED)
def test_what_a_bad_version_stumbles_over_is_taken_by_the_next(name: str) -> None:
    """It fails and is no reject, its neighbours are accepted; the version after it accepts it."""
    store = ready(name, Stumbling)
    outcomes = [one.outcome for one in run(name, store, receives=1)]
    store.__class__ = MemoryStore
    again = [one.outcome for one in run(name, store, receives=2)]

    assert outcomes == [Outcome.FAILED if number == 7 else Outcome.ACCEPTED for number in range(10, 0, -1)]
    assert again == [Outcome.ACCEPTED if number == 7 else Outcome.DUPLICATE for number in range(10, 0, -1)]


@pytest.mark.parametrize("name", TRIED)
def test_what_no_version_can_take_is_kept_in_the_end(name: str) -> None:
    """At the last receive of its queue it is a reject with its identity, and no dead letter."""
    store: Any = ready(name, Stumbling)
    results = run(name, store, receives=RECEIVES)
    [kept] = listed(store, name, since=NOW, now=NOW)

    assert [one.outcome for one in results].count(Outcome.REJECTED) == 1
    assert kept["reason"] == "unreadable"
    assert "7" in kept["event_id"]
    assert "a text of the message" not in str(kept)
