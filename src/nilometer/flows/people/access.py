"""Doors as a library: sessions and one-time tokens, and from a session the `Caller` of everything else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from nilometer.aws.dynamodb import Store
from nilometer.domain.access import session, token
from nilometer.domain.access.session import LIFETIME, Session, session_of
from nilometer.domain.access.token import Purpose, Token, token_of
from nilometer.domain.acts.act import Act, Caller, service
from nilometer.domain.acts.roles import Permission
from nilometer.domain.acts.secret import hash_of
from nilometer.domain.acts.security import Action
from nilometer.domain.people import membership
from nilometer.domain.people.membership import membership_of
from nilometer.domain.people.workspace import check_open
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Key, Table, Write
from nilometer.errors import Refused
from nilometer.flows.people.acting import Issued, Stored, after, new_act, new_secret, perform, reading


def authenticate(store: Store, secret: str, *, now: datetime) -> Caller:
    """Who holds this session, in which workspace, as what, at this moment. `Refused` when it is not valid.

    Two reads, both consistent: nobody who was removed, revoked or demoted a moment ago passes.
    """
    item = store.get(Table.RECORDS, keys.session(hash_of(secret)), consistent=True)
    if item is None:
        raise Refused(session.INVALID)
    workspace, member = keys.workspace(item["workspace_id"]), keys.member(item["workspace_id"], item["user_id"])
    stored = store.batch_get(Table.RECORDS, [workspace, member], consistent=True)
    check_open(stored.get(workspace), item["workspace_id"])
    theirs = membership_of(stored.get(member))
    if theirs is None or session_of(item, theirs, now) is None:
        raise Refused(session.INVALID)
    return Caller(workspace_id=theirs.workspace_id, user_id=theirs.user_id, role=theirs.role)


def member_caller(store: Store, workspace_id: str, user_id: str) -> Caller:
    """The caller for a user whom the service in front of us has authenticated itself. `Refused` for a stranger.

    Also in a deleted workspace, which its Admins may restore; everything else asks whether it is open.
    """
    theirs = membership_of(store.get(Table.RECORDS, keys.member(workspace_id, user_id), consistent=True))
    if theirs is None:
        raise Refused(f"{user_id} is no member of {workspace_id}")
    return Caller(workspace_id=workspace_id, user_id=user_id, role=theirs.role)


def open_session(
    store: Store, caller: Caller, user_id: str, *, now: datetime, lifetime: timedelta = LIFETIME
) -> Issued[Session]:
    """For the service that has verified who it is. `Refused` for a stranger and while he is locked out."""
    secret, workspace_id = new_secret("session"), caller.workspace_id
    key, member, failures = (
        keys.session(hash_of(secret)),
        keys.member(workspace_id, user_id),
        keys.lockout(workspace_id, user_id),
    )

    def decide(act: Act, stored: Stored) -> tuple[Sequence[Write], Session]:
        writes = session.create(
            act,
            stored=stored.get(key),
            member=stored.get(member),
            failures=stored.get(failures),
            user_id=user_id,
            token_hash=hash_of(secret),
            lifetime=lifetime,
        )
        opened = session_of(after(writes, key, stored), membership_of(stored.get(member)), now)
        if opened is None:
            raise Refused(session.INVALID)
        return writes, opened

    return Issued(perform(store, new_act(caller, now), [key, member, failures], decide), secret)


def sessions(store: Store, caller: Caller, *, now: datetime, user_id: str | None = None) -> list[Session]:
    """Valid ones of the caller, or of another member for who may manage them, in this workspace alone.

    The oldest first. From the index: one that was opened a moment ago may be missing.
    """
    whose = user_id or caller.user_id
    reading(store, caller, Permission.WORKSPACE_VIEW if caller.is_self(whose) else Permission.SESSION_MANAGE)
    theirs = membership_of(store.get(Table.RECORDS, keys.member(caller.workspace_id, whose), consistent=True))
    found = (session_of(item, theirs, now) for item in store.query_index(keys.user(whose), prefix="SESSION#"))
    return [one for one in found if one]


def revoke_session(store: Store, caller: Caller, session_id: str, *, now: datetime, user_id: str | None = None) -> None:
    """One session of the caller, or of another member. Doing it again changes nothing."""
    key = _listed(store, caller, session_id, user_id or caller.user_id)

    def decide(act: Act, stored: Stored) -> tuple[Sequence[Write], None]:
        return session.revoke(act, stored=stored.get(key)), None

    perform(store, new_act(caller, now), [key], decide)


def revoke_sessions(store: Store, caller: Caller, *, now: datetime, user_id: str | None = None) -> None:
    """All sessions of the caller, or of another member, in this workspace: also what no list shows yet."""
    whose = user_id or caller.user_id
    key = keys.member(caller.workspace_id, whose)

    def decide(act: Act, stored: Stored) -> tuple[Sequence[Write], None]:
        return membership.end_sessions(act, stored=stored.get(key), user_id=whose), None

    perform(store, new_act(caller, now), [key], decide)


def log_out(store: Store, secret: str, *, now: datetime) -> None:
    """By whoever holds the session. Doing it again changes nothing."""
    key = keys.session(hash_of(secret))
    item = store.get(Table.RECORDS, key, consistent=True)
    if item is None:
        raise Refused(session.INVALID)

    def decide(act: Act, stored: Stored) -> tuple[Sequence[Write], None]:
        return session.revoke(act, stored=stored.get(key), action=Action.LOGOUT), None

    perform(store, new_act(service(item["workspace_id"], item["user_id"]), now), [key], decide)


def issue_token(
    store: Store,
    caller: Caller,
    user_id: str,
    *,
    purpose: Purpose,
    now: datetime,
    valid_until: datetime | None = None,
) -> Issued[Token]:
    """For the service that sends it to the user."""
    secret = new_secret("once")
    key = keys.token(hash_of(secret))

    def decide(act: Act, stored: Stored) -> tuple[Sequence[Write], Token]:
        writes = token.issue(
            act,
            stored=stored.get(key),
            user_id=user_id,
            purpose=purpose,
            token_hash=hash_of(secret),
            valid_until=valid_until,
        )
        return writes, Token(workspace_id=act.workspace_id, user_id=user_id, purpose=purpose)

    return Issued(perform(store, new_act(caller, now), [key], decide), secret)


def use_token(store: Store, secret: str, *, purpose: Purpose, now: datetime) -> Token:
    """What it proves, once. `Refused` for every later use, also by who never saw the answer: he asks for another."""
    key = keys.token(hash_of(secret))
    item = store.get(Table.RECORDS, key, consistent=True)
    if item is None:
        raise Refused(token.INVALID)

    def decide(act: Act, stored: Stored) -> tuple[Sequence[Write], Token]:
        return token.use(act, stored=stored.get(key), token_hash=hash_of(secret), purpose=purpose), token_of(item)

    return perform(store, new_act(service(item["workspace_id"], item["user_id"]), now), [key], decide)


def _listed(store: Store, caller: Caller, session_id: str, user_id: str) -> Key:
    for item in store.query_index(keys.user(user_id), prefix="SESSION#"):
        if item["session_id"] == session_id and item["workspace_id"] == caller.workspace_id:
            return Key(item["pk"], item["sk"])
    raise Refused(f"there is no session {session_id} of {user_id} in {caller.workspace_id}")
