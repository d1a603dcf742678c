"""What waits is seen: since when, for what and until when; then it is accepted, or a reject."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.support.flows.dataset_world import batch, new_world
from tests.support.flows.operations import NOW, event
from tests.support.flows.usage import cloud
from tests.support.flows.usage import handle as use

from nilometer import CreateWorkspace, perform, service
from nilometer.aws.dynamodb import Store
from nilometer.domain.events.outcome import Message, Outcome
from nilometer.domain.events.waiting import Waiting
from nilometer.flows.inbox.settle import PATIENCE
from nilometer.flows.inbox.waits import note
from nilometer.flows.operations import batch as operations
from nilometer.flows.recovery.refused import waiting

MEMBER = event("member.added.v1", {"user_id": "u1", "role": "Viewer"}, id_="m1", subject="late")


def work(store: Store, objects: Any, *, minutes: float = 0, receives: int = 1) -> Outcome:
    """The member of a workspace that nobody created comes to the operations flow."""
    message = Message("sqs-1", MEMBER, sent_at=NOW, receives=receives)
    [result] = operations.handle([message], store=store, objects=objects, now=NOW + timedelta(minutes=minutes))
    return result.outcome


def seen(store: Store, *, minutes: float = 0) -> list[Waiting]:
    return waiting(store, now=NOW + timedelta(minutes=minutes))


def test_an_operation_that_waits_is_seen_until_it_is_accepted(store: Store, objects: Any) -> None:
    """Of an unknown workspace; with its creation it is accepted at its next delivery, and waits no more."""
    outcomes = [work(store, objects), work(store, objects, minutes=3, receives=2)]
    [one] = seen(store, minutes=4)
    perform(store, service("late", "test"), CreateWorkspace(name="Late"), now=NOW)
    outcomes.append(work(store, objects, minutes=6, receives=3))

    assert outcomes == [Outcome.WAITING, Outcome.WAITING, Outcome.ACCEPTED]
    assert (one.flow, one.reason, one.workspace_id, one.event_id) == ("operations", "unknown_workspace", "late", "m1")
    assert (one.since, one.until) == (NOW, NOW + PATIENCE)
    assert seen(store, minutes=7) == []


def test_an_operation_waits_for_ten_minutes_and_is_a_reject(store: Store, objects: Any) -> None:
    """Then nothing waits, and the reject says what it lacked."""
    outcomes = [work(store, objects), work(store, objects, minutes=11, receives=4)]

    assert outcomes == [Outcome.WAITING, Outcome.REJECTED]
    assert seen(store, minutes=9) == seen(store, minutes=11) == []


def test_usage_that_waits_is_seen_by_what_it_lacks(ready: Store, objects: Any) -> None:
    """A workspace for 35 days, a meter for one; how many, since the first."""
    use(ready, objects, cloud("a", meter="later"), cloud("b", meter="later"), cloud("c", workspace="unknown"))
    found = {(one.flow, one.reason, one.count, one.until - one.since) for one in seen(ready)}

    day = timedelta(days=1)
    assert found == {("usage", "unknown_meter", 2, day), ("usage", "unknown_workspace", 1, 35 * day)}
    assert [one.reason for one in seen(ready, minutes=2 * 24 * 60)] == ["unknown_workspace"]
    assert seen(ready, minutes=36 * 24 * 60) == []


def test_what_cannot_be_written_down_waits_all_the_same() -> None:
    """It is for people to see: no outcome depends on it."""

    class Away:
        def commit(self, writes: Any) -> None:
            raise RuntimeError("no store at all")

    away: Any = Away()
    odd: Any = object()
    note(away, "operations", [odd], patience=PATIENCE, now=NOW)


def test_a_batch_of_an_undeclared_dataset_is_seen(store: Store, objects: Any, tmp_path: Any) -> None:
    """Whatever flow it is of."""
    world = new_world(store, objects, tmp_path)
    [result] = world.settle([Message("sqs-2", batch("b1", dataset="nobody", rows=[{"id": "1"}]))])

    assert result.outcome is Outcome.WAITING
    assert [(one.flow, one.reason) for one in seen(store)] == [("datasets", "unknown_dataset")]
