"""A deed of a caller as one transaction: read, decide, commit; again when somebody was faster.

What if the caller loses his role at this moment? His membership is read with the rest and guarded in the
transaction: what he may no longer do is not written. What if the answer is lost? Decisions find their own effect
stored and answer as if it were new.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Generic, TypeVar

from nilometer.aws.dynamodb import Store
from nilometer.domain.acts.act import Act, Caller, checked_id
from nilometer.domain.acts.roles import Permission
from nilometer.domain.people.membership import membership_of
from nilometer.domain.people.workspace import check_open
from nilometer.domain.store import keys
from nilometer.domain.store.ulid import CHANCE
from nilometer.domain.store.writes import Check, Item, Key, Put, Table, Version, Write
from nilometer.errors import Refused, Rejected
from nilometer.flows.inbox.races import retrying

BYTES = 32  # of chance

Stored = Mapping[Key, Item]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Issued(Generic[_T]):
    """What was created, and its token: hand it over, and keep it nowhere."""

    of: _T
    token: str = field(repr=False)


def perform(
    store: Store, act: Act, reads: Iterable[Key], decide: Callable[[Act, Stored], tuple[Sequence[Write], _T]]
) -> _T:
    """What `decide` answers with, once its writes are stored.

    `stored` holds what exists of `reads`, the workspace and the caller's membership; the act that `decide` gets has
    the caller's role as stored. `Refused`: the workspace is unknown or deleted, the caller no member, or a rule
    forbids it.
    """
    wanted = [*reads, keys.workspace(act.workspace_id), *own(act.caller)]

    def attempt() -> _T:
        stored = store.batch_get(Table.RECORDS, wanted, consistent=True)
        check_open(stored.get(keys.workspace(act.workspace_id)), act.workspace_id)
        writes, answer = decide(act.by(as_stored(act.caller, stored)), stored)
        if writes:
            store.commit([*writes, *guards(act.caller, stored, writes)])
        return answer

    return retrying(attempt)


def new_act(caller: Caller, now: datetime) -> Act:
    return Act(caller=caller, now=now, chance=secrets.token_bytes(CHANCE))


def as_stored(caller: Caller, stored: Stored) -> Caller:
    """With the role of this moment. `Refused` when he is no longer a member."""
    if caller.role is None:
        return caller
    membership = membership_of(stored.get(keys.member(caller.workspace_id, caller.user_id)))
    if membership is None:
        raise Refused(f"{caller.user_id} is no member of {caller.workspace_id}")
    return replace(caller, role=membership.role)


def own(caller: Caller) -> list[Key]:
    return [] if caller.role is None else [keys.member(caller.workspace_id, caller.user_id)]


def guards(caller: Caller, stored: Stored, writes: Sequence[Write]) -> list[Write]:
    """The caller's membership must still be as it was read; a write of it carries that itself."""
    written = {write.key for write in writes if isinstance(write, Put) or write.table is Table.RECORDS}
    return [
        Check(table=Table.RECORDS, key=key, expected=Version(int(stored[key]["version"])))
        for key in own(caller)
        if key not in written
    ]


def reading(store: Store, caller: Caller, permission: Permission) -> None:
    """`Refused` unless the caller has `permission` at this moment in a workspace that is open."""
    wanted = [keys.workspace(caller.workspace_id), *own(caller)]
    stored = store.batch_get(Table.RECORDS, wanted, consistent=True)
    check_open(stored.get(wanted[0]), caller.workspace_id)
    as_stored(caller, stored).require(permission)


def after(writes: Sequence[Write], key: Key, stored: Stored) -> Item | None:
    """The item under `key` once `writes` are stored."""
    puts = [write.item for write in writes if isinstance(write, Put) and write.key == key]
    return puts[0] if puts else stored.get(key)


def new_secret(kind: str) -> str:
    """`nil_invite_...`: a prefix by which leaked ones are found, then 256 random bits."""
    return f"nil_{kind}_{secrets.token_urlsafe(BYTES)}"


def whose(caller: Caller, user_id: str | None) -> str:
    """`Refused` when a member asks for somebody else's, whatever his role."""
    if caller.role is None:
        if user_id is None:
            raise Rejected("invalid_schema", "a service says whose records it means: give user_id")
        return checked_id(user_id)
    if user_id not in {None, caller.user_id}:
        raise Refused("these records are for their person only")
    return caller.user_id
