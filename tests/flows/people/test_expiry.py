"""What has an end: it is set, every read minds it, and the removal at that time is an expiry in the audit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from docs.entities import ENTITIES
from tests.support.flows.changes import World, record
from tests.support.flows.operations import NOW
from tests.support.people import member, workspace

from nilometer import (
    AdvanceOnboarding,
    Invite,
    IssueToken,
    Notify,
    OpenSession,
    RemoveMember,
    ReportSecurity,
    UpdateWorkspace,
    issue,
    perform,
    service,
)
from nilometer.aws.dynamodb import Store
from nilometer.domain.access import lockout, session, token
from nilometer.domain.access.token import TokenPurpose
from nilometer.domain.acts import security
from nilometer.domain.acts.act import Caller
from nilometer.domain.acts.roles import Role
from nilometer.domain.acts.security import Reported
from nilometer.domain.lake.redaction import key_text
from nilometer.domain.notices import notification
from nilometer.domain.people import invitation, membership, onboarding
from nilometer.domain.people.slug import SLACK, slug_writes
from nilometer.domain.people.workspace import GRACE
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch
from nilometer.domain.store.writes import Item, Table
from nilometer.errors import Refused
from nilometer.flows.notices import notifications
from nilometer.flows.people import access
from nilometer.flows.people import members as people
from nilometer.flows.people import onboarding as tutorials
from nilometer.flows.people import security as log

BY_TTL = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
BOB = member("bob", Role.VIEWER)
DOOR = service("ws", "services")

Ask = Callable[[datetime], bool]


@dataclass(frozen=True)
class Ending:
    """How a record of one kind is made, answering whether it still counts at a time; `over` is when it must not."""

    made: Callable[[Store, Caller], Ask]
    over: timedelta
    removed_after: timedelta = timedelta()
    """How much longer the record stays, to say what it was."""


def _passes(function: Callable[[], Any]) -> bool:
    try:
        function()
    except Refused:
        return False
    return True


def _invitation(store: Store, ada: Caller) -> Ask:
    sent = issue(store, ada, Invite(email="grace@example.com", role=Role.VIEWER), now=NOW)
    found = {"user_id": "grace", "email": "grace@example.com"}
    return lambda at: _passes(lambda: people.accept_invitation(store, sent.token, **found, now=at))


def _invited(store: Store, ada: Caller) -> Ask:
    """Another invitation to the address is refused."""
    again = Invite(email="grace@example.com", role=Role.VIEWER)
    issue(store, ada, again, now=NOW)
    return lambda at: not _passes(lambda: issue(store, ada, again, now=at))


def _token(purpose: TokenPurpose) -> Callable[[Store, Caller], Ask]:
    def made(store: Store, _: Caller) -> Ask:
        issued = issue(store, DOOR, IssueToken(user_id="bob", purpose=purpose), now=NOW)
        return lambda at: _passes(lambda: access.use_token(store, issued.token, purpose=purpose, now=at))

    return made


def _session(store: Store, _: Caller) -> Ask:
    opened = issue(store, DOOR, OpenSession(user_id="bob"), now=NOW)
    return lambda at: _passes(lambda: access.authenticate(store, opened.token, now=at))


def _lockout(store: Store, _: Caller) -> Ask:
    for _n in range(lockout.FAILURES):
        perform(store, DOOR, ReportSecurity(action=Reported.LOGIN_FAILED, user_id="bob"), now=NOW)
    return lambda at: log.locked_until(store, DOOR, "bob", now=at) is not None


def _entry(store: Store, ada: Caller) -> Ask:
    return lambda at: bool(log.entries(store, ada, now=at))


def _onboarding(store: Store, _: Caller) -> Ask:
    perform(store, BOB, AdvanceOnboarding(tutorial="start", step="invite"), now=NOW)
    return lambda at: bool(tutorials.progress(store, BOB, now=at))


def _notice(store: Store, _: Caller) -> Ask:
    perform(store, service("ws", "exports"), Notify(user_id="bob", topic="exports.ready", title="t"), now=NOW)
    return lambda at: bool(notifications.shown(store, BOB, now=at))


def _unread(store: Store, ada: Caller) -> Ask:
    _notice(store, ada)
    return lambda at: notifications.unread(store, BOB, now=at).total > 0


def _member(store: Store, ada: Caller) -> Ask:
    """Who was removed is no member, but a mark."""
    perform(store, ada, RemoveMember(user_id="bob"), now=NOW)
    return lambda at: bool(store.get(Table.RECORDS, keys.member("ws", "bob")))


def _slug(store: Store, ada: Caller) -> Ask:
    """Another workspace asks for it, and is answered as often as it asks."""
    perform(store, ada, UpdateWorkspace(slug="acme"), now=NOW)
    perform(store, ada, UpdateWorkspace(status="deleted"), now=NOW)
    holder = store.get(Table.RECORDS, keys.slug("acme")) or {}
    before, after = {"workspace_id": "other"}, {"workspace_id": "other", "slug": "acme", "version": 1, **_WRITTEN}
    return lambda at: not _passes(lambda: slug_writes(before, after, holder, until=None, now=at))


_WRITTEN = {"updated_at": "", "cause": None, "actor": None}
MIDNIGHT = timedelta(hours=12)  # after NOW

ENDINGS = {
    "invitation": Ending(_invitation, invitation.VALID, invitation.KEPT),
    "invited": Ending(_invited, invitation.VALID),
    "token": Ending(_token(TokenPurpose.PASSWORD_RESET), token.LIFETIME[TokenPurpose.PASSWORD_RESET]),
    "session": Ending(_session, session.LIFETIME),
    "lockout": Ending(_lockout, lockout.LOCKED, lockout.KEPT - lockout.LOCKED),
    "security": Ending(_entry, security.KEPT),
    "onboarding": Ending(_onboarding, onboarding.KEPT),
    "notification": Ending(_notice, notification.KEPT + MIDNIGHT),
    "unread": Ending(_unread, notification.KEPT + MIDNIGHT),
    "slug": Ending(_slug, GRACE + SLACK, -SLACK),
}
MARKS = {"membership": Ending(_member, membership.MARKED)}


def ending(store: Store, kind: str) -> tuple[Ask, Item]:
    """The question whether it still counts, and the last written record of the kind."""
    ada = workspace(store, bob=Role.VIEWER)
    ask = (ENDINGS | MARKS)[kind].made(store, ada)
    items = [item for item in store.scan(Table.RECORDS, kind=kind) if "expires_at" in item]
    return ask, max(items, key=lambda item: item["sk"])


@pytest.mark.parametrize("kind", ENDINGS)
def test_it_is_over_at_its_end_while_the_record_is_still_there(kind: str, store: Store) -> None:
    """DynamoDB removes it days late, so every read compares the time itself; a second earlier it counts."""
    ask, item = ending(store, kind)
    over = NOW + ENDINGS[kind].over

    assert item in list(store.scan(Table.RECORDS, kind=kind))
    assert not ask(over)
    assert ask(over - timedelta(seconds=1))


@pytest.mark.parametrize("kind", [*ENDINGS, *MARKS])
def test_its_end_is_what_the_table_removes_it_by(kind: str, store: Store) -> None:
    """In whole seconds since 1970, as DynamoDB wants it."""
    _, item = ending(store, kind)
    told = (ENDINGS | MARKS)[kind]

    assert item["expires_at"] == epoch(NOW + told.over + told.removed_after)


@pytest.mark.parametrize("kind", [*ENDINGS, *MARKS])
def test_what_time_removes_is_expired_in_the_audit(kind: str, store: Store, world: World) -> None:
    """And what we remove is removed: the stream says who did it."""
    _, item = ending(store, kind)
    world.relay(record(None, dict(item), userIdentity=BY_TTL), record(None, dict(item), sequence="18"))

    rows = [envelope["detail"]["data"] for envelope in world.bodies("bus")]
    assert sorted(row["action"] for row in rows) == ["EXPIRED", "REMOVE"]
    for row in rows:
        assert (row["kind"], row["pk"], row["sk"]) == (kind, key_text(item["pk"]), item["sk"])
        assert row["old_image"]["expires_at"] == item["expires_at"]
        assert row["new_image"] is None
        assert "grace@" not in json.dumps(row)


def test_every_kind_that_ends_is_tried() -> None:
    """What the page of entities says has an end, but for what never ends."""
    never = {one for entity in ENTITIES if entity.ends.startswith("never") for one in entity.kinds} - {"slug"}
    kinds = {one for entity in ENTITIES for one in entity.kinds}

    assert kinds - never == ENDINGS.keys() | MARKS.keys()
