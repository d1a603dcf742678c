"""An invitation: an address may become a member, in a role, until a day, once.

    pending ──▶ accepted          the token's holder accepts; a member from then on
       │ ├────▶ declined          he declines
       │ └────▶ revoked           a member who may invite takes it back
       ▼
    expired ──▶ pending           time passes; only sending it again, with a new token, helps

Expiry is read off the clock, not off DynamoDB's removal, which comes 30 days later.
"""

from __future__ import annotations

import hashlib
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

from nilometer.domain.acts.act import Act, checked_id
from nilometer.domain.acts.deed import Actor, Decided, Deed, Id, Issuing, Sha256, Stored, made, unsent
from nilometer.domain.acts.records import alive, is_late, record, stamp_after
from nilometer.domain.acts.roles import MATRIX, Permission, Role, may_rule
from nilometer.domain.acts.secret import checked_hash
from nilometer.domain.acts.security import SecurityAction, entry
from nilometer.domain.people import membership
from nilometer.domain.people.membership import Membership
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, parse_rfc3339, rfc3339
from nilometer.domain.store.writes import Check, Item, Key, Put, Table, Write, version_of
from nilometer.errors import Refused, Rejected

VALID = timedelta(days=7)
LONGEST = timedelta(days=30)  # less than the mark of an inviter who has left is kept
KEPT = timedelta(days=30)  # after its end, so that it can be seen and sent again
EMAIL_LENGTH = 254  # bytes
INVALID = "this invitation is not valid; ask for another"
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)

T = TypeVar("T")


class InvitationStatus(StrEnum):
    """`EXPIRED` is not stored: it is a pending invitation whose time is over."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    REVOKED = "revoked"
    EXPIRED = "expired"


INVITATION_STEPS: Mapping[str, frozenset[str]] = {
    "": frozenset({InvitationStatus.PENDING}),
    InvitationStatus.PENDING: frozenset(InvitationStatus) - {InvitationStatus.EXPIRED},
}
"""What each stored status becomes, "" being no invitation. Pending stays pending when it is sent again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """As others may see it, without its token. Times are RFC 3339; the address is kept out of `repr`."""

    id: str
    workspace_id: str
    email: str = field(repr=False)
    role: Role
    status: InvitationStatus
    invited_by: str
    created_at: str
    valid_until: str
    user_id: str | None = None
    """Who accepted."""


def invitation_of(item: Item | None, now: datetime) -> Invitation | None:
    """As it is at `now`; `None` when there is none any more."""
    item = alive(item, now)
    if item is None:
        return None
    return Invitation(
        id=item["invitation_id"],
        workspace_id=item["workspace_id"],
        email=item["email"],
        role=Role(item["role"]),
        status=_status_of(item, now),
        invited_by=item["invited_by"],
        created_at=item["created_at"],
        valid_until=item["valid_until"],
        user_id=item["user_id"],
    )


def _status_of(item: Item, now: datetime) -> InvitationStatus:
    status = InvitationStatus(item["status"])
    ended = status is InvitationStatus.PENDING and parse_rfc3339(item["valid_until"]) <= now
    return InvitationStatus.EXPIRED if ended else status


def checked_email(email: str) -> str:
    """Trimmed. `Rejected("invalid_schema")` when it cannot be one; the text itself is not repeated."""
    email = email.strip()
    local, _, host = email.rpartition("@")
    if (
        not local
        or not host
        or len(email.encode(errors="replace")) > EMAIL_LENGTH
        or not email.isprintable()
        or " " in email
    ):
        raise Rejected("invalid_schema", f"that is no e-mail address of at most {EMAIL_LENGTH} bytes")
    return email


@dataclass(frozen=True, slots=True)
class Presented:
    """What the invited person brings: his token's hash and, when he accepts, the address that he has proved to own."""

    token_hash: str
    email: str | None = field(default=None, repr=False)

    def check(self, stored: Item | None) -> None:
        """`Refused`, without saying why, for another token or another address."""
        if stored is None or stored["token_hash"] != self.token_hash:
            raise Refused(INVALID)
        if self.email is not None and not same_address(stored["email"], self.email):
            raise Refused(INVALID)


@dataclass(frozen=True, kw_only=True)
class InvitationDeed(Deed[T]):
    """A deed that concerns one invitation."""

    invitation_id: Id

    def key(self, act: Act) -> Key:
        """Of the invitation."""
        return keys.invitation(act.workspace_id, self.invitation_id)

    def reads(self, act: Act) -> list[Key]:
        return [self.key(act)]

    def ended(self, act: Act, stored: Stored, status: InvitationStatus, action: SecurityAction) -> list[Write]:
        """Over, without a member; nothing when it had ended so."""
        item = _known(act, stored.get(self.key(act)))
        if item["status"] == status:
            return []
        _check_pending(act, item)
        return [_moved(act, item, status), entry(act, action, object_id=self.invitation_id)]

    def invitation(self, act: Act, decided: Decided) -> Invitation:
        """The invitation as it is after the writes. `Refused` when it is none any more."""
        found = invitation_of(decided.after(self.key(act)), act.now)
        if found is None:
            raise Refused(INVALID)
        return found


@dataclass(frozen=True, kw_only=True)
class Invite(InvitationDeed[Invitation], Issuing[Invitation]):
    """Somebody was invited, by a token that the service made.

    `Refused` while another invitation is pending for the address: send that one again.
    """

    permission = Permission.MEMBER_INVITE
    actor = Actor.NAMED
    secret = "invite"  # noqa: S105  # a prefix of secrets

    invitation_id: Id = made()
    email: str = field(repr=False)
    role: Role
    token_hash: Sha256 = made()
    valid_until: datetime | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "email", checked_email(self.email))

    def key(self, act: Act) -> Key:
        """Of the invitation."""
        return keys.invitation(act.workspace_id, self.invitation_id or act.new_id("invitation"))

    def reads(self, act: Act) -> list[Key]:
        return [self.key(act), slot(act, self.email)]

    def follows(self, act: Act, known: Mapping[Key, Item | None]) -> list[Key]:
        return pending_keys(act, known.get(slot(act, self.email)))

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        self.require(act)
        membership.check_role_given(act, self.role)
        key = self.key(act)
        if known := stored.get(key):
            if act.is_event or known["token_hash"] == self.token_hash:
                return []  # the answer was lost
            raise Refused(f"there is an invitation {self.invitation_id} already; send it again, or create another")
        invitation_id = checked_id(self.invitation_id or act.new_id("invitation"))
        token = _token(act, self.token_hash, self.valid_until)
        put = _put(
            act,
            None,
            invitation_id=invitation_id,
            email=self.email,
            role=str(self.role),
            status=str(InvitationStatus.PENDING),
            invited_by=act.caller.user_id,
            created_at=rfc3339(act.happened),
            user_id=None,
            **token,
        )
        held = _held(act, stored, invitation_id, self.email, token["valid_until"])
        return [put, held, entry(act, SecurityAction.INVITATION_CREATED, object_id=invitation_id, role=self.role)]

    def answer(self, act: Act, decided: Decided) -> Invitation:
        return self.invitation(act, decided)


@dataclass(frozen=True, kw_only=True)
class ResendInvitation(InvitationDeed[Invitation], Issuing[Invitation]):
    """The invitation has a new token and a new term.

    The old token is worth nothing from now on, and who sends it again answers for it.
    """

    permission = Permission.MEMBER_INVITE
    actor = Actor.NAMED
    secret = "invite"  # noqa: S105  # a prefix of secrets

    token_hash: Sha256 = made()
    valid_until: datetime | None = None

    def follows(self, act: Act, known: Mapping[Key, Item | None]) -> list[Key]:
        item = known.get(self.key(act))
        held = slot(act, item["email"]) if item else None
        return [self.key(act), *([held, *pending_keys(act, known.get(held))] if held else [])]

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        self.require(act)
        before = stored.get(self.key(act))
        if is_late(before, act):
            return []
        item = _known(act, before)
        membership.check_role_given(act, Role(item["role"]))
        if item["status"] != InvitationStatus.PENDING:
            raise Refused(f"invitation {self.invitation_id} is {item['status']}; create another")
        token = _token(act, self.token_hash, self.valid_until)
        put = _put(act, item, **{**_kept(item), **token, "invited_by": act.caller.user_id})
        held = _held(act, stored, self.invitation_id, item["email"], token["valid_until"])
        return [put, held, entry(act, SecurityAction.INVITATION_RESENT, object_id=self.invitation_id)]

    def answer(self, act: Act, decided: Decided) -> Invitation:
        return self.invitation(act, decided)


@dataclass(frozen=True, kw_only=True)
class AcceptInvitation(InvitationDeed[Membership]):
    """The invited user is a member from now on.

    Nothing when he himself accepted before. `Refused` when another did, and when who invited may no longer give the
    role.
    """

    user_id: Id
    presented: Presented | None = unsent(None)

    def reads(self, act: Act) -> list[Key]:
        return [self.key(act), keys.member(act.workspace_id, self.user_id)]

    def follows(self, act: Act, known: Mapping[Key, Item | None]) -> list[Key]:
        item = known.get(self.key(act))
        return [keys.member(act.workspace_id, item["invited_by"])] if item else []

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        if self.presented:
            self.presented.check(stored.get(self.key(act)))
        item = _known(act, stored.get(self.key(act)))
        if item["status"] == InvitationStatus.ACCEPTED and item["user_id"] == self.user_id:
            return []
        _check_pending(act, item)
        role = Role(item["role"])
        put = _moved(act, item, InvitationStatus.ACCEPTED, user_id=checked_id(self.user_id))
        joined = membership.join(act, stored, user_id=self.user_id, role=role)
        logged = entry(act, SecurityAction.INVITATION_ACCEPTED, subject=self.user_id, object_id=self.invitation_id)
        return [put, *joined, *_answered_for(act, stored, item, joined), logged]

    def answer(self, act: Act, decided: Decided) -> Membership:
        return membership.current(act, decided.after(keys.member(act.workspace_id, self.user_id)), self.user_id)


@dataclass(frozen=True, kw_only=True)
class DeclineInvitation(InvitationDeed[None]):
    """The invited person does not want to."""

    presented: Presented | None = unsent(None)

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        if self.presented:
            self.presented.check(stored.get(self.key(act)))
        return self.ended(act, stored, InvitationStatus.DECLINED, SecurityAction.INVITATION_DECLINED)


@dataclass(frozen=True, kw_only=True)
class RevokeInvitation(InvitationDeed[None]):
    """The invitation was taken back."""

    permission = Permission.MEMBER_INVITE
    actor = Actor.NAMED

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        self.require(act)
        if item := stored.get(self.key(act)):
            membership.check_role_given(act, Role(item["role"]))
        return self.ended(act, stored, InvitationStatus.REVOKED, SecurityAction.INVITATION_REVOKED)


def same_address(one: str, other: str) -> bool:
    """ASCII letters are compared without regard to case, all else as it is written.

    Folding more would join two persons: `maße` and `masse` are two, and so are the Kelvin sign and a `k`.
    """
    return _comparable(one) == _comparable(other)


def slot(act: Act, email: str) -> Key:
    """Where the workspace remembers who is invited under addresses like this one: 256 places, so that a place tells
    nothing of an address."""
    return keys.invited(act.workspace_id, hashlib.sha256(_comparable(email).encode()).hexdigest()[:2])


def pending_keys(act: Act, held: Item | None) -> list[Key]:
    """The invitations that a slot remembers, and the slot's own key again."""
    return [keys.invitation(act.workspace_id, one) for one in (held or {}).get("pending", {})]


def _comparable(email: str) -> str:
    return email.strip().translate(_LOWER)


def _held(act: Act, stored: Stored, invitation_id: str, email: str, until: str) -> Put:
    """The slot with this invitation, written as it was read: of many at once one is first, the others read again.

    `Refused` while another one is pending for the same address, unless an event reports that it was sent all the same.
    """
    key = slot(act, email)
    pending = {one: end for one, end in (stored.get(key) or {}).get("pending", {}).items() if end > rfc3339(act.now)}
    for one in () if act.is_event else pending.keys() - {invitation_id}:
        other = stored.get(keys.invitation(act.workspace_id, one))
        if other and _status_of(other, act.now) is InvitationStatus.PENDING and same_address(other["email"], email):
            raise Refused(f"invitation {one} to this address is pending; send it again or revoke it")
    pending[invitation_id] = max(until, pending.get(invitation_id, ""))
    last = parse_rfc3339(max(pending.values()))
    return record(act, key, "invited", stored.get(key), pending=pending, expires_at=epoch(last))


def _answered_for(act: Act, stored: Stored, item: Item, joined: Sequence[Write]) -> list[Write]:
    """The check that who invited keeps his rights in the same transaction; nothing when a service invited.

    `Refused` when he has left or may no longer give the role: a pending invitation ends with its inviter's rights.
    """
    key = keys.member(act.workspace_id, item["invited_by"])
    inviter = stored.get(key)
    if inviter is None:
        return []
    member = membership.membership_of(inviter)
    role = member.role if member else None
    if role is None or Permission.MEMBER_INVITE not in MATRIX[role] or not may_rule(role, Role(item["role"])):
        raise Refused(INVALID)
    written = any(isinstance(write, Put) and write.key == key for write in joined)
    return [] if written else [Check(table=Table.RECORDS, key=key, expected=version_of(inviter))]


def _known(act: Act, stored: Item | None) -> Item:
    current = alive(stored, act.now)
    if current is None:
        raise Refused(INVALID)
    return current


def _check_pending(act: Act, item: Item) -> None:
    status = _status_of(item, act.happened)
    if status is not InvitationStatus.PENDING:
        raise Refused(f"invitation {item['invitation_id']} is {status}; ask for another")


def _moved(act: Act, item: Item, status: InvitationStatus, **changes: Any) -> Put:
    return _put(act, item, **{**_kept(item), "status": str(status), **changes})


def _token(act: Act, token_hash: str, valid_until: datetime | None) -> dict[str, Any]:
    until = valid_until or act.happened + VALID
    if until > act.happened + LONGEST:
        raise Rejected("invalid_schema", f"an invitation is valid for at most {LONGEST.days} days")
    return {
        "token_hash": checked_hash(token_hash),
        "valid_until": rfc3339(until),
        "expires_at": epoch(until + KEPT),
        "gsi1pk": keys.invitation_token(token_hash),
        "gsi1sk": "INVITATION",
    }


def _put(act: Act, stored: Item | None, **attributes: Any) -> Put:
    key = keys.invitation(act.workspace_id, attributes["invitation_id"])
    return record(act, key, "invitation", stored, **attributes, stamp=stamp_after(stored, act))


_COMMON = {"pk", "sk", "kind", "version", "workspace_id", "updated_at", "cause", "actor", "stamp"}


def _kept(item: Item) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name not in _COMMON}
