"""A lock-out is announced on the bus by a name of its own, beside the change of its record."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.support.acts import NOW, act
from tests.support.flows.changes import World, record
from tests.support.stores.writes import Memory

from nilometer.domain.access import lockout
from nilometer.domain.access.lockout import FAILURES, LOCKED, LOCKED_OUT
from nilometer.domain.store import keys
from nilometer.domain.store.times import rfc3339

LOCKOUT = keys.lockout("ws", "ada")


def failures(number: int) -> list[dict[str, Any]]:
    """The stream of ada's lock-out record, one failure a second."""
    stored, changes = Memory(), []
    for second in range(number):
        before = stored.get(LOCKOUT)
        stored.commit(lockout.failed(act(now=NOW + timedelta(seconds=second)), stored=before, user_id="ada"))
        new, old = dict(stored[LOCKOUT]), dict(before) if before else None
        changes.append(record(new, old, sequence=str(second + 1)))
    return changes


def said(world: World) -> list[dict[str, Any]]:
    return [one["detail"] for one in world.bodies("bus") if one["detail-type"] == LOCKED_OUT]


def test_a_lockout_is_announced_once(world: World) -> None:
    """With the fifth failure; by the same id when the stream delivers it again."""
    stream = failures(FAILURES)
    world.relay(*stream[:-1])
    assert said(world) == []
    world.relay(*stream)
    world.relay(stream[-1])

    first, again = said(world)
    until = rfc3339(NOW + timedelta(seconds=FAILURES - 1) + LOCKED)
    assert first == again
    assert (first["id"], first["subject"]) == (f"ws:ada:{until}:{LOCKED_OUT}", "ws")
    assert first["data"]["locked_until"] == until
    assert first["data"].keys() == {"workspace_id", "user_id", "locked_until", "failures", "cause"}


def test_the_end_of_its_record_is_no_lockout(world: World) -> None:
    """TTL takes the record away a day later."""
    locked = failures(FAILURES)[-1]["dynamodb"]["NewImage"]
    gone = record(None, {"pk": LOCKOUT.pk, "sk": LOCKOUT.sk, "kind": "lockout"})
    gone["dynamodb"]["OldImage"] = locked
    world.relay(gone)

    assert said(world) == []
