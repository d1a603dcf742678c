"""A route of the API as a value, the request that reaches it, and what it works with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from nilometer.aws.dynamodb import Store
from nilometer.aws.eventbridge import Bus
from nilometer.domain.acts.act import Caller, service
from nilometer.domain.store.keys import part
from nilometer.flows.api.problem import ApiProblem
from nilometer.flows.inbox.envelope import check_depth
from nilometer.flows.notices.webhooks import WebhookMeans
from nilometer.flows.people import access
from nilometer.flows.usage.known import Known

BODY_BYTES = 1_000_000
PAGE, MOST = 100, 1000
CURSOR_BYTES = 1000  # of a part of a key, which takes 1,024

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ApiMeans:
    """What the routes need, one a process."""

    store: Store
    bus: Bus
    known: Known
    webhooks: WebhookMeans = field(default_factory=WebhookMeans)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """Header names are in lower case; `path` holds the parameters of the route."""

    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiCall:
    """A request of somebody who may make it.

    `workspace_id` is where he is confined to; empty for a service key. `member` is who holds a session.
    """

    request: ApiRequest
    means: ApiMeans
    actor: str
    workspace_id: str
    member: Caller | None = None

    @property
    def store(self) -> Store:
        """The two tables."""
        return self.means.store

    @property
    def now(self) -> datetime:
        """When the request arrived."""
        return self.request.now

    @property
    def where(self) -> str:
        """The workspace of the path, or of who asks; empty for neither."""
        return self.request.path.get("workspace_id") or self.workspace_id

    @property
    def caller(self) -> Caller:
        """Who acts: the session's member, or the key."""
        return self.member or service(self.where, self.actor)

    def person(self, user_id: str | None, *, in_person: bool = False) -> Caller:
        """Who reads or changes what belongs to one person: a key of a workspace acts as that member alone, and a
        service key does so where only the person may act."""
        if self.member or not (self.workspace_id or in_person):
            return self.caller
        if not user_id:
            raise ApiProblem(400, "invalid_schema", "say whose records you mean: user_id")
        return access.member_caller(self.store, self.where, user_id)

    def decoded(self, shape: type[_T]) -> _T:
        """The body as `shape`; `ApiProblem` says what is wrong with it."""
        check_depth(self.request.body)
        try:
            return msgspec.json.decode(self.request.body or b"{}", type=shape)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise ApiProblem(400, "invalid_schema", f"the body: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRoute:
    """`path` has its parameters in braces. `scope` is what a key needs, `None` what everybody may ask.

    A route `of_services` takes service keys alone. `body`, `query` and `answer` are for the description.
    """

    method: str
    path: str
    name: str
    says: str
    scope: str | None
    run: Callable[[ApiCall], Any]
    body: Any = None
    answer: Any = None
    query: tuple[str, ...] = ()
    of_services: bool = False


def page(call: ApiCall, found: Iterable[_T], key: Callable[[_T], str]) -> dict[str, Any]:
    """`limit` of them after `cursor`, the key of the last one seen: what comes or goes meanwhile moves nothing."""
    limit, after = asked(call)
    return first([one for one in sorted(found, key=key) if key(one) > after], limit, key)


def asked(call: ApiCall) -> tuple[int, str]:
    """`limit` and `cursor` of a request for a page."""
    limit = call.request.query.get("limit", str(PAGE))
    if not limit.isascii() or not limit.isdecimal() or not 0 < int(limit[:6]) <= MOST or len(limit) > 4:
        raise ApiProblem(400, "invalid_schema", f"limit is 1 to {MOST}")
    cursor = call.request.query.get("cursor", "")
    if len(part(cursor).encode(errors="replace")) > CURSOR_BYTES:
        raise ApiProblem(400, "invalid_schema", "cursor is what the page before answered as next")
    return int(limit), cursor


def first(rest: Sequence[_T], limit: int, key: Callable[[_T], str]) -> dict[str, Any]:
    """A page of `limit` of what follows the cursor, in its order."""
    shown = rest[:limit]
    return {"items": shown, "next": key(shown[-1]) if len(rest) > limit else None}
