"""What the console refuses before any page runs."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.requests import Request
from starlette.routing import Route
from tests.support.stack.visit import Visit

from nilometer.console.events import pages as events
from nilometer.console.http.guard import Seal
from nilometer.console.http.visitor import LaptopGate, visitor_of
from nilometer.console.money import pages as money
from nilometer.console.operations import pages as operations
from nilometer.console.sql import pages as sql
from nilometer.console.workspaces import pages as workspaces
from nilometer.domain.acts.roles import Permission

ACTIONS = (
    "/as",
    "/theme",
    "/events/trigger",
    "/events/replay",
    "/rejects/resend",
    "/rejects/dismiss",
    "/letters/redrive",
    "/letters/purge",
    "/operations/verify",
    "/operations/doctor",
)


ROUTES = [route for subject in (events, workspaces, operations, money, sql) for route in subject.routes()]
READS = sorted(route.path for route in ROUTES if isinstance(route, Route) and "GET" in (route.methods or ()))


def test_the_actions_are_all_that_are_posted() -> None:
    """A new action is tried below, too."""
    posted = {route.path for route in ROUTES if isinstance(route, Route) and "POST" in (route.methods or ())}

    assert posted | {"/as", "/theme"} == set(ACTIONS)


@pytest.mark.parametrize("path", [path for path in READS if path != "/events/stream"])
def test_no_route_tells_of_another_workspace(visit: Visit, path: str) -> None:
    """Whatever parameter names it, in the path or behind it: the answer is that for one that is not there."""
    visit.look_as("Admin", "memphis")

    def asked(workspace: str) -> tuple[int, str]:
        names = ("workspace", "workspace_id", "q", "text", "name", "object", "of_workspace_id", "id")
        query = "&".join(f"{name}={workspace}" for name in names)
        answer = visit.get(path.format(workspace_id=workspace, part="mrr") + f"?{query}&at=4000000000")
        return answer.status, answer.text.replace(workspace, "W")

    assert asked("giza") == asked("nobody")


def test_every_answer_carries_the_strict_headers(visit: Visit) -> None:
    """No inline script or style runs, no other site frames or reads a page; failures and files too."""
    for path in ("/", "/nowhere", "/event", "/static/console.css"):
        headers = visit.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"


def test_a_foreign_host_is_refused(visit: Visit) -> None:
    """A page of another site whose name resolves to this machine gets nothing."""
    assert visit.get("/", host="evil.example").status == 421


@pytest.mark.parametrize("path", ACTIONS)
def test_a_forged_form_changes_nothing(visit: Visit, path: str) -> None:
    """Without a token, with one of another session, and from another origin."""
    visit.get("/workspaces")
    stranger = Visit(visit.url)
    stranger.get("/workspaces")

    assert visit.send("POST", path, {}).status == 403
    assert visit.send("POST", path, {"csrf": stranger.csrf}).status == 403
    assert visit.send("POST", path, {"csrf": visit.csrf}, {"origin": "https://evil.example"}).status == 403
    assert visit.get(path).status in {404, 405}


@pytest.mark.parametrize("path", [path for path in ACTIONS if path not in {"/as", "/theme"}])
@pytest.mark.parametrize("looks", ["Manager", "Analyst", "Viewer", "Admin memphis"])
def test_only_an_admin_of_the_whole_stack_acts(visit: Visit, path: str, looks: str) -> None:
    """Whatever the form says."""
    role, _, workspace = looks.partition(" ")
    assert visit.look_as(role, workspace).post(path, {"id": "x", "type": "invoice.paid"}).status == 403


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
