"""What the lake and the logs may know of people: who did what to whom; no token, hash or address."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.flows.audit import TTL, row
from tests.support.flows.operations import NOW
from tests.support.flows.sample_world import prepare
from tests.support.people import workspace
from tests.support.project import EVENTS

from nilometer import Invite, IssueToken, OpenSession, RemoveMember, ReportSecurity, issue, perform
from nilometer.aws.dynamodb import Store
from nilometer.domain.access.token import TokenPurpose
from nilometer.domain.acts.act import service
from nilometer.domain.acts.roles import Role
from nilometer.domain.acts.secret import hash_of
from nilometer.domain.acts.security import Reported
from nilometer.domain.events.outcome import Message
from nilometer.domain.lake.change import ItemAction, action_of
from nilometer.domain.store.writes import Table
from nilometer.flows.operations import batch as operations

SAMPLES = sorted((EVENTS / "operations").glob("*.json"))
EXPIRING = {"invitation", "invited", "token", "session", "lockout", "security"}


def everything(store: Store) -> list[str]:
    """One record of every kind; the secrets that they are made of."""
    ada, door = workspace(store, bob=Role.VIEWER), service("ws", "services")
    invited = issue(store, ada, Invite(email="grace@example.com", role=Role.VIEWER), now=NOW)
    session = issue(store, door, OpenSession(user_id="ada"), now=NOW)
    once = issue(store, door, IssueToken(user_id="ada", purpose=TokenPurpose.PASSWORD_RESET), now=NOW)
    perform(store, door, ReportSecurity(action=Reported.LOGIN_FAILED, user_id="ada"), now=NOW)
    perform(store, ada, RemoveMember(user_id="bob"), now=NOW)
    tokens = [invited.token, session.token, once.token]
    return [*tokens, *map(hash_of, tokens), "grace@example.com"]


def test_no_secret_reaches_the_lake(store: Store) -> None:
    """Neither as it came nor below its own hash, in keys, attributes or images."""
    secrets = everything(store)
    items = list(store.scan(Table.RECORDS))

    assert {"membership", *EXPIRING} <= {item["kind"] for item in items}
    rows = json.dumps([row(item, ItemAction.INSERT) for item in items])
    assert [secret for secret in secrets if secret in rows] == []
    stored = repr(items)
    assert [secret for secret in secrets[:3] if secret in stored] == []


def test_the_lake_says_who_did_what_to_whom(store: Store) -> None:
    """A row of the log has all that an investigation asks for."""
    everything(store)
    rows = [row(item, ItemAction.INSERT) for item in store.scan(Table.RECORDS, kind="security")]

    [removed] = [one for one in rows if one["new_image"]["action"] == "member_removed"]
    assert removed["workspace_id"] == "ws"
    assert removed["actor"] == "ada"
    assert (removed["new_image"]["subject"], removed["new_image"]["role"]) == ("bob", "Viewer")


def test_what_time_removes_is_expired_in_the_audit(store: Store) -> None:
    """Every kind that expires has a time for it, later than now, and its expiry is distinguished from our removal."""
    everything(store)
    items = list(store.scan(Table.RECORDS))
    ending = [item for item in items if "expires_at" in item]

    assert {item["kind"] for item in ending} == {*EXPIRING, "membership"}  # of members, the one who was removed
    assert [item["user_id"] for item in ending if item["kind"] == "membership"] == ["bob"]
    assert all(item["expires_at"] > (NOW + timedelta(minutes=59)).timestamp() for item in ending)
    for item in ending:
        assert row(item, action_of("REMOVE", TTL))["action"] == "EXPIRED"


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_no_secret_reaches_a_log_line(path: Path, store: Store, objects: Any) -> None:
    """Of what was accepted, refused or rejected: ids, types and reasons alone."""
    prepare(store, objects)
    body = path.read_text()
    unknown = body.replace('"ws_acme"', '"ws_unknown"').replace("evt_01JD", "evt_02JD")
    broken = body.replace('"data": {', '"data": {"extra": 1,').replace("evt_01JD", "evt_03JD")
    data = json.loads(body)["detail"]["data"]

    results = operations.handle(
        [Message(str(n), one) for n, one in enumerate((body, unknown, broken))], store=store, objects=objects, now=NOW
    )
    logged = json.dumps([dict(result.fields) for result in results])
    private = [value for name, value in data.items() if name in {"email", "token_hash", "session_hash", "name"}]
    assert [value for value in private if value in logged] == []
