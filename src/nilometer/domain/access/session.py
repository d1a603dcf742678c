"""A session: a user at work in one workspace, until its end or until it is revoked.

It is valid only as long as the membership is: who is removed is out at once. All sessions of a member end by one
write to the membership (`membership.end_sessions`), so that none is missed which an index does not show yet.
A revoked session stays as a mark until its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from nilometer.domain.access import lockout
from nilometer.domain.acts.act import Act, checked_id
from nilometer.domain.acts.records import alive, record
from nilometer.domain.acts.roles import Permission
from nilometer.domain.acts.secret import checked_hash
from nilometer.domain.acts.security import Action, entry
from nilometer.domain.people.membership import Membership, membership_of
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, from_epoch, rfc3339
from nilometer.domain.store.writes import Item, Key, Write
from nilometer.errors import Refused, Rejected

LIFETIME = timedelta(days=30)
INVALID = "this session is not valid; log in"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """`id` is for lists and for revoking; it opens nothing."""

    id: str
    workspace_id: str
    user_id: str
    created_at: str
    expires_at: datetime


def session_of(item: Item | None, membership: Membership | None, now: datetime) -> Session | None:
    """`None` unless it is valid at `now` for that membership."""
    item = alive(item, now)
    if item is None or item["revoked_at"] is not None or membership is None:
        return None
    theirs = (item["workspace_id"], item["user_id"]) == (membership.workspace_id, membership.user_id)
    if not theirs or item["created_at"] <= membership.sessions_after:
        return None
    return Session(
        id=item["session_id"],
        workspace_id=item["workspace_id"],
        user_id=item["user_id"],
        created_at=item["created_at"],
        expires_at=from_epoch(item["expires_at"]),
    )


def create(
    act: Act,
    *,
    stored: Item | None,
    member: Item | None,
    failures: Item | None,
    user_id: str,
    token_hash: str,
    lifetime: timedelta = LIFETIME,
) -> list[Write]:
    """A login that a service has verified. `Refused` for a stranger and while he is locked out."""
    act.caller.require(Permission.SESSION_CREATE)
    if not timedelta(0) < lifetime <= LIFETIME:
        raise Rejected("invalid_schema", f"a session lasts at most {LIFETIME.days} days")
    if stored:
        return []
    if membership_of(member) is None:
        raise Refused(f"{user_id} is no member of {act.workspace_id}")
    if until := lockout.locked_until(alive(failures, act.now), act.happened):
        raise Refused(f"{user_id} is locked out until {rfc3339(until)} after repeated failures")
    session_id = act.new_id("session")
    put = record(
        act,
        keys.session(checked_hash(token_hash)),
        "session",
        None,
        session_id=session_id,
        user_id=checked_id(user_id),
        created_at=rfc3339(act.happened),
        revoked_at=None,
        expires_at=epoch(act.happened + lifetime),
        gsi1pk=keys.user(user_id),
        gsi1sk=f"SESSION#{rfc3339(act.happened)}#{session_id}",
    )
    logged = entry(act, Action.LOGIN, subject=user_id, object_id=session_id, actor=user_id)
    return [put, *lockout.succeeded(act, stored=failures, user_id=user_id), logged]


def revoke(act: Act, *, stored: Item | None, action: Action = Action.SESSION_REVOKED) -> list[Write]:
    """It is over from now on. Nothing when it is over already; `Refused` when it is not of this workspace."""
    if stored is None or stored["workspace_id"] != act.workspace_id:
        raise Refused(f"there is no such session in {act.workspace_id}")
    if not act.caller.is_self(stored["user_id"]):
        act.caller.require(Permission.SESSION_MANAGE)
    if alive(stored, act.now) is None or stored["revoked_at"] is not None:
        return []
    names = ("session_id", "user_id", "created_at", "expires_at", "gsi1pk", "gsi1sk")
    kept = {name: stored[name] for name in names}
    put = record(act, _key(stored), "session", stored, **kept, revoked_at=rfc3339(act.happened))
    return [put, entry(act, action, subject=stored["user_id"], object_id=stored["session_id"])]


def _key(item: Item) -> Key:
    return Key(item["pk"], item["sk"])
