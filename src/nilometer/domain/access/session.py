"""A session: a user at work in one workspace, until its end or until it is revoked.

It is valid only as long as the membership is: who is removed is out at once. All sessions of a member end by one
write to the membership (`membership.EndSessions`), so that none is missed which an index does not show yet.
A revoked session stays as a mark until its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from nilometer.domain.access import lockout
from nilometer.domain.acts.act import Act, checked_id
from nilometer.domain.acts.deed import Actor, Decided, Deed, Id, Issuing, Sha256, Stored, made, unsent
from nilometer.domain.acts.records import alive, record
from nilometer.domain.acts.roles import Permission
from nilometer.domain.acts.secret import checked_hash
from nilometer.domain.acts.security import SecurityAction, entry
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


def session_hash(item: Item) -> str:
    """The hash that a stored session is found by."""
    return str(item["pk"]).removeprefix(keys.session("").pk)


@dataclass(frozen=True, kw_only=True)
class OpenSession(Issuing[Session]):
    """A verified login: the service holds the token, we its hash.

    `Refused` for one who is no member, and while he is locked out.
    """

    permission = Permission.SESSION_CREATE
    secret = "session"  # noqa: S105  # a prefix of secrets
    hash_field = "session_hash"

    session_hash: Sha256 = made()
    user_id: Id
    valid_until: datetime | None = None

    def reads(self, act: Act) -> tuple[Key, Key, Key]:
        """The session, the membership and what failed before."""
        ws = act.workspace_id
        return keys.session(self.session_hash), keys.member(ws, self.user_id), keys.lockout(ws, self.user_id)

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        self.require(act)
        until = self.valid_until or act.happened + LIFETIME
        if not timedelta(0) < until - act.happened <= LIFETIME:
            raise Rejected("invalid_schema", f"a session lasts at most {LIFETIME.days} days")
        known, member, failures = map(stored.get, self.reads(act))
        if known:
            return []
        if membership_of(member) is None:
            raise Refused(f"{self.user_id} is no member of {act.workspace_id}")
        if locked := lockout.locked_until(alive(failures, act.now), act.happened):
            raise Refused(f"{self.user_id} is locked out until {rfc3339(locked)} after repeated failures")
        session_id = act.new_id("session")
        put = record(
            act,
            keys.session(checked_hash(self.session_hash)),
            "session",
            None,
            session_id=session_id,
            user_id=checked_id(self.user_id),
            created_at=rfc3339(act.happened),
            revoked_at=None,
            expires_at=epoch(until),
            gsi1pk=keys.user(self.user_id),
            gsi1sk=f"SESSION#{rfc3339(act.happened)}#{session_id}",
        )
        logged = entry(act, SecurityAction.LOGIN, subject=self.user_id, object_id=session_id, actor=self.user_id)
        return [put, *lockout.succeeded(act, stored=failures, user_id=self.user_id), logged]

    def answer(self, act: Act, decided: Decided) -> Session:
        session, member, _ = self.reads(act)
        opened = session_of(decided.after(session), membership_of(decided.before.get(member)), act.now)
        if opened is None:
            raise Refused(INVALID)
        return opened


@dataclass(frozen=True, kw_only=True)
class RevokeSession(Deed[None]):
    """One session is over.

    Nothing when it is over already; `Refused` when it is not of this workspace.
    """

    permission = Permission.SESSION_MANAGE
    actor = Actor.NAMED

    session_hash: Sha256
    action: SecurityAction = unsent(SecurityAction.SESSION_REVOKED)

    def reads(self, act: Act) -> list[Key]:
        return [keys.session(self.session_hash)]

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        key = keys.session(self.session_hash)
        item = stored.get(key)
        if item is None or item["workspace_id"] != act.workspace_id:
            raise Refused(f"there is no such session in {act.workspace_id}")
        self.require(act, own=item["user_id"])
        if alive(item, act.now) is None or item["revoked_at"] is not None:
            return []
        names = ("session_id", "user_id", "created_at", "expires_at", "gsi1pk", "gsi1sk")
        kept = {name: item[name] for name in names}
        put = record(act, key, "session", item, **kept, revoked_at=rfc3339(act.happened))
        return [put, entry(act, self.action, subject=item["user_id"], object_id=item["session_id"])]
