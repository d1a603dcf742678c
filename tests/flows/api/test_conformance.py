"""Every route of the table on a stack in memory, and what single routes promise."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from tests.support.people import workspace
from tests.support.project import ROOT
from tests.support.stack.conformance import CHECKS, CLOSED, Api, in_memory, services_alone

import nilometer.domain
from nilometer import OpenSession, UpdateWorkspace, issue, perform
from nilometer.client.buffer import usage_event
from nilometer.domain.access.report import ReportSecurity
from nilometer.domain.acts.act import operator, service
from nilometer.domain.acts.deed import Deed
from nilometer.domain.acts.security import Reported
from nilometer.domain.store.times import rfc3339
from nilometer.flows.api.answering import ApiPace
from nilometer.flows.api.deeds import name_of
from nilometer.flows.api.problem import ApiProblem
from nilometer.flows.api.route import ApiRoute
from nilometer.flows.api.routes import ROUTES
from nilometer.flows.operations.types import TYPES

EACH = [(check, route) for check, routes in CHECKS.items() for route in routes]


@pytest.fixture
def api() -> Api:
    return in_memory()


def event(api: Api, id_: str = "e1", **changes: Any) -> dict[str, Any]:
    return api.event(id_, **changes)


@pytest.mark.parametrize(("check", "route"), EACH, ids=lambda one: getattr(one, "__name__", getattr(one, "name", "")))
def test_every_route_keeps(api: Api, check: Callable[[Api, ApiRoute], None], route: ApiRoute) -> None:
    """Each check of the suite on each route of the table."""
    check(api, route)


def test_the_suite_leaves_no_route_out() -> None:
    """Wrong, expired, revoked and other workspaces' keys, scopes, bodies and repetition: each on every closed route;
    only the descriptions are open."""
    of_all = [check for check, routes in CHECKS.items() if {one.name for one in routes} == {one.name for one in CLOSED}]

    assert set(CHECKS) - set(of_all) == {services_alone}
    assert [route.name for route in ROUTES if route not in CLOSED] == ["get_openapi", "get_asyncapi"]


def test_every_deed_has_a_route() -> None:
    """By the one shape."""
    assert {name_of(deed) for deed in TYPES.values()} <= {route.name.removesuffix("_anywhere") for route in ROUTES}
    assert len({route.name for route in ROUTES}) == len(ROUTES)


def test_only_keys_and_attachments_are_made_elsewhere() -> None:
    """A leaked key makes no others, and the content of an attachment goes to the bucket."""
    for module in pkgutil.walk_packages(nilometer.domain.__path__, "nilometer.domain."):
        importlib.import_module(module.name)
    leaves = {
        one.__name__ for one in below(Deed) if not one.__subclasses__() and one.__module__.startswith("nilometer.")
    }

    assert leaves - {deed.__name__ for deed in TYPES.values()} == {"Attach", "CreateKey", "RevokeKey", "RotateKey"}


def below(base: type) -> Iterator[type]:
    for one in base.__subclasses__():
        yield one
        yield from below(one)


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


def test_a_key_takes_no_id_of_a_workspace_whose_id_begins_as_its_own(api: Api) -> None:
    """`ours/b` is another workspace than `ours`: neither sends an event, nor a void, with a source of the other."""
    workspace(api.store, "ours/b", now=datetime.now(UTC))
    theirs, source = api.key(service("ours/b", "t")), "/workspaces/ours%2Fb"
    assert usage_event("ours/b", "calls", 1, event_id=None, source=None, time=None, dimensions=None)["source"] == source

    def told(key: str, *sent: dict[str, Any]) -> list[str]:
        return [one.get("reason", one["status"]) for one in api.ask("POST", "/v1/events", key, list(sent))[1]["events"]]

    void = event(api, "e2", type="usage.voided.v1", data={"id": "x", "source": source})
    assert told(api.ours, event(api, source=source), void) == ["source_not_allowed"] * 2
    sent = [event(api, subject="ours/b", source=one) for one in (source, f"{source}/web", "/workspaces/ours/b")]
    assert told(theirs, *sent) == ["accepted", "accepted", "source_not_allowed"]


def test_what_is_settled_has_a_source_of_its_workspace(api: Api) -> None:
    """Escaped as that of its other events, so that no other workspace sends it."""
    workspace(api.store, "50%2F", now=datetime.now(UTC))
    settled = api.ask("POST", "/v1/workspaces/50%252F/limits/calls/settle", api.service, {"id": "r1", "quantity": "1"})

    [entry] = api.bus.entries
    assert settled[0] == 200
    assert json.loads(entry.detail)["source"] == "/workspaces/50%252F/reservations"


def test_the_pages_of_the_security_log_go_on_to_its_end(api: Api) -> None:
    """The oldest first, each entry once, however many there are."""
    now = datetime.now(UTC)
    for n in range(1005):
        used = ReportSecurity(action=Reported.KEY_USED, user_id="bob", object_id=f"k{n}")
        perform(api.store, service("ours", "t"), used, now=now - timedelta(minutes=2000 - n))
    seen, cursor = [], ""
    while cursor is not None:
        status, found = api.ask("GET", f"/v1/workspaces/ours/security?limit=400&cursor={cursor}", api.ours)
        seen += [one["object_id"] for one in found["items"] if one["action"] == "key_used"]
        cursor = found["next"]

    assert status == 200
    assert seen == [f"k{n}" for n in range(1005)]


@pytest.mark.parametrize("name", ["security", "members", "notifications"])
def test_a_cursor_that_no_page_gave_is_refused(api: Api, name: str) -> None:
    """It would be a key that the tables do not take."""
    path = f"/v1/workspaces/ours/{name}?user_id=bob&cursor={'%25' * 1000}"
    assert api.ask("GET", path, api.ours)[1]["reason"] == "invalid_schema"


def test_a_batch_of_one_event_is_no_event(api: Api) -> None:
    """Its own source and subject would be checked by nobody: a reject in another workspace's name."""
    element = {"id": "e1", "time": event(api)["time"], "data": event(api)["data"]}
    ours = event(api, "b1", type="usage.batch.v1", data={"events": [element]})
    theirs = {"source": "/workspaces/theirs", "subject": "theirs", "data": {"events": [event(api, "e2")]}}
    forged = event(api, "b2", type="usage.batch.v1", **theirs)
    status, found = api.ask("POST", "/v1/events", api.ours, [ours, event(api, "e3"), forged])

    assert status == 200
    assert [one.get("reason", "") for one in found["events"]] == ["invalid_schema", "", "invalid_schema"]
    assert [json.loads(one.detail)["id"] for one in api.bus.entries] == ["e3"]


def test_rows_are_a_batch_on_the_bus(api: Api) -> None:
    """Digit by digit, with the source and id that the service chose; unknown and others' datasets are refused."""
    rows = '{"id": "b1", "source": "/services/crm", "rows": [{"contact_id": "1", "score": 1.10}]}'
    owned = {"dataset": "owned", "mode": "append", "owner": "/services/erp"}
    owned["columns"] = [{"name": "contact_id", "type": "string"}]
    assert api.ask("POST", "/v1/actions/declare_dataset", api.service, owned)[0] == 200

    assert api.ask("POST", "/v1/datasets/conformance/rows", api.service, rows) == (200, {"accepted": 1})
    for dataset, status, reason in (("nowhere", 404, "unknown_dataset"), ("owned", 400, "not_owner")):
        answered, found = api.ask("POST", f"/v1/datasets/{dataset}/rows", api.service, rows)
        assert (answered, found["reason"]) == (status, reason)

    [entry] = api.bus.entries
    said = json.loads(entry.detail, parse_float=str)
    assert (entry.source, entry.detail_type) == ("nilometer.api", "dataset.batch_ready.v1")
    assert (said["source"], said["id"], said["data"]["rows"]) == (
        "/services/crm",
        "b1",
        [{"contact_id": "1", "score": "1.10"}],
    )


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


def test_a_key_of_a_deleted_workspace_reports_and_no_more(api: Api) -> None:
    """It is none from the next request on, for every route but reports of what was used; restored, it is one again."""

    def is_now(status: str) -> None:
        perform(api.store, service("ours", "t"), UpdateWorkspace(status=status), now=datetime.now(UTC))

    is_now("deleted")
    told = {route.name: api.route(route, api.ours)[0] for route in CLOSED if not route.of_services}
    open_ = {name for name, status in told.items() if status != 401}
    assert (open_, told["record_events"]) == ({"record_events", "settle_limit", "release_limit"}, 200)
    is_now("active")
    assert api.ask("GET", "/v1/key", api.ours)[0] == 200


def test_a_page_asks_with_a_session_and_never_with_a_key(api: Api) -> None:
    """The preflight answer says what a browser may send; it may not read answers to an API key, problems included."""
    token = issue(api.store, service("ours", "t"), OpenSession(user_id="bob"), now=datetime.now(UTC)).token

    def asked(method: str, path: str, bearer: str | None) -> httpx2.Response:
        head = {"origin": "https://acme.example", **({"authorization": f"Bearer {bearer}"} if bearer else {})}
        return api.sent(httpx2.Request(method, f"http://nilometer.test/v1/workspaces/{path}", headers=head))

    before = asked("OPTIONS", "ours/members", None)
    assert (before.status_code, before.headers["access-control-allow-origin"]) == (204, "*")
    assert "authorization" in before.headers["access-control-allow-headers"]
    for path, status in (("ours/members", 200), ("theirs/members", 403)):
        answered = asked("GET", path, token)
        assert (answered.status_code, answered.headers["access-control-allow-origin"]) == (status, "*")
        assert "access-control-allow-origin" not in asked("GET", path, api.service).headers
        assert "access-control-allow-credentials" not in answered.headers


def test_a_secret_is_the_same_for_the_same_request_alone(api: Api) -> None:
    """The same key, the same Idempotency-Key and the same body; anything else makes another."""
    path, body = "/v1/workspaces/ours/actions/open_session", {"user_id": "bob"}

    def opened(key: str, bearer: str, **more: str) -> str:
        head = {"idempotency-key": key}
        status, found = api.ask("POST", path, bearer, {**body, **more}, headers=head)
        assert status == 200
        return str(found["token"])

    first, other = opened("a", api.service), api.key(operator("t"))
    assert opened("a", api.service) == first
    ends = rfc3339(datetime.now(UTC) + timedelta(hours=1))
    others = [opened("b", api.service), opened("a", other), opened("a", api.service, valid_until=ends)]
    assert len({first, *others}) == 4
    assert api.ask("POST", path, api.service, body, headers={"idempotency-key": "k" * 256})[0] == 400


def test_lists_come_in_pages(api: Api) -> None:
    """Each one once, and the end says so."""
    first = api.ask("GET", "/v1/workspaces/ours/members?limit=1", api.ours)[1]
    rest = api.ask("GET", f"/v1/workspaces/ours/members?limit=1&cursor={first['next']}", api.ours)[1]

    assert [one["user_id"] for one in first["items"] + rest["items"]] == ["ada", "bob"]
    assert rest["next"] is None
    for limit in ("0", "-1", "x", "99999"):
        assert api.ask("GET", f"/v1/workspaces/ours/members?limit={limit}", api.ours)[0] == 400


def test_a_person_is_read_by_keys_of_his_workspaces_alone(api: Api) -> None:
    """Notifications of a user who is no member are refused, and his preferences cannot be set."""
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
    before = api.tables()
    for _ in range(100):
        status, found = api.ask("POST", "/v1/workspaces/ours/limits/calls/check", api.ours, {})
        assert (status, found["allowed"]) == (200, True)

    assert api.tables() == before


def test_a_block_taken_again_is_the_same_block(api: Api) -> None:
    """With the same size, whatever rate is said; what was used of it is an event at the time that the holder says."""
    limit = {"meter": "calls", "limit": {"included": "100", "hard": "100"}}
    assert api.ask("POST", "/v1/workspaces/ours/actions/override_limit", api.service, limit)[0] == 200
    path = "/v1/workspaces/ours/limits/calls"
    first = api.ask("POST", f"{path}/lease", api.ours, {"id": "b", "quantity": "2", "rate": "1000"})
    again = api.ask("POST", f"{path}/lease", api.ours, {"id": "b", "quantity": "2"})
    refused = api.ask("POST", f"{path}/lease", api.ours, {"id": "c", "quantity": "99"})
    used = {"id": "b", "quantity": "2", "time": rfc3339(datetime.now(UTC) - timedelta(hours=1))}
    settled = api.ask("POST", f"{path}/settle", api.ours, used)

    assert (first, again) == ((200, {"id": "b", "size": "12"}),) * 2
    assert (refused, settled) == ((200, {"id": "c", "size": "0"}), (200, {"settled": True}))
    [entry] = api.bus.entries
    assert json.loads(entry.detail)["time"] == used["time"]
    assert api.ask("POST", f"{path}/release", api.ours, {"id": "b"}) == (200, {"released": False})
    assert api.ask("POST", f"{path}/lease", api.ours, {"id": "b", "quantity": "2"})[0] == 409


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-11-29T10:00:00"])
def test_a_time_that_is_none_in_utc_is_rejected(api: Api, time: str) -> None:
    """Before the first moment, after the last one, and without an offset."""
    settled = api.ask(
        "POST", "/v1/workspaces/ours/limits/calls/settle", api.ours, {"id": "r", "quantity": "1", "time": time}
    )

    assert (settled[0], settled[1]["reason"]) == (400, "invalid_schema")


@pytest.mark.parametrize("named", [["ours"], {"ours": 1}, 7, "theirs"])
def test_a_flag_s_context_names_the_key_s_own_workspace(api: Api, named: Any) -> None:
    """Whatever else stands in its place is another one."""
    asked = api.ask("POST", "/ofrep/v1/evaluate/flags", api.ours, {"context": {"workspace_id": named}})

    assert (asked[0], asked[1]["reason"]) == (403, "other_workspace")


def test_the_description_names_every_route(api: Api) -> None:
    """Served to everybody."""
    status, found = api.ask("GET", "/v1/openapi.json")

    assert (status, found["openapi"]) == (200, "3.1.0")
    assert {(path, method.upper()) for path, one in found["paths"].items() for method in one} == {
        (route.path, route.method) for route in ROUTES
    }
    assert api.ask("GET", "/v1/nonsense", api.ours)[0] == 404


def test_the_events_are_described_beside_the_routes(api: Api) -> None:
    """Served to everybody, as docs/asyncapi.json has it."""
    status, found = api.ask("GET", "/v1/asyncapi.json")

    assert (status, found) == (200, json.loads((ROOT / "docs" / "asyncapi.json").read_text()))
