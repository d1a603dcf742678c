"""What the holder of a session or a one-time token does, and from a session the `Caller` of everything else."""

from __future__ import annotations

from datetime import datetime

from nilometer.aws.dynamodb import Store
from nilometer.domain.access import session, token
from nilometer.domain.access.session import RevokeSession, Session, session_hash, session_of
from nilometer.domain.access.token import Token, TokenPurpose, UseToken
from nilometer.domain.acts.act import Caller, service
from nilometer.domain.acts.roles import Permission
from nilometer.domain.acts.secret import hash_of
from nilometer.domain.acts.security import SecurityAction
from nilometer.domain.people.membership import membership_of
from nilometer.domain.people.workspace import check_open
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table
from nilometer.errors import Refused
from nilometer.flows.people.acting import perform, reading


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
    """The caller for a user whom the calling service has authenticated. `Refused` for one who is no member.

    Also in a deleted workspace, which its Admins may restore; everything else checks that it is open.
    """
    theirs = membership_of(store.get(Table.RECORDS, keys.member(workspace_id, user_id), consistent=True))
    if theirs is None:
        raise Refused(f"{user_id} is no member of {workspace_id}")
    return Caller(workspace_id=workspace_id, user_id=user_id, role=theirs.role)


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
    """One session of the caller, or of another member, by its id. Doing it again changes nothing."""
    whose = user_id or caller.user_id
    for item in store.query_index(keys.user(whose), prefix="SESSION#"):
        if item["session_id"] == session_id and item["workspace_id"] == caller.workspace_id:
            return perform(store, caller, RevokeSession(session_hash=session_hash(item)), now=now)
    raise Refused(f"there is no session {session_id} of {whose} in {caller.workspace_id}")


def log_out(store: Store, secret: str, *, now: datetime) -> None:
    """By whoever holds the session. Doing it again changes nothing."""
    item = store.get(Table.RECORDS, keys.session(hash_of(secret)), consistent=True)
    if item is None:
        raise Refused(session.INVALID)
    deed = RevokeSession(session_hash=hash_of(secret), action=SecurityAction.LOGOUT)
    perform(store, service(item["workspace_id"], item["user_id"]), deed, now=now)


def use_token(store: Store, secret: str, *, purpose: TokenPurpose, now: datetime) -> Token:
    """What it proves, once. `Refused` for every later use, also by who never saw the answer: he asks for another."""
    item = store.get(Table.RECORDS, keys.token(hash_of(secret)), consistent=True)
    if item is None:
        raise Refused(token.INVALID)
    deed = UseToken(token_hash=hash_of(secret), purpose=purpose)
    return perform(store, service(item["workspace_id"], item["user_id"]), deed, now=now)
