"""What every route of the API promises, asked of a stack in memory, of one that runs here, or of a deployed one.

The routes come from the table, their bodies from the samples of the events, so that no route is left out.
"""

from __future__ import annotations

import json
import re
import subprocess
import uuid
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from typing import Any

import httpx2
import jsonschema
from tests.support.people import workspace
from tests.support.project import EVENTS

from nilometer import CreateMeter, DeclareDataset, DeclaredColumn, perform
from nilometer.aws.dynamodb import Store
from nilometer.client.testing.fake import FakeStack
from nilometer.domain.access.key import RevokeKey
from nilometer.domain.acts.act import Caller, operator, service
from nilometer.domain.acts.deed import Deed
from nilometer.domain.acts.roles import Role
from nilometer.domain.store.writes import Table
from nilometer.flows.api import deeds, keys
from nilometer.flows.api.description.openapi import document
from nilometer.flows.api.route import BODY_BYTES, ApiRoute
from nilometer.flows.api.routes import ROUTES
from nilometer.flows.operations.types import TYPES

NOW = datetime.now(UTC)
SAID = NOW.strftime("%Y-%m-%dT%H:%M:%S.000Z")
METER, DATASET = "calls", "conformance"
CLOSED = [route for route in ROUTES if route.scope is not None]
IN_WORKSPACE = [route for route in CLOSED if "{workspace_id}" in route.path]
OF_EVERYBODY = {"get_key", "get_meter", "list_policies"}
"""What any key may ask: they say nothing of a workspace but the key's own."""
BROKEN = ("{", "nonsense", "[1", '{"a":' * 200, '"text"', "7", '{"nonsense": 1}', "[[[]]]", "null", b"\xff\xfe", b"")
STAMPS = {"version", "updated_at", "field_times", "changed_at", "limit_version", "expires_at", "marks", "steps", "seen"}
"""Of records of which the latest word counts: the same said again moves its time alone."""
BY_THEMSELVES = {"api_key", "counter", "allowance", "alert", "metered"}
DELIVERED = {"version", "updated_at", "cause", "actor", "failing_since", "failed_at"}
"""Of webhooks: what a delivery writes, which a stack makes while the next request is on its way."""
AGAIN = {"notify", "notify_anywhere", "report_security", "resend_invitation"}
"""Actions that say something new each time they are asked, whose client does not ask them again by itself."""


class Api:
    """An API with two workspaces, `here` and `there`, a key of each, and a service key. `sent` is how it is asked."""

    def __init__(self, store: Store, sent: Callable[[httpx2.Request], httpx2.Response], url: str, place: str) -> None:
        self.store, self.sent, self._url = store, sent, url
        self.bus: Any = None
        self.here, self.there = f"ours{place}", f"theirs{place}"
        for name in (self.here, self.there):
            workspace(store, name, now=NOW, bob=Role.VIEWER)
        perform(store, operator("t"), CreateMeter(meter=METER, unit="call", aggregation="sum"), now=NOW)
        column = DeclaredColumn(name="contact_id", type="string")
        perform(store, operator("t"), DeclareDataset(dataset=DATASET, mode="append", columns=[column]), now=NOW)
        self.ours, self.theirs = self.key(service(self.here, "t")), self.key(service(self.there, "t"))
        self.service = self.key(operator("t"))

    def key(self, caller: Caller, *scopes: str, ends_at: datetime | None = None) -> str:
        return keys.create(self.store, caller, name="k", scopes=scopes or ["*"], ends_at=ends_at, now=NOW).token

    @cached_property
    def wrong(self) -> tuple[str | None, ...]:
        """No key, wrong ones, one that has ended, one that was revoked, a broken session."""
        gone = keys.create(self.store, service(self.here, "t"), name="k", scopes=["*"], now=NOW)
        perform(self.store, service(self.here, "t"), RevokeKey(key_id=gone.of.id), now=NOW)
        over = self.key(service(self.here, "t"), ends_at=datetime.now(UTC) + timedelta(microseconds=1))
        return (None, "nil_key_x_y", self.ours[:-1], over, gone.token, "nil_session_x", "nonsense")

    def ask(
        self,
        method: str,
        path: str,
        token: str | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """The status and the answer, whose shape is that of the description."""
        content = body if isinstance(body, str | bytes) else b"" if body is None else json.dumps(body).encode()
        head = {"content-type": "application/json", **(headers or {})}
        head |= {"authorization": f"Bearer {token}"} if token else {}
        answered = self.sent(httpx2.Request(method, self._url + path, headers=head, content=content))
        found = json.loads(answered.content) if answered.status_code != 204 else {}
        if answered.status_code >= 400:
            assert found["status"] == answered.status_code
            assert {"type", "title", "detail", "reason"} <= found.keys()
        else:
            check_answer(method, path, found)
        return answered.status_code, found

    def route(self, route: ApiRoute, token: str | None, body: Any = None, **options: Any) -> tuple[int, Any]:
        """With a body that the route takes, if none is given."""
        path = route.path.format(workspace_id=self.here, meter=METER, flag="dark_mode", dataset=DATASET)
        return self.ask(route.method, path, token, self.body(route) if body is None else body, **options)

    def body(self, route: ApiRoute) -> Any:
        """One that the route takes."""
        if isinstance(route.body, type) and issubclass(route.body, Deed):
            return sample(route.body)
        return {
            "record_events": [self.event()],
            "append_rows": {"id": f"of {self.here}", "source": "/services/t", "rows": [{"contact_id": "1"}]},
            "reserve_limit": {"id": "r1", "quantity": "1"},
            "lease_limit": {"id": "b1"},
            "settle_limit": {"id": "r1", "quantity": "1", "time": SAID},
            "release_limit": {"id": "r1"},
            "evaluate_flag": {"context": {"workspace_id": self.here}},
            "evaluate_flags": {"context": {"workspace_id": self.here}},
            "check_limit": {},
        }.get(route.name)

    def event(self, id_: str = "e1", **changes: Any) -> dict[str, Any]:
        made = {
            "specversion": "1.0",
            "id": id_,
            "source": f"/workspaces/{self.here}/web",
            "type": "usage.recorded.v1",
            "subject": self.here,
            "time": SAID,
            "data": {"meter": METER, "quantity": "1", "unit": "call"},
        }
        return made | changes

    def tables(self) -> list[Any]:
        """Every record without what changes by itself: a key's last use, what is counted, delivered or has expired."""
        now = datetime.now(UTC).timestamp()
        return sorted(
            (
                unstamped(item, DELIVERED) if item.get("kind") == "webhooks" else item
                for item in self.store.scan(Table.RECORDS)
                if item.get("kind") not in BY_THEMSELVES and item.get("expires_at", now) >= now
            ),
            key=lambda item: (item["pk"], item["sk"]),
        )


class NodeApi(Api):
    """Asked by the Node client, each line to `node` one request: `clients/node/test/ask.js`."""

    node: subprocess.Popen[str]

    @cached_property
    def wrong(self) -> tuple[str | None, ...]:
        """Without a key there is no client."""
        return super().wrong[1:]

    def ask(
        self,
        method: str,
        path: str,
        token: str | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        assert self.node.stdin
        assert self.node.stdout
        self.node.stdin.write(json.dumps([token, method, path, body]) + "\n")
        self.node.stdin.flush()
        status, found = json.loads(self.node.stdout.readline())
        if status == 200:
            check_answer(method, path, found)
        return status, found


def check_answer(method: str, path: str, found: Any) -> None:
    """Of a success: it has the shape that the description says."""
    if schema := answers().get((method, routed(method, path.partition("?")[0]))):
        jsonschema.Draft202012Validator(schema).validate(found)


def in_memory() -> Api:
    """`bus` keeps what was published."""
    fake = FakeStack()
    made = Api(fake.store, fake.transport.handle_request, "http://nilometer.test", "")
    made.bus = fake.bus
    return made


def over_http(url: str, store: Store, *, host: str = "") -> Api:
    """With workspaces of its own, so that a stack may be tried many times. `host` is what the URL's own name is not."""
    http = httpx2.Client(timeout=90)

    def sent(request: httpx2.Request) -> httpx2.Response:
        request.headers["host"] = host or request.headers["host"]
        return http.send(request)

    return Api(store, sent, url, f"_{uuid.uuid4().hex[:8]}")


def nobody_without_a_valid_key(api: Api, route: ApiRoute) -> None:
    """None, a wrong, an expired, a revoked key and a broken session: 401, and nothing is written."""
    wrong, before = api.wrong, api.tables()
    for token in wrong:
        status, found = api.route(route, token)
        assert (status, found["reason"]) == (401, "unauthenticated"), (route.name, token)
    assert api.tables() == before, route.name


def no_key_of_another_workspace(api: Api, route: ApiRoute) -> None:
    """403 where the workspace is named or none is, each event refused, and the tables are as before."""
    before = api.tables()
    status, found = api.route(route, api.theirs)

    if route.name == "record_events":
        assert [one["reason"] for one in found["events"]] == ["other_workspace"]
    elif route.name in OF_EVERYBODY:
        assert status == 200, route.name
        assert api.here not in json.dumps(found)
    else:
        reasons = {"other_workspace"} | (set() if route in IN_WORKSPACE else {"service_only", "scope_missing"})
        assert (status, found["reason"] in reasons) == (403, True), route.name
    assert api.tables() == before, route.name


def no_key_without_the_scope(api: Api, route: ApiRoute) -> None:
    """Every other scope does not help."""
    if not route.scope:
        return
    others = [one for one in keys.authenticate(api.store, api.service, now=NOW).scopes if one != route.scope]
    status, found = api.route(route, api.key(operator("t"), *others))

    assert (status, found["reason"]) == (403, "scope_missing"), route.name


def problems_for_bodies_that_are_none(api: Api, route: ApiRoute) -> None:
    """Never a failure of ours; what is too large is not even parsed."""
    assert api.route(route, api.service, " " * (BODY_BYTES + 1))[0] == 413, route.name
    if route.method != "POST":
        return
    for body in BROKEN:
        status, _ = api.route(route, api.service, body)
        assert 200 <= status < 500, (route.name, body)


def services_alone(api: Api, route: ApiRoute) -> None:
    """What no role may do takes no key of a workspace; all other routes take it."""
    status, found = api.route(route, api.ours)

    assert (isinstance(found, dict) and found.get("reason") in {"service_only", "scope_missing"}) == route.of_services
    assert status < 500, route.name


def one_effect_of_a_repeated_request(api: Api, route: ApiRoute) -> None:
    """The same request with the same Idempotency-Key answers the same, or that it is done, and changes nothing."""
    head = {"idempotency-key": "k1"}
    first = api.route(route, api.service, headers=head)
    before = unstamped(api.tables())
    second = api.route(route, api.service, headers=head)

    assert first[0] < 500, (route.name, first)
    if route.name in AGAIN:
        return
    assert second[0] in {first[0], 409}, (route.name, first, second)
    assert unstamped(api.tables()) == before, route.name
    if isinstance(first[1], dict) and "token" in first[1]:
        assert first == second, route.name


def unstamped(value: Any, stamps: Collection[str] = STAMPS) -> Any:
    """Without the times and numbers that the same word, said again, moves."""
    if isinstance(value, Mapping):
        return {name: unstamped(one, stamps) for name, one in value.items() if name not in stamps}
    return [unstamped(one, stamps) for one in value] if isinstance(value, list) else value


CHECKS: Mapping[Callable[[Api, ApiRoute], None], list[ApiRoute]] = {
    nobody_without_a_valid_key: CLOSED,
    no_key_of_another_workspace: CLOSED,
    no_key_without_the_scope: CLOSED,
    problems_for_bodies_that_are_none: CLOSED,
    services_alone: IN_WORKSPACE,
    one_effect_of_a_repeated_request: CLOSED,
}

BY_NODE = [
    check for check in CHECKS if check not in {problems_for_bodies_that_are_none, one_effect_of_a_repeated_request}
]
"""Its client writes the body and the Idempotency-Key itself."""


@cache
def sample(deed: Any) -> Any:
    """The data of the deed's event without what no body has."""
    name = next(event for event, of in TYPES.items() if of is deed)
    data = json.loads((EVENTS / "operations" / f"{name}.json").read_text())["detail"]["data"]
    ours = deeds.hidden(deed) | (deeds.filled_by_us(deed) - {"user_id"}) | {"status", "shards"}
    return {field: value for field, value in data.items() if field not in ours}


@cache
def answers() -> dict[tuple[str, str], Any]:
    """The schema of what a route answers, by method and path of the description."""
    whole = document(ROUTES)
    return {
        (method.upper(), path): {
            **operation["responses"]["200"]["content"]["application/json"]["schema"],
            "components": whole["components"],
        }
        for path, operations in whole["paths"].items()
        for method, operation in operations.items()
    }


def routed(method: str, path: str) -> str:
    """The path of the route that takes it, with its parameters in braces."""
    patterns = (one.path for one in ROUTES if one.method == method)
    return next((one for one in patterns if re.fullmatch(re.sub(r"{\w+}", "[^/]+", one), path)), "")
