"""A deed of a caller as one transaction: read, decide, commit; again when somebody was faster.

What if the caller loses his role at this moment? His membership is read with the rest and guarded in the
transaction: what he may no longer do is not written. What if the answer is lost? Decisions find their own effect
stored and answer as if it were new.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Generic, TypeVar

from nilometer.aws.dynamodb import Store
from nilometer.domain.acts.act import Act, Caller, checked_id
from nilometer.domain.acts.deed import Actor, Decided, Deed, Issuing, Reach, Stored
from nilometer.domain.acts.roles import Permission
from nilometer.domain.acts.secret import hash_of
from nilometer.domain.people.membership import membership_of
from nilometer.domain.people.workspace import check_open
from nilometer.domain.store import keys
from nilometer.domain.store.ulid import CHANCE
from nilometer.domain.store.writes import Check, Item, Key, Put, Table, Version, Write
from nilometer.errors import NotKnownYet, Refused, Rejected
from nilometer.flows.inbox.races import retrying

BYTES = 32  # of chance

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Issued(Generic[_T]):
    """What was created, and its token: hand it over, and keep it nowhere."""

    of: _T
    token: str = field(repr=False)


def perform(store: Store, caller: Caller, deed: Deed[_T], *, now: datetime, chance: bytes | None = None) -> _T:
    """The deed's answer, once its writes are stored.

    It is decided on the workspace, the caller's membership as stored and what the deed reads. `Refused`: the workspace
    is unknown or deleted, the caller no member, or a rule forbids it; `Unavailable`: ask again. `chance` makes the ids.
    """
    act = Act(caller=caller, now=now, chance=(chance or secrets.token_bytes(CHANCE))[:CHANCE])
    if deed.actor is Actor.PERSON:
        person: Any = deed
        deed = replace(person, user_id=whose(caller, person.user_id or None))

    def attempt() -> _T:
        stored = read(store, act, deed, [*_place(caller), *own(caller)])
        current = act.by(as_stored(caller, stored))
        if caller.workspace_id and deed.reach is not Reach.WORKSPACE:
            check_open(stored.get(keys.workspace(caller.workspace_id)), caller.workspace_id)
        writes = deed.decide(current, stored)
        if writes:
            store.commit([*writes, *_guards(caller, stored, writes)])
        return deed.answer(current, Decided(stored, writes))

    return retrying(attempt)


def issue(store: Store, caller: Caller, deed: Issuing[_T], *, now: datetime, chance: bytes | None = None) -> Issued[_T]:
    """The answer of a deed that creates a secret, with that secret: `nil_invite_...`, so that leaked ones are found.

    `chance` are 32 bytes that nobody else knows; the same ones make the same secret.
    """
    made = secrets.token_bytes(BYTES) if chance is None else hashlib.sha256(b"secret" + chance).digest()
    secret = f"nil_{deed.secret}_{base64.urlsafe_b64encode(made).rstrip(b'=').decode()}"
    filled: Any = deed
    asked = replace(filled, **{deed.hash_field: hash_of(secret)})
    return Issued(perform(store, caller, asked, now=now, chance=chance), secret)


def reported(store: Store, act: Act, deed: Deed[Any]) -> Sequence[Write]:
    """What a deed that an event reports writes. `NotKnownYet` when its workspace is not known."""
    stored = read(store, act, deed, _place(act.caller))
    if deed.reach is Reach.OPEN:
        workspace = stored.get(keys.workspace(act.workspace_id))
        if workspace is None:
            raise NotKnownYet(
                "unknown_workspace", f"workspace {act.workspace_id} is not known yet; its creation may not have arrived"
            )
        check_open(workspace, act.workspace_id)
    return deed.decide(act, stored)


def read(store: Store, act: Act, deed: Deed[Any], more: Iterable[Key]) -> Stored:
    """In rounds: what an item names is known only when it is read."""
    known: dict[Key, Item | None] = {}
    wanted = {*more, *deed.reads(act)}
    while missing := wanted - known.keys():
        found = store.batch_get(Table.RECORDS, missing, consistent=True)
        known |= {key: found.get(key) for key in missing}
        wanted = set(deed.follows(act, known))
    return {key: item for key, item in known.items() if item is not None}


def as_stored(caller: Caller, stored: Stored) -> Caller:
    """With the role of this moment. `Refused` when he is no longer a member."""
    if caller.role is None:
        return caller
    membership = membership_of(stored.get(keys.member(caller.workspace_id, caller.user_id)))
    if membership is None:
        raise Refused(f"{caller.user_id} is no member of {caller.workspace_id}")
    return replace(caller, role=membership.role)


def own(caller: Caller) -> list[Key]:
    """The caller's membership, to be read with what is decided; nothing for a service or an operator."""
    return [] if caller.role is None else [keys.member(caller.workspace_id, caller.user_id)]


def reading(store: Store, caller: Caller, permission: Permission, *, reach: Reach = Reach.OPEN) -> None:
    """`Refused` unless the caller has `permission` at this moment in a workspace that is open; `Reach.WORKSPACE` is
    enough for what can be ended in a deleted one."""
    wanted = [keys.workspace(caller.workspace_id), *own(caller)]
    stored = store.batch_get(Table.RECORDS, wanted, consistent=True)
    if reach is Reach.OPEN or wanted[0] not in stored:
        check_open(stored.get(wanted[0]), caller.workspace_id)
    as_stored(caller, stored).require(permission)


def whose(caller: Caller, user_id: str | None) -> str:
    """`Refused` when a member asks for somebody else's, whatever his role."""
    if caller.role is None:
        if user_id is None:
            raise Rejected("invalid_schema", "a service must give the user_id of the records")
        return checked_id(user_id)
    if user_id not in {None, caller.user_id}:
        raise Refused("these records are for their person only")
    return caller.user_id


def _place(caller: Caller) -> list[Key]:
    return [keys.workspace(caller.workspace_id)] if caller.workspace_id else []


def _guards(caller: Caller, stored: Stored, writes: Sequence[Write]) -> list[Write]:
    """The caller's membership must still be as it was read; a write of it carries that itself."""
    written = {write.key for write in writes if isinstance(write, Put) or write.table is Table.RECORDS}
    return [
        Check(table=Table.RECORDS, key=key, expected=Version(int(stored[key]["version"])))
        for key in own(caller)
        if key not in written
    ]
