"""The members of a workspace and its invitations: who they are, and what the holder of an invitation's token does.

Every function takes the workspace from its caller, or from the token that it is given.
"""

from __future__ import annotations

from datetime import datetime
from itertools import islice

from nilometer.aws.dynamodb import Store
from nilometer.domain.acts.act import Caller, service
from nilometer.domain.acts.roles import Permission
from nilometer.domain.acts.secret import hash_of
from nilometer.domain.people.invitation import (
    INVALID,
    AcceptInvitation,
    DeclineInvitation,
    Invitation,
    Presented,
    invitation_of,
)
from nilometer.domain.people.membership import Membership, membership_of
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table
from nilometer.errors import Refused
from nilometer.flows.people.acting import perform, reading


def members(store: Store, caller: Caller, *, after: str = "", limit: int | None = None) -> list[Membership]:
    """Of the caller's workspace, by user id; the first `limit` of those that follow the user `after`."""
    reading(store, caller, Permission.MEMBER_VIEW)
    first, start = keys.member(caller.workspace_id, ""), keys.member(caller.workspace_id, after).sk if after else ""
    items = store.query(Table.RECORDS, first.pk, prefix=first.sk, after=start, consistent=True, page=limit)
    return list(islice((found for found in map(membership_of, items) if found), limit))


def workspaces_of(store: Store, user_id: str) -> list[Membership]:
    """Everything that one user is a member of; for himself and our own services. Eventually consistent."""
    found = map(membership_of, store.query_index(keys.user(user_id), prefix="WORKSPACE#"))
    return [one for one in found if one and one.user_id == user_id]


def invitations(
    store: Store, caller: Caller, *, now: datetime, after: str = "", limit: int | None = None
) -> list[Invitation]:
    """Of the caller's workspace, the oldest first, with what became of them; the first `limit` of those that follow the
    invitation `after`."""
    reading(store, caller, Permission.MEMBER_INVITE)
    first = keys.invitation(caller.workspace_id, "")
    start = keys.invitation(caller.workspace_id, after).sk if after else ""
    items = store.query(Table.RECORDS, first.pk, prefix=first.sk, after=start, consistent=True, page=limit)
    found = (invitation_of(item, now) for item in items)
    return list(islice((one for one in found if one), limit))


def accept_invitation(store: Store, token: str, *, user_id: str, email: str, now: datetime) -> Membership:
    """Membership for the user who holds the token and has proved to own `email`; once.

    The same user may repeat it after a lost answer. `Refused` for everybody else.
    """
    workspace_id, invitation_id = _found(store, token)
    presented = Presented(hash_of(token), email)
    deed = AcceptInvitation(invitation_id=invitation_id, user_id=user_id, presented=presented)
    return perform(store, service(workspace_id, user_id), deed, now=now)


def decline_invitation(store: Store, token: str, *, now: datetime) -> None:
    """By whoever holds the token. Doing it again changes nothing."""
    workspace_id, invitation_id = _found(store, token)
    deed = DeclineInvitation(invitation_id=invitation_id, presented=Presented(hash_of(token)))
    perform(store, service(workspace_id, "invited"), deed, now=now)


def _found(store: Store, token: str) -> tuple[str, str]:
    """Workspace and id of the invitation that a token is for, as in the index; the decision reads the record itself."""
    for item in store.query_index(keys.invitation_token(hash_of(token))):
        return item["workspace_id"], item["invitation_id"]
    raise Refused(INVALID)
