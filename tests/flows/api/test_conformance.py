"""Every route of the table, through the router that the function uses: what it answers, and to whom it does not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from tests.support.people import workspace
from tests.support.stores.memory import MemoryStore

from nilometer import CreateMeter, OpenSession, issue, perform
from nilometer.aws.eventbridge import Bus, BusEntry
from nilometer.domain.access.key import RevokeKey
from nilometer.domain.acts.act import Caller, operator, service
from nilometer.domain.acts.roles import Role
from nilometer.domain.store.times import rfc3339
from nilometer.flows.api import keys
from nilometer.flows.api.answering import ApiPace
from nilometer.flows.api.deeds import name_of
from nilometer.flows.api.problem import ApiProblem
from nilometer.flows.api.route import BODY_BYTES, ApiMeans, ApiRoute
from nilometer.flows.api.routes import ROUTES
from nilometer.flows.operations.types import TYPES
from nilometer.flows.usage.known import Known
from nilometer.lambdas.api import router

NOW = datetime.now(UTC)
CLOSED = [route for route in ROUTES if route.scope is not None]
IN_WORKSPACE = [route for route in CLOSED if "{workspace_id}" in route.path]
BODIES: dict[str, Any] = {
    "check_limit": {},
    "reserve_limit": {"id": "r1", "quantity": "1"},
    "settle_limit": {"id": "r1", "quantity": "1"},
    "release_limit": {"id": "r1"},
    "evaluate_flag": {"context": {"workspace_id": "ours"}},
    "evaluate_flags": {"context": {"workspace_id": "ours"}},
}


class KeptBus(Bus):
    """Keeps what is published; its client is never asked."""

    def __init__(self) -> None:
        self.entries: list[BusEntry] = []

    def publish(self, entries: Sequence[BusEntry], *, attempts: int = 4) -> None:
        self.entries += entries


class Api:
    """The function's router on tables in memory, with keys of two workspaces and of a service."""

    def __init__(self) -> None:
        self.store, self.bus = MemoryStore(), KeptBus()
        for name in ("ours", "theirs"):
            workspace(self.store, name, now=NOW, bob=Role.VIEWER)
        perform(self.store, operator("t"), CreateMeter(meter="calls", unit="call", aggregation=_sum()), now=NOW)
        self.ours, self.theirs = self.key(service("ours", "t")), self.key(service("theirs", "t"))
        self.service = self.key(operator("t"))
        self._router = router(ApiMeans(self.store, self.bus, Known(self.store)))

    def key(self, caller: Caller, *scopes: str, ends_at: datetime | None = None) -> str:
        return keys.create(self.store, caller, name="k", scopes=scopes or ["*"], ends_at=ends_at, now=NOW).token

    def ask(
        self, method: str, path: str, token: str | None = None, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """The status and the answer; a problem is checked for its shape."""
        raw, _, query = path.partition("?")
        content = body if isinstance(body, str) else "" if body is None else json.dumps(body)
        event = {
            "version": "2.0",
            "rawPath": raw,
            "rawQueryString": query,
            "queryStringParameters": dict(one.split("=") for one in query.split("&")) if query else None,
            "headers": {**({"authorization": f"Bearer {token}"} if token else {}), **(headers or {})},
            "requestContext": {"http": {"method": method, "path": raw}, "stage": "$default"},
            "body": content,
            "isBase64Encoded": False,
        }
        answered = cast(Any, self._router.resolve(event, cast(Any, None)))
        found = json.loads(answered["body"])
        if answered["statusCode"] >= 400:
            assert found["status"] == answered["statusCode"]
            assert {"type", "title", "detail", "reason"} <= found.keys()
        return answered["statusCode"], found

    def route(self, route: ApiRoute, token: str | None, body: Any = None, **options: Any) -> tuple[int, Any]:
        path = route.path.format(workspace_id="ours", meter="calls", flag="dark_mode")
        wanted = BODIES.get(route.name) if body is None else body
        return self.ask(route.method, path, token, wanted, **options)


def _sum() -> Any:
    return "sum"


@pytest.fixture
def api() -> Api:
    return Api()


def event(api: Api, id_: str = "e1", **changes: Any) -> dict[str, Any]:
    made = {
        "specversion": "1.0",
        "id": id_,
        "source": "/workspaces/ours/web",
        "type": "usage.recorded.v1",
        "subject": "ours",
        "time": rfc3339(datetime.now(UTC)),
        "data": {"meter": "calls", "quantity": "1", "unit": "call"},
    }
    return made | changes


@pytest.mark.parametrize("route", CLOSED, ids=lambda route: route.name)
def test_nobody_without_a_valid_key_gets_in(api: Api, route: ApiRoute) -> None:
    """None, a wrong, an expired, a revoked key and a broken session: 401, and nothing is written."""
    over = api.key(service("ours", "t"), ends_at=datetime.now(UTC) + timedelta(microseconds=1))
    gone = keys.create(api.store, service("ours", "t"), name="k", scopes=["*"], now=NOW)
    perform(api.store, service("ours", "t"), RevokeKey(key_id=gone.of.id), now=NOW)
    before = dict(api.store.items)

    for token in (None, "nil_key_x_y", api.ours[:-1], over, gone.token, "nil_session_x", "nonsense"):
        status, found = api.route(route, token)
        assert (status, found["reason"]) == (401, "unauthenticated")
    assert (api.store.items, api.bus.entries) == (before, [])


@pytest.mark.parametrize("route", IN_WORKSPACE, ids=lambda route: route.name)
def test_a_key_of_another_workspace_reads_and_changes_nothing(api: Api, route: ApiRoute) -> None:
    """403 on every route, and the tables are as before."""
    api.route(route, api.theirs)  # notes when the key was used
    before = dict(api.store.items)

    status, found = api.route(route, api.theirs)

    assert (status, found["reason"]) == (403, "other_workspace")
    assert (api.store.items, api.bus.entries) == (before, [])


@pytest.mark.parametrize("route", CLOSED, ids=lambda route: route.name)
def test_a_key_without_the_scope_may_not(api: Api, route: ApiRoute) -> None:
    """Every other scope does not help."""
    if not route.scope:
        return
    others = [one for one in keys.authenticate(api.store, api.service, now=NOW).scopes if one != route.scope]
    status, found = api.route(route, api.key(operator("t"), *others))

    assert (status, found["reason"]) == (403, "scope_missing")


@pytest.mark.parametrize("route", CLOSED, ids=lambda route: route.name)
def test_oversized_and_malformed_bodies_are_problems(api: Api, route: ApiRoute) -> None:
    """Never a failure of ours; what is too large is not even parsed."""
    assert api.route(route, api.service, " " * (BODY_BYTES + 1))[0] == 413
    if route.method != "POST":
        return
    for broken in ("{", "nonsense", "[1", '{"a":' * 200, '"text"', "7", '{"nonsense": 1}', "[[[]]]", "null"):
        status, _ = api.route(route, api.service, broken)
        assert 200 <= status < 500, broken


@pytest.mark.parametrize("route", IN_WORKSPACE, ids=lambda route: route.name)
def test_what_is_for_services_takes_no_key_of_a_workspace(api: Api, route: ApiRoute) -> None:
    """What no role may do; all other routes take it."""
    status, found = api.route(route, api.ours)

    assert (found.get("reason") in {"service_only", "scope_missing"}) == route.of_services
    assert status < 500


def test_every_deed_has_a_route() -> None:
    """By the one shape."""
    assert {name_of(deed) for deed in TYPES.values()} <= {route.name.removesuffix("_anywhere") for route in ROUTES}
    assert len({route.name for route in ROUTES}) == len(ROUTES)


def test_events_are_answered_one_by_one(api: Api) -> None:
    """Accepted is on the bus; a copy, another's workspace, another's source and nonsense are not."""
    sent = [
        event(api),
        event(api),
        event(api, data={"meter": "calls", "quantity": "2", "unit": "call"}),
        event(api, "e2", subject="theirs"),
        event(api, "e3", source="/services/web"),
        event(api, "e4", source="/workspaces/ours2"),
        event(api, "e5", type="usage.voided.v1", data={"id": "x", "source": "/workspaces/theirs"}),
        event(api, "e6", data={"meter": "calls", "quantity": "1", "unit": "byte"}),
        event(api, "e7", type="usage.batch.v1", data={"events": []}),
        {"nonsense": True},
        event(api, "e8"),
    ]
    status, found = api.ask("POST", "/v1/events", api.ours, sent)

    told = [one.get("reason", one["status"]) for one in found["events"]]
    assert (status, found["accepted"]) == (200, 2)
    assert told == [
        "accepted",
        "duplicate",
        "id_reuse",
        "other_workspace",
        "source_not_allowed",
        "source_not_allowed",
        "source_not_allowed",
        "unit_mismatch",
        "invalid_schema",
        "invalid_schema",
        "accepted",
    ]
    [entry] = api.bus.entries
    assert entry.source == "nilometer.api"
    assert [one["id"] for one in json.loads(entry.detail)["data"]["events"]] == ["e1", "e8"]


def test_a_repeated_request_has_one_effect(api: Api) -> None:
    """A deed finds its own effect; a pending invitation is refused; a settled reservation is one usage event's id."""
    added = {"user_id": "eve", "role": "Analyst"}
    first = api.ask("POST", "/v1/workspaces/ours/actions/add_member", api.service, added)
    second = api.ask("POST", "/v1/workspaces/ours/actions/add_member", api.service, added)
    invited = {"email": "grace@example.com", "role": "Analyst"}
    made = api.ask("POST", "/v1/workspaces/ours/actions/invite", api.ours, invited)
    again = api.ask("POST", "/v1/workspaces/ours/actions/invite", api.ours, invited)

    assert (first[0], first) == (200, second)
    assert (made[0], again[0]) == (200, 409)
    assert made[1]["token"].startswith("nil_invite_")
    assert len(api.ask("GET", "/v1/workspaces/ours/invitations", api.ours)[1]["items"]) == 1


def test_a_session_is_a_key_with_the_rights_of_its_role(api: Api) -> None:
    """A Viewer reads members and may not invite; nothing of another workspace."""
    token = issue(api.store, service("ours", "t"), OpenSession(user_id="bob"), now=datetime.now(UTC)).token

    assert api.ask("GET", "/v1/workspaces/ours/members", token)[0] == 200
    assert api.ask("GET", "/v1/workspaces/theirs/members", token)[0] == 403
    invited = api.ask("POST", "/v1/workspaces/ours/actions/invite", token, {"email": "a@b.c", "role": "Viewer"})
    assert invited[0] == 403
    assert api.ask("POST", "/v1/events", token, [event(api)])[0] == 403


def test_lists_come_in_pages(api: Api) -> None:
    """Each one once, and the end says so."""
    first = api.ask("GET", "/v1/workspaces/ours/members?limit=1", api.ours)[1]
    rest = api.ask("GET", f"/v1/workspaces/ours/members?limit=1&cursor={first['next']}", api.ours)[1]

    assert [one["user_id"] for one in first["items"] + rest["items"]] == ["ada", "bob"]
    assert rest["next"] is None
    for limit in ("0", "-1", "x", "99999"):
        assert api.ask("GET", f"/v1/workspaces/ours/members?limit={limit}", api.ours)[0] == 400


def test_a_person_is_read_by_keys_of_his_workspaces_alone(api: Api) -> None:
    """A stranger's notifications are refused, and his preferences cannot be set."""
    assert api.ask("GET", "/v1/workspaces/ours/notifications?user_id=bob", api.ours)[0] == 200
    assert api.ask("GET", "/v1/workspaces/ours/notifications?user_id=stranger", api.ours)[0] == 409
    body = {"user_id": "stranger", "topic": "billing.dunning", "channels": {"email": False}}
    assert api.ask("POST", "/v1/workspaces/ours/actions/set_preference", api.ours, body)[0] >= 400


def test_a_key_makes_no_more_requests_than_its_rate() -> None:
    """The burst, then as many as time gives back; another key is not touched."""
    clock = [0.0]
    pace = ApiPace(rate=10, burst=2, monotonic=lambda: clock[0])
    pace.check("a")
    pace.check("a")
    with pytest.raises(ApiProblem) as problem:
        pace.check("a")
    pace.check("b")
    clock[0] = 0.1
    pace.check("a")

    assert problem.value.status == 429


def test_checking_writes_nothing(api: Api) -> None:
    """A hundred checks are no write, but for when the key was last used."""
    api.ask("POST", "/v1/workspaces/ours/limits/calls/check", api.ours, {})
    before = dict(api.store.items)
    for _ in range(100):
        status, found = api.ask("POST", "/v1/workspaces/ours/limits/calls/check", api.ours, {})
        assert (status, found["allowed"]) == (200, True)

    assert api.store.items == before


def test_the_description_names_every_route(api: Api) -> None:
    """Served to everybody."""
    status, found = api.ask("GET", "/v1/openapi.json")

    assert (status, found["openapi"]) == (200, "3.1.0")
    assert {(path, method.upper()) for path, one in found["paths"].items() for method in one} == {
        (route.path, route.method) for route in ROUTES
    }
    assert api.ask("GET", "/v1/nonsense", api.ours)[0] == 404
