"""Feature flags on a real engine: one read, a short memory, overrides that stay in their workspace."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import pytest
from tests.support.flows.operations import NOW, event, handle
from tests.support.people import RACERS, member, race, workspace

from nilometer import OverrideFlag, SetFlag, operator, perform
from nilometer.aws.dynamodb import Store
from nilometer.domain.acts.act import Caller, service
from nilometer.domain.acts.roles import Role
from nilometer.domain.events.outcome import Outcome
from nilometer.domain.people.flag import Reason
from nilometer.errors import Refused, Unavailable
from nilometer.flows.people import flags
from nilometer.flows.people.flags import SECONDS, Flags


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def set_flag(store: Store, name: str = "exports", **given: Any) -> None:
    perform(store, operator("ops"), SetFlag(flag=name, **given), now=NOW)


def reason(store: Store, caller: Caller, name: str = "exports") -> tuple[bool, Reason]:
    answer = flags.explain(store, caller, name)
    return answer.on, answer.reason


def test_an_override_holds_in_its_workspace_only(store: Store) -> None:
    """And is taken back."""
    ada = workspace(store)
    other = workspace(store, "other")
    set_flag(store, enabled=False)
    perform(store, ada, OverrideFlag(flag="exports", enabled=True), now=NOW)

    assert (reason(store, ada), reason(store, other)) == ((True, Reason.OVERRIDE), (False, Reason.OFF))
    assert [item["workspace_id"] for item in flags.overrides(store, "exports")] == ["ws"]
    perform(store, ada, OverrideFlag(flag="exports", enabled=None), now=NOW)
    assert reason(store, ada) == (False, Reason.OFF)
    assert list(flags.overrides(store, "exports")) == []


def test_an_answer_says_who_decided(store: Store) -> None:
    """And when."""
    ada = workspace(store)
    set_flag(store, rollout=100)
    answers = [flags.explain(store, ada, "exports")]
    perform(store, ada, OverrideFlag(flag="exports", enabled=False), now=NOW)
    answers.append(flags.explain(store, ada, "exports"))

    assert [(one.reason, one.changed_by) for one in answers] == [(Reason.ROLLOUT, "ops"), (Reason.OVERRIDE, "ada")]
    assert answers[0].rollout == 100
    assert answers[0].changed_at == "2026-11-23T12:00:00.000Z"


@pytest.mark.parametrize("role", [Role.ANALYST, Role.VIEWER])
def test_not_everybody_may_override(role: Role, store: Store) -> None:
    """What a caller says of his role does not count: the stored one does."""
    workspace(store, bob=role)
    set_flag(store)

    for claimed in (role, Role.ADMIN):
        with pytest.raises(Refused):
            perform(store, member("bob", claimed), OverrideFlag(flag="exports", enabled=True), now=NOW)
    with pytest.raises(Refused):
        perform(store, member("eve", Role.ADMIN), OverrideFlag(flag="exports", enabled=True), now=NOW)
    assert reason(store, member("bob", role)) == (False, Reason.OFF)


def test_an_override_needs_its_flag(store: Store) -> None:
    """A typing error must not look like a success."""
    ada = workspace(store)

    with pytest.raises(Unavailable):
        perform(store, ada, OverrideFlag(flag="exprots", enabled=True), now=NOW)


def test_many_flags_are_one_read(store: Store) -> None:
    """And no read at all while they are remembered, absent ones included."""
    workspace(store)
    for n in range(20):
        set_flag(store, f"f{n}", enabled=n % 2 == 0)
    names = [*(f"f{n}" for n in range(20)), "unknown"]
    asked = Flags(store, monotonic=Clock())
    before = store.requests

    answers = asked.evaluate(names, "ws")
    assert [name for name in names if answers[name].on] == [f"f{n}" for n in range(0, 20, 2)]
    assert answers["unknown"].reason is Reason.UNKNOWN
    assert store.requests == before + 1
    assert asked.evaluate(names, "ws") == answers
    assert store.requests == before + 1


def test_a_switch_is_seen_after_seconds(store: Store) -> None:
    """Not at once, and not later."""
    ada = workspace(store)
    set_flag(store, enabled=True)
    clock = Clock()
    asked = Flags(store, monotonic=clock)
    assert asked.is_on("exports", "ws")
    perform(store, ada, OverrideFlag(flag="exports", enabled=False), now=NOW)

    clock.now = SECONDS - 0.1
    assert asked.is_on("exports", "ws")
    clock.now = SECONDS
    assert not asked.is_on("exports", "ws")


def test_what_was_last_known_holds_while_the_table_does_not_answer(store: Store) -> None:
    """Only what was never read is unavailable."""
    set_flag(store, enabled=True)
    clock = Clock()
    asked = Flags(store, monotonic=clock)
    assert asked.is_on("exports", "ws")
    asked.store = Store(store._client, records="there-is-no-such-table", events="nor-this-one")
    clock.now = 10 * SECONDS

    assert asked.is_on("exports", "ws")
    with pytest.raises(Unavailable):
        asked.is_on("exports", "another")


def test_the_memory_has_an_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Expired entries go first; what is asked for is still answered."""
    monkeypatch.setattr(flags, "REMEMBERED", 10)
    set_flag(store, enabled=True)
    asked = Flags(store, monotonic=Clock())

    assert all(asked.is_on("exports", f"ws{n}") for n in range(40))
    assert len(asked._known) <= 10


def test_eight_change_a_flag_at_once(store: Store) -> None:
    """Nothing that one said is lost."""
    fields: list[dict[str, Any]] = [{"enabled": True}, {"rollout": 40}, {"description": "CSV"}, {"archived": False}]
    race([partial(set_flag, store, **given) for given in fields * 2])

    [record] = flags.all_flags(store)
    assert (record["enabled"], record["rollout"], record["description"]) == (True, 40, "CSV")
    assert record["version"] == RACERS


def test_an_archived_flag_is_off_and_out_of_sight(store: Store) -> None:
    """For everybody, whatever was overridden."""
    ada = workspace(store)
    set_flag(store, enabled=True)
    set_flag(store, "imports")
    perform(store, ada, OverrideFlag(flag="exports", enabled=True), now=NOW)
    set_flag(store, archived=True)

    assert reason(store, ada) == (False, Reason.ARCHIVED)
    assert [one.flag for one in flags.explain_all(store, ada)] == ["imports"]


def test_any_order_of_events_ends_in_the_same_answer(store: Store, objects: Any) -> None:
    """With copies; an override waits for its flag."""
    door = service("ws", "test")
    workspace(store)
    for n, order in enumerate(itertools.permutations(range(4))):
        name = f"f{n}"
        events = [
            event("flag.set.v1", {"flag": name, "rollout": 100}, id_=f"{n}-0", second=0),
            event("flag.set.v1", {"flag": name, "rollout": 0}, id_=f"{n}-1", second=1),
            event("flag.overridden.v1", {"flag": name, "enabled": True}, id_=f"{n}-2", subject="ws", second=2),
            event("flag.overridden.v1", {"flag": name, "enabled": None}, id_=f"{n}-3", subject="ws", second=3),
        ]
        handle(store, objects, *(events[one] for one in order))
        again = handle(store, objects, *(events[one] for one in order))

        assert set(again) <= {Outcome.ACCEPTED, Outcome.DUPLICATE}
        assert reason(store, door, name) == (False, Reason.OFF)


def test_an_override_is_for_a_workspace_that_is_open(store: Store, objects: Any) -> None:
    """Of an unknown one it comes again: its creation may be on the way. Without a subject it is rejected."""
    set_flag(store)
    known, nowhere = (
        event("flag.overridden.v1", {"flag": "exports", "enabled": True}, id_=f"{s}", subject=s) for s in ("ws", None)
    )

    assert handle(store, objects, known, nowhere) == [Outcome.WAITING, Outcome.REJECTED]
    workspace(store)
    assert handle(store, objects, known) == [Outcome.ACCEPTED]


@pytest.mark.parametrize(
    "data", [{"flag": "No Slug"}, {"flag": "x", "rollout": 101}, {"flag": "x", "rollout": 1.5}, {"enabled": True}]
)
def test_what_is_wrong_for_good_is_rejected(data: dict[str, Any], store: Store, objects: Any) -> None:
    """And kept."""
    assert handle(store, objects, event("flag.set.v1", data, id_="x")) == [Outcome.REJECTED]
