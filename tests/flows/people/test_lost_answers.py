"""A call of the library whose answer is lost may be made again: the result is as if it had been made once.

Of records that end by themselves the end is set, and the audit tells it from a removal of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from tests.support.acts import act
from tests.support.faulty import FaultyStore
from tests.support.flows.audit import TTL, row
from tests.support.flows.operations import NOW
from tests.support.people import member, workspace

from nilometer import (
    AcceptPolicy,
    AdvanceOnboarding,
    Channel,
    DeclareDataset,
    DeclaredColumn,
    GrantLimit,
    Notify,
    OverrideFlag,
    Policy,
    PublishPolicy,
    SetFlag,
    SetPreference,
    operator,
    perform,
    service,
)
from nilometer.aws.dynamodb import Store
from nilometer.domain.acts.act import Caller
from nilometer.domain.acts.roles import Role
from nilometer.domain.lake.change import action_of
from nilometer.domain.store.times import epoch
from nilometer.domain.store.writes import Item, Table
from nilometer.errors import Unavailable
from nilometer.flows.notices import notifications

ADA = Caller(workspace_id="ws", user_id="ada", role=Role.ADMIN)
OPS = service("ws", "ops")
BOB = member("bob", Role.VIEWER)
NOTICE = Notify(user_id="bob", topic="exports.ready", title="Done", once="c")
TOLD = NOTICE.notice(act(OPS, now=NOW)).id
OTHER = Notify(user_id="bob", topic="exports.ready", title="Done", once="d")
VERSIONS = [
    PublishPolicy(policy=Policy.TERMS, version=n, url="https://x", content_sha256="ab" * 32, effective_at=NOW)
    for n in (1, 2)
]
ENDING = {"notification", "unread", "onboarding"}
LASTING = {"preference", "policy", "acceptance", "flag", "flag_override", "dataset", "limits"}
ORDERS = DeclareDataset(dataset="orders", mode="append", columns=[DeclaredColumn(name="id", type="string")])
DEEDS = [
    (service("ws", "exports"), OTHER),
    (BOB, SetPreference(topic="*", channels={Channel.EMAIL: False})),
    (operator("legal"), VERSIONS[1]),
    (BOB, AcceptPolicy(policy=Policy.TERMS, version=1)),
    (operator("ops"), SetFlag(flag="exports", rollout=30)),
    (ADA, OverrideFlag(flag="exports", enabled=True)),
    (operator("ops"), ORDERS),
    (OPS, GrantLimit(meter="calls", grant="g", amount="5")),
    (BOB, AdvanceOnboarding(tutorial="start", step="invite")),
]

CALLS: dict[str, Callable[[Any], object]] = {
    "mark_all_read": partial(notifications.mark_all_read, caller=BOB, now=NOW),
    "archive": partial(
        notifications.archive, caller=BOB, notification_ids=[NOTICE.notice(act(OPS, now=NOW)).id], now=NOW
    ),
    **{type(deed).__name__: partial(perform, caller=caller, deed=deed, now=NOW) for caller, deed in DEEDS},
}


def prepare(store: Store) -> None:
    workspace(store, bob=Role.VIEWER)
    perform(store, service("ws", "exports"), NOTICE, now=NOW)
    perform(store, operator("legal"), VERSIONS[0], now=NOW)
    perform(store, operator("ops"), SetFlag(flag="exports"), now=NOW)


def loses_answers(name: str, _call: int, after: bool) -> None:
    if name == "commit" and after:
        raise Unavailable("no answer")


def effects(store: Store) -> list[Item]:
    """All records but what says how often one was written."""
    found = sorted(store.scan(Table.RECORDS), key=lambda item: (item["pk"], item["sk"]))
    ours = [item for item in found if item["kind"] in ENDING | LASTING]
    return [{name: value for name, value in item.items() if name != "version"} for item in ours]


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_call_may_be_made_again(call: Callable[[Any], object], store: Store) -> None:
    """Above all nothing is counted or told twice."""
    prepare(store)
    with pytest.raises(Unavailable):
        call(FaultyStore(store, loses_answers))
    once = effects(store)
    call(store)

    assert effects(store) == once
    shown = notifications.shown(store, BOB, now=NOW, unread=True)
    assert notifications.unread(store, BOB, now=NOW).total == len(shown)


def test_what_ends_by_itself_says_when(store: Store) -> None:
    """And what is evidence or a setting never ends."""
    prepare(store)
    for call in CALLS.values():
        call(store)
    items = list(store.scan(Table.RECORDS))

    ending = [item for item in items if item["kind"] in ENDING]
    assert {item["kind"] for item in ending} == ENDING
    assert all(item["expires_at"] > epoch(NOW) + 89 * 86_400 for item in ending)
    assert {row(item, action_of("REMOVE", TTL))["action"] for item in ending} == {"EXPIRED"}
    assert {item["kind"] for item in items if item["kind"] in LASTING and "expires_at" not in item} == LASTING


def test_every_record_says_who_and_since_when(store: Store) -> None:
    """As the audit needs it."""
    prepare(store)
    for call in CALLS.values():
        call(store)
    items = [item for item in store.scan(Table.RECORDS) if item["kind"] in ENDING | LASTING]

    assert all({"version", "updated_at", "cause", "actor"} <= item.keys() for item in items)
    assert {item["actor"] for item in items} == {"bob", "ada", "exports", "legal", "ops"}
