"""A call of the library whose answer is lost may be made again: the result is as if it had been made once.

Of records that end by themselves the end is set, and the audit tells it from a removal of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from tests.support.faulty import FaultyStore
from tests.support.flows.audit import TTL, row
from tests.support.flows.operations import NOW
from tests.support.people import member, workspace

from nilometer.aws.dynamodb import Store
from nilometer.domain.acts.act import Caller, service
from nilometer.domain.acts.roles import Role
from nilometer.domain.lake.change import action_of
from nilometer.domain.lake.dataset import new_column, new_dataset
from nilometer.domain.notices import notification
from nilometer.domain.people import flag, policy
from nilometer.domain.store.times import epoch
from nilometer.domain.store.writes import Item, Table
from nilometer.errors import Unavailable
from nilometer.flows.lake import declaring
from nilometer.flows.limits import own as own_limits
from nilometer.flows.notices import notifications
from nilometer.flows.people import flags, onboarding, policies

ADA = Caller(workspace_id="ws", user_id="ada", role=Role.ADMIN)
OPS = service("ws", "ops")
BOB = member("bob", Role.VIEWER)
NOTICE = notification.new_notice("bob", topic="exports.ready", title="Done", cause="c", at=NOW, workspace_id="ws")
OTHER = notification.new_notice("bob", topic="exports.ready", title="Done", cause="d", at=NOW, workspace_id="ws")
VERSIONS = [policy.new_version("terms", n, url="https://x", content_sha256="ab" * 32, effective_at=NOW) for n in (1, 2)]
ENDING = {"notification", "unread", "onboarding"}
LASTING = {"preference", "policy", "acceptance", "flag", "flag_override", "dataset", "limits"}
ORDERS = new_dataset("orders", mode="append", columns=[new_column("id", "string")])

CALLS: dict[str, Callable[[Any], object]] = {
    "notify": partial(notifications.notify, notice=OTHER, actor="exports", now=NOW),
    "mark_read": partial(notifications.mark_read, caller=BOB, notification_ids=[NOTICE.id], now=NOW),
    "mark_all_read": partial(notifications.mark_all_read, caller=BOB, now=NOW),
    "prefer": partial(notifications.prefer, caller=BOB, topic="*", channels={"email": False}, now=NOW),
    "publish": partial(policies.publish, version=VERSIONS[1], actor="legal", now=NOW),
    "accept": partial(policies.accept, caller=BOB, which="terms", number=1, now=NOW),
    "set_flag": partial(flags.set_flag, change=flag.new_change("exports", rollout=30), actor="ops", now=NOW),
    "override": partial(flags.override, caller=ADA, name="exports", enabled=True, now=NOW),
    "declare": partial(declaring.declare, said=ORDERS, actor="ops", now=NOW),
    "grant": partial(own_limits.grant, caller=OPS, meter="calls", grant_id="g", amount="5", now=NOW),
    "advance": partial(onboarding.advance, caller=BOB, tutorial="start", step="invite", now=NOW),
}


def prepare(store: Store) -> None:
    workspace(store, bob=Role.VIEWER)
    notifications.notify(store, NOTICE, actor="exports", now=NOW)
    policies.publish(store, VERSIONS[0], actor="legal", now=NOW)
    flags.set_flag(store, flag.new_change("exports"), actor="ops", now=NOW)


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
    assert {item["actor"] for item in items} == {"bob", "ada", "legal", "ops"}
