"""The members of a workspace and its invitations, as a library.

Every function takes the workspace from its caller, or from the token that it is given.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from nilometer.aws.dynamodb import Store
from nilometer.domain.acts.act import Act, Caller, service
from nilometer.domain.acts.roles import Permission, Role
from nilometer.domain.acts.secret import hash_of
from nilometer.domain.people import invitation as invitations_
from nilometer.domain.people import membership
from nilometer.domain.people.invitation import Invitation, check_presented, checked_email, invitation_of
from nilometer.domain.people.membership import Membership, membership_of
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Item, Key, Table, Write
from nilometer.errors import Refused
from nilometer.flows.people.acting import Issued, Stored, after, new_act, new_secret, perform, reading


def members(store: Store, caller: Caller) -> list[Membership]:
    """Of the caller's workspace, by user id."""
    reading(store, caller, Permission.MEMBER_VIEW)
    items = store.query(Table.RECORDS, keys.workspace(caller.workspace_id).pk, prefix="MEMBER#", consistent=True)
    return [found for found in map(membership_of, items) if found]


def workspaces_of(store: Store, user_id: str) -> list[Membership]:
    """Everything that one user is a member of; for himself and our own services. Eventually consistent."""
    found = map(membership_of, store.query_index(keys.user(user_id), prefix="WORKSPACE#"))
    return [one for one in found if one and one.user_id == user_id]


def add_member(store: Store, caller: Caller, user_id: str, *, role: Role, now: datetime) -> Membership:
    """For services and operators; people are invited. Doing it again changes nothing."""
    key = keys.member(caller.workspace_id, user_id)

    def decide(act: Act, stored: Stored) -> tuple[Sequence[Write], Membership]:
        workspace = _workspace(act, stored)
        writes = membership.add(act, workspace=workspace, stored=stored.get(key), user_id=user_id, role=role)
        return writes, _member(after(writes, key, stored))

    return perform(store, new_act(caller, now), [key], decide)


def change_role(store: Store, caller: Caller, user_id: str, *, role: Role, now: datetime) -> Membership:
    """`Refused` for the last Admin and for roles that the caller does not rule."""
    key = keys.member(caller.workspace_id, user_id)

    def decide(act: Act, stored: Stored) -> tuple[Sequence[Write], Membership]:
        workspace = _workspace(act, stored)
        writes = membership.change_role(act, workspace=workspace, stored=stored.get(key), user_id=user_id, role=role)
        return writes, _member(after(writes, key, stored))

    return perform(store, new_act(caller, now), [key], decide)


def remove_member(store: Store, caller: Caller, user_id: str, *, now: datetime) -> None:
    """Removes a member, or lets the caller himself leave. `Refused` for the last Admin."""
    key = keys.member(caller.workspace_id, user_id)

    def decide(act: Act, stored: Stored) -> tuple[Sequence[Write], None]:
        workspace = _workspace(act, stored)
        return membership.remove(act, workspace=workspace, stored=stored.get(key), user_id=user_id), None

    perform(store, new_act(caller, now), [key], decide)


def invitations(store: Store, caller: Caller, *, now: datetime) -> list[Invitation]:
    """Of the caller's workspace, the oldest first, with what became of them."""
    reading(store, caller, Permission.MEMBER_INVITE)
    found = (invitation_of(item, now) for item in _invitations(store, caller.workspace_id))
    return [one for one in found if one]


def invite(
    store: Store, caller: Caller, email: str, *, role: Role, now: datetime, valid_until: datetime | None = None
) -> Issued[Invitation]:
    """The invitation and its token. `Refused` while one is pending for the same address."""
    checked_email(email)
    act, token = new_act(caller, now), new_secret("invite")
    invitation_id = act.new_id("invitation")
    key = keys.invitation(caller.workspace_id, invitation_id)

    def decide(act: Act, stored: Stored) -> tuple[Sequence[Write], Invitation]:
        writes = invitations_.invite(
            act,
            stored=stored.get(key),
            others=_invitations(store, act.workspace_id),
            invitation_id=invitation_id,
            email=email,
            role=role,
            token_hash=hash_of(token),
            valid_until=valid_until,
        )
        return writes, _invitation(after(writes, key, stored), now)

    return Issued(perform(store, act, [key], decide), token)


def resend_invitation(
    store: Store, caller: Caller, invitation_id: str, *, now: datetime, valid_until: datetime | None = None
) -> Issued[Invitation]:
    """A new token and term for one that is pending or expired; the old token is worth nothing."""
    key, token = keys.invitation(caller.workspace_id, invitation_id), new_secret("invite")

    def decide(act: Act, stored: Stored) -> tuple[Sequence[Write], Invitation]:
        hashed = hash_of(token)
        writes = invitations_.resend(act, stored=stored.get(key), token_hash=hashed, valid_until=valid_until)
        return writes, _invitation(after(writes, key, stored), now)

    return Issued(perform(store, new_act(caller, now), [key], decide), token)


def revoke_invitation(store: Store, caller: Caller, invitation_id: str, *, now: datetime) -> None:
    """Doing it again changes nothing."""
    key = keys.invitation(caller.workspace_id, invitation_id)

    def decide(act: Act, stored: Stored) -> tuple[Sequence[Write], None]:
        return invitations_.revoke(act, stored=stored.get(key)), None

    perform(store, new_act(caller, now), [key], decide)


def accept_invitation(store: Store, token: str, *, user_id: str, email: str, now: datetime) -> Membership:
    """Membership for the user who holds the token and has proved to own `email`; once.

    The same user may repeat it after a lost answer. `Refused` for everybody else.
    """
    workspace_id, key = _found(store, token)
    member = keys.member(workspace_id, user_id)

    def decide(act: Act, stored: Stored) -> tuple[Sequence[Write], Membership]:
        found = check_presented(stored.get(key), token_hash=hash_of(token), email=email)
        workspace = _workspace(act, stored)
        theirs = stored.get(member)
        writes = invitations_.accept(act, stored=found, workspace=workspace, member=theirs, user_id=user_id)
        return writes, _member(after(writes, member, stored))

    return perform(store, new_act(service(workspace_id, user_id), now), [key, member], decide)


def decline_invitation(store: Store, token: str, *, now: datetime) -> None:
    """By whoever holds the token. Doing it again changes nothing."""
    workspace_id, key = _found(store, token)

    def decide(act: Act, stored: Stored) -> tuple[Sequence[Write], None]:
        found = check_presented(stored.get(key), token_hash=hash_of(token), email=None)
        return invitations_.decline(act, stored=found), None

    perform(store, new_act(service(workspace_id, "invited"), now), [key], decide)


def _found(store: Store, token: str) -> tuple[str, Key]:
    """Workspace and key of the invitation that a token is for, as the index knows; the decision reads it again."""
    for item in store.query_index(keys.invitation_token(hash_of(token))):
        return item["workspace_id"], Key(item["pk"], item["sk"])
    raise Refused(invitations_.INVALID)


def _invitations(store: Store, workspace_id: str) -> Iterator[Item]:
    return store.query(Table.RECORDS, keys.workspace(workspace_id).pk, prefix="INVITATION#", consistent=True)


def _workspace(act: Act, stored: Stored) -> Item:
    return stored[keys.workspace(act.workspace_id)]


def _member(item: Item | None) -> Membership:
    found = membership_of(item)
    if found is None:
        raise Refused("the membership has ended meanwhile")
    return found


def _invitation(item: Item | None, now: datetime) -> Invitation:
    found = invitation_of(item, now)
    if found is None:
        raise Refused(invitations_.INVALID)
    return found
