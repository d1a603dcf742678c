"""What every request is promised: who asks, whether he may, in which workspace, how often, and one shape of answer.

    key or session ──▶ scope ──▶ the path's workspace is his own ──▶ rate ──▶ route ──▶ JSON, or a problem

What if the process dies here? Nothing was answered; the same request again finds its own effect. Who may say this? A
key and its workspace are read consistently at every request, so one that was revoked a moment ago opens nothing, and
one of a deleted workspace reports what was used and no more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import msgspec

from nilometer.domain.access.key import PREFIX
from nilometer.domain.acts.roles import Permission
from nilometer.domain.people.workspace import check_open
from nilometer.domain.store.keys import workspace
from nilometer.domain.store.writes import Table
from nilometer.errors import NilometerError, Refused
from nilometer.flows.api import keys
from nilometer.flows.api.problem import ApiAnswer, ApiProblem, answer_of
from nilometer.flows.api.route import BODY_BYTES, ApiCall, ApiMeans, ApiRequest, ApiRoute
from nilometer.flows.people import access

RATE, BURST = 200.0, 400.0  # requests a second of one key, in one process
_REMEMBERED = 10_000
_REPORTS = frozenset({"record_events", "settle_limit", "release_limit"})
"""Of what was used: that holds also when the workspace was deleted meanwhile."""
_PERMISSIONS = frozenset(map(str, Permission))
_encode = msgspec.json.Encoder(enc_hook=str).encode


@dataclass(slots=True)
class ApiPace:
    """How many requests each key may still make; one a process. `monotonic` is handed in by tests."""

    rate: float = RATE
    burst: float = BURST
    monotonic: Callable[[], float] = time.monotonic
    _left: dict[str, tuple[float, float]] = field(default_factory=dict)

    def check(self, actor: str) -> None:
        """`ApiProblem` 429 when the key has none left at this moment."""
        now = self.monotonic()
        left, since = self._left.get(actor, (self.burst, now))
        left = min(self.burst, left + (now - since) * self.rate)
        if len(self._left) > _REMEMBERED:
            self._left.clear()
        self._left[actor] = (max(left - 1, 0.0), now)
        if left < 1:
            raise ApiProblem(429, "rate_limited", f"at most {self.rate:.0f} requests a second with one key")


def answer(route: ApiRoute, request: ApiRequest, means: ApiMeans, pace: ApiPace) -> ApiAnswer:
    """The route's answer as JSON, or a problem. Errors that are not ours go on to the handler."""
    try:
        if len(request.body) > BODY_BYTES:
            raise ApiProblem(413, "too_large", f"a body has at most {BODY_BYTES} bytes")
        call = ApiCall(request=request, means=means, actor="", workspace_id="")
        if route.scope is not None:
            call = _admitted(route, call)
            pace.check(call.actor)
        answered = route.run(call)
        return ApiAnswer(200, _encode({} if answered is None else answered))
    except NilometerError as error:
        return answer_of(error)


def _admitted(route: ApiRoute, call: ApiCall) -> ApiCall:
    scheme, _, token = call.request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise ApiProblem(401, "unauthenticated", "send the header Authorization: Bearer nil_key_...")
    try:
        known = _by_key if token.strip().startswith(PREFIX) else _by_session
        admitted = known(route, call, token.strip())
    except Refused as error:
        raise ApiProblem(401, "unauthenticated", "the key or session is not valid") from error
    if admitted.workspace_id and route.of_services:
        raise ApiProblem(403, "service_only", "this needs a service key")
    return admitted


def _by_key(route: ApiRoute, call: ApiCall, token: str) -> ApiCall:
    key = keys.authenticate(call.store, token, now=call.now)
    _check_place(call, key.workspace_id)
    if route.scope and route.scope not in key.scopes:
        raise ApiProblem(403, "scope_missing", f"this key has not the scope {route.scope}")
    if key.workspace_id and route.name not in _REPORTS:
        check_open(call.store.get(Table.RECORDS, workspace(key.workspace_id), consistent=True), key.workspace_id)
    return replace(call, actor=f"key:{key.id}", workspace_id=key.workspace_id)


def _by_session(route: ApiRoute, call: ApiCall, token: str) -> ApiCall:
    """A member's session is a short-lived key with the rights of his role."""
    member = access.authenticate(call.store, token, now=call.now)
    _check_place(call, member.workspace_id)
    if route.scope and not (route.scope in _PERMISSIONS and member.may(Permission(route.scope))):
        raise ApiProblem(403, "scope_missing", f"a member of this role may not {route.scope}")
    return replace(call, actor=member.user_id, workspace_id=member.workspace_id, member=member)


def _check_place(call: ApiCall, workspace_id: str) -> None:
    """Who is of one workspace asks in no other."""
    if workspace_id and call.request.path.get("workspace_id") not in {None, workspace_id}:
        raise ApiProblem(403, "other_workspace", "this key is of another workspace")
