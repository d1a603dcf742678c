"""An invitation: an address may become a member, in a role, until a day, once.

    pending ──▶ accepted          the token's holder accepts; a member from then on
       │ ├────▶ declined          he declines
       │ └────▶ revoked           a member who may invite takes it back
       ▼
    expired ──▶ pending           time passes; only sending it again, with a new token, helps

Expiry is read off the clock, not off DynamoDB's removal, which comes 30 days later.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from nilometer.domain.acts.act import Act, checked_id
from nilometer.domain.acts.records import alive, is_late, record, stamp_after
from nilometer.domain.acts.roles import Permission, Role
from nilometer.domain.acts.secret import checked_hash
from nilometer.domain.acts.security import Action, entry
from nilometer.domain.people import membership
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, parse_rfc3339, rfc3339
from nilometer.domain.store.writes import Item, Put, Write
from nilometer.errors import Refused, Rejected

VALID = timedelta(days=7)
KEPT = timedelta(days=30)  # after its end, so that it can be seen and sent again
EMAIL_LENGTH = 254
INVALID = "this invitation is not valid; ask for another"


class InvitationStatus(StrEnum):
    PENDING = "pending"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    REVOKED = "revoked"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
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
        status=status_of(item, now),
        invited_by=item["invited_by"],
        created_at=item["created_at"],
        valid_until=item["valid_until"],
        user_id=item["user_id"],
    )


def status_of(item: Item, now: datetime) -> InvitationStatus:
    status = InvitationStatus(item["status"])
    ended = status is InvitationStatus.PENDING and parse_rfc3339(item["valid_until"]) <= now
    return InvitationStatus.EXPIRED if ended else status


def checked_email(email: str) -> str:
    """Trimmed. `Rejected("invalid_schema")` when it cannot be one; the text itself is not repeated."""
    email = email.strip()
    local, _, host = email.rpartition("@")
    if not local or not host or len(email) > EMAIL_LENGTH or not email.isprintable() or " " in email:
        raise Rejected("invalid_schema", f"that is no e-mail address of at most {EMAIL_LENGTH} characters")
    return email


def invite(
    act: Act,
    *,
    stored: Item | None,
    others: Iterable[Item],
    invitation_id: str,
    email: str,
    role: Role,
    token_hash: str,
    valid_until: datetime | None = None,
) -> list[Write]:
    """`others` are the workspace's invitations: one that is pending for the same address is sent again instead."""
    act.caller.require(Permission.MEMBER_INVITE)
    membership.check_role_given(act, role)
    address = checked_email(email)
    if stored:
        return []
    for other in others:
        if status_of(other, act.now) is InvitationStatus.PENDING and other["email"].casefold() == address.casefold():
            raise Refused(f"invitation {other['invitation_id']} to this address is pending; send it again or revoke it")
    put = _put(
        act,
        None,
        invitation_id=checked_id(invitation_id),
        email=address,
        role=str(role),
        status=str(InvitationStatus.PENDING),
        invited_by=act.caller.user_id,
        created_at=rfc3339(act.happened),
        user_id=None,
        **_token(act, token_hash, valid_until),
    )
    return [put, entry(act, Action.INVITATION_CREATED, object_id=invitation_id, role=role)]


def check_presented(stored: Item | None, *, token_hash: str, email: str | None) -> Item:
    """The invitation that a token is for. `Refused`, without saying why, for another token or another address."""
    if stored is None or stored["token_hash"] != token_hash:
        raise Refused(INVALID)
    if email is not None and stored["email"].casefold() != email.strip().casefold():
        raise Refused(INVALID)
    return stored


def accept(act: Act, *, stored: Item | None, workspace: Item, member: Item | None, user_id: str) -> list[Write]:
    """He is a member from now on. Nothing when he himself accepted before; `Refused` when another did."""
    current = _known(act, stored)
    if current["status"] == InvitationStatus.ACCEPTED and current["user_id"] == user_id:
        return []
    _check_pending(act, current)
    put = _moved(act, current, InvitationStatus.ACCEPTED, user_id=checked_id(user_id))
    joined = membership.join(act, workspace=workspace, stored=member, user_id=user_id, role=Role(current["role"]))
    return [put, *joined, entry(act, Action.INVITATION_ACCEPTED, subject=user_id, object_id=current["invitation_id"])]


def decline(act: Act, *, stored: Item | None) -> list[Write]:
    """Nothing when it was declined before."""
    return _ended(act, stored, InvitationStatus.DECLINED, Action.INVITATION_DECLINED)


def revoke(act: Act, *, stored: Item | None) -> list[Write]:
    """Nothing when it was revoked before."""
    act.caller.require(Permission.MEMBER_INVITE)
    if stored:
        membership.check_role_given(act, Role(stored["role"]))
    return _ended(act, stored, InvitationStatus.REVOKED, Action.INVITATION_REVOKED)


def resend(act: Act, *, stored: Item | None, token_hash: str, valid_until: datetime | None = None) -> list[Write]:
    """A new token and a new term; the old token is worth nothing from now on."""
    act.caller.require(Permission.MEMBER_INVITE)
    if is_late(stored, act):
        return []
    current = _known(act, stored)
    membership.check_role_given(act, Role(current["role"]))
    if current["status"] != InvitationStatus.PENDING:
        raise Refused(f"invitation {current['invitation_id']} is {current['status']}; create another")
    put = _put(act, current, **{**_kept(current), **_token(act, token_hash, valid_until)})
    return [put, entry(act, Action.INVITATION_RESENT, object_id=current["invitation_id"])]


def _ended(act: Act, stored: Item | None, status: InvitationStatus, action: Action) -> list[Write]:
    current = _known(act, stored)
    if current["status"] == status:
        return []
    _check_pending(act, current)
    return [_moved(act, current, status), entry(act, action, object_id=current["invitation_id"])]


def _known(act: Act, stored: Item | None) -> Item:
    current = alive(stored, act.now)
    if current is None:
        raise Refused(INVALID)
    return current


def _check_pending(act: Act, item: Item) -> None:
    status = status_of(item, act.happened)
    if status is not InvitationStatus.PENDING:
        raise Refused(f"invitation {item['invitation_id']} is {status}; ask for another")


def _moved(act: Act, item: Item, status: InvitationStatus, **changes: Any) -> Put:
    return _put(act, item, **{**_kept(item), "status": str(status), **changes})


def _token(act: Act, token_hash: str, valid_until: datetime | None) -> dict[str, Any]:
    until = valid_until or act.happened + VALID
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
