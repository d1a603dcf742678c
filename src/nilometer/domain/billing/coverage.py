"""How far the comparison with Stripe has come: a pass over each type of object, which may take more than one run.

A pass lists a type page by page, newest first, and goes on after the page that was last compared. Of a type that Stripe
lists completely it then asks for what is here and was on no page. So every object is compared sometime, however many
there are, and whoever asks sees when each type was compared last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, parse_rfc3339, rfc3339
from nilometer.domain.store.writes import Item, Key, new_item
from nilometer.domain.stripe.event import Scope

REST = timedelta(hours=20)
"""After the begin of a whole pass: the next one begins in the next nightly run."""
OVERDUE = timedelta(hours=48)
KEPT = timedelta(days=14)
_DIGEST_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class TypePass:
    """The pass over one type of object, and the last whole one. Times are RFC 3339; None: not yet.

    `after` is the object to go on after; `listed` says that all pages were compared, and what is missing from them not.
    """

    object_type: str
    first_started_at: str | None = None
    started_at: str | None = None
    after: str | None = None
    listed: bool = False
    pages: int = 0
    compared: int = 0
    drift: int = 0
    covered_at: str | None = None
    """The begin of the last whole pass: every object has been compared since."""
    refused: bool = False
    """The key may not read this type."""
    version: int = 0

    def is_due(self, now: datetime) -> bool:
        """Whether a pass runs, or the next one should begin."""
        return self.started_at is not None or self.covered_at is None or now - parse_rfc3339(self.covered_at) >= REST

    def is_overdue(self, now: datetime) -> bool:
        """Whether some object may not have been compared for 48 hours; never of what the key may not read."""
        since = self.covered_at or self.first_started_at
        return not self.refused and since is not None and now - parse_rfc3339(since) > OVERDUE

    def begun(self, now: datetime) -> TypePass:
        """From the newest object on."""
        started = rfc3339(now)
        first = self.first_started_at or started
        return TypePass(
            object_type=self.object_type,
            first_started_at=first,
            started_at=started,
            covered_at=self.covered_at,
            version=self.version,
        )

    def after_page(self, last: str | None, *, compared: int, drift: int) -> TypePass:
        """One page further."""
        return replace(
            self,
            after=last or self.after,
            pages=self.pages + 1,
            compared=self.compared + compared,
            drift=self.drift + drift,
        )

    def done(self, *, refused: bool = False) -> TypePass:
        """The pass is whole, or the key may not read what it is about."""
        return replace(self, covered_at=self.started_at, started_at=None, after=None, listed=False, refused=refused)

    def item(self, scope: Scope, *, updated_at: str) -> dict[str, Any]:
        """Its next version."""
        names = ("object_type", "first_started_at", "started_at", "after", "listed", "pages", "compared", "drift")
        known = {name: getattr(self, name) for name in (*names, "covered_at", "refused")}
        kept = {name: value for name, value in known.items() if value is not None}
        key = keys.reconcile_pass(scope.account, scope.livemode, self.object_type)
        return new_item(key, "reconcile_pass", self.version + 1, updated_at=updated_at, **kept)


def pass_of(item: Item) -> TypePass:
    """The inverse of `TypePass.item`."""
    names = TypePass.__dataclass_fields__
    return TypePass(**{name: _whole(value) for name, value in item.items() if name in names})


def seen_item(scope: Scope, one: TypePass, ids: Iterable[str], now: datetime) -> dict[str, Any]:
    """What one page of a pass had: digests of eight bytes, kept until the pass is whole."""
    key = seen_key(scope, one)
    found = b"".join(map(_digest, ids))
    return new_item(key, "reconcile_seen", ids=found, expires_at=epoch(now + KEPT))


def seen_key(scope: Scope, one: TypePass) -> Key:
    """Of the page that was compared last."""
    return keys.reconcile_seen(scope.account, scope.livemode, one.object_type, str(one.started_at), one.pages)


def seen_digests(items: Iterable[Item]) -> set[bytes]:
    """Of all pages."""
    return {digest for item in items for digest in _parts(bytes(item["ids"]))}


def is_seen(object_id: str, digests: set[bytes]) -> bool:
    """Whether the object was on a page; one of 10^19 that was not is taken for one that was."""
    return _digest(object_id) in digests


def _parts(content: bytes) -> Iterator[bytes]:
    yield from (content[start : start + _DIGEST_BYTES] for start in range(0, len(content), _DIGEST_BYTES))


def _digest(object_id: str) -> bytes:
    return hashlib.sha256(object_id.encode()).digest()[:_DIGEST_BYTES]


def _whole(value: Any) -> Any:
    """DynamoDB gives numbers as decimals."""
    return value if isinstance(value, str | bool) else int(value)
