"""What the console refuses before any page runs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request
from tests.support.people import workspace
from tests.support.stack.still import still
from tests.support.stack.visit import InsideVisit, Visit
from tests.support.stores.memory import MemoryObjects, MemoryStore

from nilometer.aws.dynamodb import Store
from nilometer.console.app import application
from nilometer.console.http.guard import SESSION_COOKIE, Seal, _is_same
from nilometer.console.http.rendering import OUTCOME_COOKIE, environment
from nilometer.console.http.visitor import ClaimsGate, LaptopGate, visitor_of
from nilometer.domain.acts.roles import Permission, Role


def test_every_answer_carries_the_strict_headers(visit: Visit) -> None:
    """No inline script or style runs, no other site frames or reads a page; failures and files too."""
    for path in ("/", "/nowhere", "/event", "/static/console.css"):
        headers = visit.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"


def test_the_customers_page_is_framed_by_whom_one_names(tmp_path: Path) -> None:
    """Also when it is closed; no other page is."""
    lake = {"lake_uri": str(tmp_path), "storage_options": {}}
    place = still(MemoryStore(), MemoryObjects(), lake)  # type: ignore[arg-type]  # as its readers ask
    app = application(place, gate=LaptopGate(), embedders=("https://app.example.com",))
    inside = InsideVisit("", app=app)

    framed = inside.get("/portal?token=x").headers
    assert framed["content-security-policy"].endswith("frame-ancestors 'self' https://app.example.com")
    assert "x-frame-options" not in framed
    assert inside.get("/workspaces").headers["content-security-policy"].endswith("frame-ancestors 'none'")


def test_a_foreign_host_is_refused(visit: Visit) -> None:
    """A page of another site whose name resolves to this machine gets nothing."""
    assert visit.get("/", host="evil.example").status == 421


def test_a_link_of_another_site_begins_no_session(tab: Any, console: str) -> None:
    """The forms of a page that is open stay good: the token of a form belongs to the session."""
    tab.goto(f"{console}/workspaces")
    [before] = [one["value"] for one in tab.context.cookies() if one["name"] == SESSION_COOKIE]
    other = tab.context.new_page()
    other.route(
        "http://other.example/",
        lambda route: route.fulfill(body=f"<a href='{console}/sql'>look</a>", content_type="text/html"),
    )
    other.goto("http://other.example/")
    other.click("a")
    other.wait_for_selector("h1:has-text('SQL')")

    assert [one["value"] for one in tab.context.cookies() if one["name"] == SESSION_COOKIE] == [before]


def test_a_form_of_any_size_is_cut(visit: Visit) -> None:
    """Nobody fills the memory of the console."""
    assert visit.post("/theme", {"theme": "x" * 200_000}).status == 413


def test_a_seal_is_of_one_session_and_process() -> None:
    """Tokens of others, empty ones and those of no session are none."""
    seal = Seal()

    assert seal.holds("a", seal.token("a"))
    assert not seal.holds("b", seal.token("a"))
    assert not seal.holds("a", Seal().token("a"))
    assert not seal.holds(None, seal.token(""))


def test_the_outcome_of_an_action_is_shown_once_and_as_text(tmp_path: Path) -> None:
    """After the redirect, on the next whole page; never on a part of a page, nor where another session set it."""
    event = {"type": "<b>x</b>", "id": "evt_1"}
    lake = {"lake_uri": str(tmp_path), "storage_options": {}}
    place = still(MemoryStore(), MemoryObjects(), lake, trigger=lambda *_: event, event_types=("x",))  # type: ignore[arg-type]  # as its readers ask
    app = application(place, gate=LaptopGate())
    inside = InsideVisit("", app=app)
    inside.get("/sql")

    done = inside.post("/events/trigger", {"type": "x"}, referer="http://localhost/sql")

    assert (done.status, done.headers["location"]) == (303, "/sql")
    assert {"HttpOnly", "Max-Age=60", "SameSite=strict"} <= set(done.headers["set-cookie"].split("; "))
    said = '<p class="note good" role="status">&lt;b&gt;x&lt;/b&gt; evt_1 posted</p>'
    kept = inside.cookies[OUTCOME_COOKIE]
    assert OUTCOME_COOKIE in inside.cookies
    inside.get("/money/mrr", hx_request="true")
    assert OUTCOME_COOKIE in inside.cookies  # a part of a page leaves it
    assert said in inside.get("/sql").text
    assert "note good" not in inside.get("/sql").text
    session = inside.cookies[SESSION_COOKIE]
    for other in ({}, {SESSION_COOKIE: "another"}):
        stranger = InsideVisit("", app=app, cookies={OUTCOME_COOKIE: kept, **other})
        assert "note good" not in stranger.get("/sql").text
    for forged in ("", "hello", "x.hello", f"{kept}%21", "\xe9.hello"):
        forging = InsideVisit("", app=app, cookies={SESSION_COOKIE: session, OUTCOME_COOKIE: forged})
        assert (forging.get("/sql").status, "note good" in forging.get("/sql").text) == (200, False)


@pytest.mark.parametrize(
    ("claims", "may"),
    [
        ({"sub": "ann", "nilometer_role": "Analyst"}, True),
        ({"sub": "ann", "nilometer_role": "Viewer"}, False),
        ({"sub": "ann", "nilometer_role": "Emperor"}, None),
        ({"sub": "", "nilometer_role": "Admin"}, None),
        ({"nilometer_role": "Admin"}, None),
        ({}, None),
    ],
)
def test_a_token_opens_what_its_role_may_see(claims: dict[str, str], may: bool | None) -> None:
    """A token without a person or a role of the matrix opens nothing."""
    found: Any = visitor_of(claims)

    assert (found.may(Permission.HISTORY_QUERY) if found else None) is may


def test_a_token_of_a_workspace_never_acts_on_the_stack() -> None:
    """An empty claim restricts too."""
    for workspace_id in ("acme", ""):
        found = visitor_of({"sub": "ann", "nilometer_role": "Admin", "nilometer_workspace": workspace_id})
        assert found
        assert not found.operates
        assert not found.sees("other")


def test_a_token_without_a_role_opens_what_its_member_may_see(store: Store) -> None:
    """In the workspace that it names, in the role that the workspace gave; a stranger's and an unknown role's opens
    nothing."""
    workspace(store, "acme", vera=Role.VIEWER)
    gate = ClaimsGate(store)

    def opened(**claims: str) -> tuple[Role, str | None] | None:
        event = {"requestContext": {"authorizer": {"jwt": {"claims": claims}}}}
        found = gate.visitor(Request({"type": "http", "headers": [], "aws.event": event}))
        return (found.role, found.workspace_id) if found else None

    assert opened(sub="vera", nilometer_workspace="acme") == (Role.VIEWER, "acme")
    assert opened(sub="ada", **{"custom:nilometer_workspace": "acme"}) == (Role.ADMIN, "acme")
    assert opened(sub="vera", nilometer_workspace="other") is None
    assert opened(sub="eve", nilometer_workspace="acme") is None
    assert opened(sub="ada", nilometer_workspace="acme", nilometer_role="Emperor") is None
    assert opened(sub="ada") is None
    assert gate.visitor(Request({"type": "http", "headers": [(b"nilometer_role", b"Admin")]})) is None


def test_a_form_comes_from_the_address_that_people_open() -> None:
    """The request's own host, or the proxy that is named; without an origin no page of another site sent it."""
    application_ = SimpleNamespace(state=SimpleNamespace(origins=frozenset({"https://console.example.com"})))

    def same(origin: str) -> bool:
        headers = [(b"host", b"api.example"), *([(b"origin", origin.encode())] if origin else [])]
        return _is_same(Request({"type": "http", "headers": headers, "app": application_}))

    assert [same(one) for one in ("", "https://api.example", "https://console.example.com")] == [True] * 3
    assert [same(one) for one in ("null", "https://evil.example", "https://api.example.evil")] == [False] * 3


@pytest.mark.parametrize(
    ("cookies", "role"),
    [
        ("", None),
        ("nilometer_key=wrong", None),
        ("nilometer_key=", None),
        ("nilometer_role=Admin", None),
        ("nilometer_key=right", "Admin"),
        ("nilometer_key=right; nilometer_role=Analyst", "Analyst"),
        ("nilometer_key=right; nilometer_role=Emperor", "Viewer"),
    ],
)
def test_a_console_with_a_key_is_closed_without_it(cookies: str, role: str | None) -> None:
    """Other users of the machine do not have it; a role that is none sees least."""
    request = Request({"type": "http", "headers": [(b"cookie", cookies.encode())]})

    found = LaptopGate(key="right").visitor(request)

    assert (found.role if found else None) == role


def test_no_text_turns_the_direction_of_a_page() -> None:
    """What came from outside is text: no markup, no override of direction, no control character; its lines stay."""
    odd = "a\u202egnp.exe\u2066\x1b[2J\x9b\nb<script>"

    page = environment().from_string("<pre>{{ odd }}</pre>").render(odd=odd)

    assert page == "<pre>a\ufffdgnp.exe\ufffd\ufffd[2J\ufffd\nb&lt;script&gt;</pre>"
