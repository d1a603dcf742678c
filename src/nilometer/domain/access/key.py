"""An API key: `nil_key_ID_SECRET`. The record is found by its id and holds the SHA-256 of each secret that is valid.

    created ──▶ rotated (the old secret stays valid for the overlap) ──▶ revoked, or its end has come

The id is for lists, logs and commands; it opens nothing. A revoked key stays as a record, so that the security log
and the audit can name it.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from nilometer.domain.access.scopes import checked_scopes
from nilometer.domain.acts.act import Act
from nilometer.domain.acts.deed import Decided, Deed, Reach, Stored
from nilometer.domain.acts.records import record
from nilometer.domain.acts.roles import Permission
from nilometer.domain.acts.secret import checked_hash, hash_of
from nilometer.domain.acts.security import SecurityAction, entry
from nilometer.domain.acts.text import check_text
from nilometer.domain.store import keys
from nilometer.domain.store.times import parse_rfc3339, rfc3339
from nilometer.domain.store.writes import Item, Key, Table, Update, Version, Write
from nilometer.errors import Refused, Rejected

PREFIX = "nil_key_"
KIND = "api_key"
INVALID = "this API key is not valid; create one with `nilometer key create`"
OVERLAP = timedelta(days=7)  # the longest that an old secret stays valid
COARSE = timedelta(hours=1)  # between two writes of when it was last used

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """`workspace_id` is empty for a service key. Times are RFC 3339; `last_used_at` is right to the hour.

    `rotating_until` is when the secret before the last rotation ends.
    """

    id: str
    workspace_id: str
    name: str
    scopes: tuple[str, ...]
    created_at: str
    ends_at: str | None
    revoked_at: str | None
    last_used_at: str | None
    rotating_until: str | None

    def is_valid(self, now: datetime) -> bool:
        """Neither revoked nor past its end."""
        return self.revoked_at is None and (self.ends_at is None or rfc3339(now) < self.ends_at)


def key_of(item: Item) -> ApiKey:
    """From the item in the records table."""
    return ApiKey(
        id=item["key_id"],
        workspace_id=item["workspace_id"],
        name=item["name"],
        scopes=tuple(item["scopes"]),
        created_at=item["created_at"],
        ends_at=item["ends_at"],
        revoked_at=item["revoked_at"],
        last_used_at=item["last_used_at"],
        rotating_until=next((one["ends_at"] for one in item["secrets"] if one["ends_at"]), None),
    )


def id_in(token: str) -> str:
    """The id in `nil_key_ID_SECRET`; `Refused` when the text is no key."""
    key_id, _, secret = token.removeprefix(PREFIX).partition("_")
    if not token.startswith(PREFIX) or not key_id.isalnum() or not key_id.isascii() or not secret or len(token) > 200:
        raise Refused(INVALID)
    return key_id


def opened(item: Item | None, token: str, now: datetime) -> ApiKey:
    """The key that the token is of. `Refused`, without saying why, when it is unknown, wrong, revoked or over."""
    if item is None or not key_of(item).is_valid(now):
        raise Refused(INVALID)
    given, at = hash_of(token), rfc3339(now)
    valid = (one["hash"] for one in item["secrets"] if one["ends_at"] is None or at < one["ends_at"])
    if not any(hmac.compare_digest(given, one) for one in valid):
        raise Refused(INVALID)
    return key_of(item)


def use(item: Item, now: datetime) -> Update | None:
    """Notes that it was used; nothing when that is known for this hour."""
    known = item["last_used_at"]
    if known is not None and now - parse_rfc3339(known) < COARSE:
        return None
    return Update(
        table=Table.RECORDS,
        key=keys.api_key(item["key_id"]),
        set={"last_used_at": rfc3339(now), "updated_at": rfc3339(now)},
        add={"version": 1},
        expected=Version(int(item["version"])),
    )


@dataclass(frozen=True, kw_only=True)
class KeyDeed(Deed[T]):
    """A deed that concerns one key of the caller's workspace, or one service key of a caller in none."""

    permission = Permission.KEY_MANAGE
    key_id: str

    def reads(self, act: Act) -> list[Key]:
        return [keys.api_key(self.key_id)]

    def known(self, act: Act, stored: Stored) -> Item:
        """The key's record; `Refused` when it is not of this workspace."""
        item = stored.get(keys.api_key(self.key_id))
        if item is None or item["workspace_id"] != act.workspace_id:
            raise Refused(f"there is no key {self.key_id} here; see `nilometer key list`")
        return item


@dataclass(frozen=True, kw_only=True)
class CreateKey(KeyDeed[ApiKey]):
    """An API key is valid from now on."""

    name: str
    scopes: tuple[str, ...]
    key_hash: str
    ends_at: datetime | None = None

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        self.require(act)
        check_text("the name of a key", self.name, 100)
        if self.ends_at is not None and self.ends_at <= act.now:
            raise Rejected("invalid_schema", "the end of a key must be in the future")
        item = stored.get(keys.api_key(self.key_id))
        if item is not None:
            if [one["hash"] for one in item["secrets"]] == [self.key_hash]:
                return []  # the answer was lost
            raise Refused(f"there is a key {self.key_id} already")
        scopes = checked_scopes(self.scopes, of_workspace=bool(act.workspace_id))
        attributes = {
            "key_id": self.key_id,
            "name": self.name,
            "scopes": list(scopes),
            "secrets": [{"hash": checked_hash(self.key_hash), "ends_at": None}],
            "created_at": rfc3339(act.happened),
            "ends_at": rfc3339(self.ends_at) if self.ends_at else None,
            "revoked_at": None,
            "last_used_at": None,
        }
        return _written(act, None, attributes, SecurityAction.KEY_CREATED, None)

    def answer(self, act: Act, decided: Decided) -> ApiKey:
        return _after(self.key_id, decided)


@dataclass(frozen=True, kw_only=True)
class RotateKey(KeyDeed[ApiKey]):
    """A key has a new secret; the one before stays valid for `overlap`, any older one is over.

    `Refused` for a key that is revoked or over.
    """

    key_hash: str
    overlap: timedelta

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        self.require(act)
        item = self.known(act, stored)
        if not timedelta(0) <= self.overlap <= OVERLAP:
            raise Rejected("invalid_schema", f"the old secret of a key stays valid for 0 to {OVERLAP.days} days")
        if not key_of(item).is_valid(act.now):
            raise Refused(f"key {self.key_id} is revoked or over; create another")
        current = next(one["hash"] for one in item["secrets"] if one["ends_at"] is None)
        if current == self.key_hash:
            return []
        secrets = [{"hash": checked_hash(self.key_hash), "ends_at": None}]
        if self.overlap:
            secrets.append({"hash": current, "ends_at": rfc3339(act.now + self.overlap)})
        return _written(act, item, _kept(item) | {"secrets": secrets}, SecurityAction.KEY_CREATED, "rotated")

    def answer(self, act: Act, decided: Decided) -> ApiKey:
        return _after(self.key_id, decided)


@dataclass(frozen=True, kw_only=True)
class RevokeKey(KeyDeed[ApiKey]):
    """A key is over from the next request on, also one of a deleted workspace. Nothing when it is already."""

    reach = Reach.WORKSPACE

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        self.require(act)
        item = self.known(act, stored)
        if item["revoked_at"] is not None:
            return []
        attributes = _kept(item) | {"revoked_at": rfc3339(act.now)}
        return _written(act, item, attributes, SecurityAction.KEY_REVOKED, None)

    def answer(self, act: Act, decided: Decided) -> ApiKey:
        return _after(self.key_id, decided)


def of_workspace(items: Iterable[Item]) -> list[ApiKey]:
    """The oldest first: ids are ULIDs."""
    return [key_of(item) for item in items]


def _after(key_id: str, decided: Decided) -> ApiKey:
    item = decided.after(keys.api_key(key_id))
    assert item is not None  # noqa: S101  # it was just written, or found
    return key_of(item)


def _kept(item: Item) -> dict[str, Any]:
    names = ("key_id", "name", "scopes", "secrets", "created_at", "ends_at", "revoked_at", "last_used_at")
    return {name: item[name] for name in names}


def _written(
    act: Act, item: Item | None, attributes: Mapping[str, Any], action: SecurityAction, reason: str | None
) -> list[Write]:
    """The record, and an entry of the workspace's security log; of a service key the audit alone knows."""
    key_id = attributes["key_id"]
    index = {"gsi1pk": keys.api_keys(act.workspace_id), "gsi1sk": key_id}
    put = record(act, keys.api_key(key_id), KIND, item, **attributes, **index)
    return [put, *([entry(act, action, object_id=key_id, reason=reason)] if act.workspace_id else [])]
