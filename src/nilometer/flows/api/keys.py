"""API keys: made, listed, and asked for at every request.

What if the answer is lost when one is created? It is created anew; the first one is in the list, to be revoked. What of
a secret in a log? It is in the answer alone: the record has its hash, and errors never repeat what was presented.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta

from nilometer.aws.dynamodb import Store
from nilometer.domain.access.key import PREFIX, ApiKey, CreateKey, RotateKey, id_in, of_workspace, opened, use
from nilometer.domain.acts.act import Caller
from nilometer.domain.acts.deed import Reach
from nilometer.domain.acts.roles import Permission
from nilometer.domain.acts.secret import hash_of
from nilometer.domain.store import keys
from nilometer.domain.store.ulid import CHANCE, ulid
from nilometer.domain.store.writes import Table
from nilometer.errors import Unavailable
from nilometer.flows.people.acting import BYTES, Issued, perform, reading

OVERLAP = timedelta(hours=24)


def create(
    store: Store,
    caller: Caller,
    *,
    name: str,
    scopes: Iterable[str],
    now: datetime,
    ends_at: datetime | None = None,
) -> Issued[ApiKey]:
    """A key of the caller's workspace, or of a service when the caller is in none. The token is shown this once."""
    key_id = ulid(now, secrets.token_bytes(CHANCE))
    token = _token(key_id)
    deed = CreateKey(key_id=key_id, name=name, scopes=tuple(scopes), key_hash=hash_of(token), ends_at=ends_at)
    return Issued(perform(store, caller, deed, now=now), token)


def rotate(store: Store, caller: Caller, key_id: str, *, now: datetime, overlap: timedelta = OVERLAP) -> Issued[ApiKey]:
    """A new secret for the same key; the old one stays valid for `overlap`, at most seven days."""
    token = _token(key_id)
    return Issued(
        perform(store, caller, RotateKey(key_id=key_id, key_hash=hash_of(token), overlap=overlap), now=now), token
    )


def keys_of(store: Store, caller: Caller) -> list[ApiKey]:
    """Of the caller's workspace, also a deleted one, or the service keys when the caller is in none; the oldest first,
    from the index."""
    if caller.workspace_id:
        reading(store, caller, Permission.KEY_MANAGE, reach=Reach.WORKSPACE)
    return of_workspace(store.query_index(keys.api_keys(caller.workspace_id)))


def authenticate(store: Store, token: str, *, now: datetime) -> ApiKey:
    """The key that this token is of, at this moment: one consistent read. `Refused` when it is not valid.

    When it was last used is written at most once an hour; a lost race means that another request wrote it.
    """
    item = store.get(Table.RECORDS, keys.api_key(id_in(token)), consistent=True)
    key = opened(item, token, now)
    if item is not None and (write := use(item, now)):
        with contextlib.suppress(Unavailable):
            store.commit([write])
    return key


def _token(key_id: str) -> str:
    return f"{PREFIX}{key_id}_{secrets.token_urlsafe(BYTES)}"
