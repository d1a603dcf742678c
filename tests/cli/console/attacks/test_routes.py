"""Each route of the application is attacked as soon as it is there: strangers, forged forms, other workspaces' ids."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from starlette.routing import Mount, Route
from tests.support.stack.still import Silence, still
from tests.support.stack.visit import InsideVisit, Reply, Visit
from tests.support.stores.memory import MemoryObjects, MemoryStore

from nilometer.console.app import application
from nilometer.console.events import reading
from nilometer.console.http.visitor import ClaimsGate, Gate, LaptopGate, visitor_of
from nilometer.domain.recovery.refused import KeptReject
from nilometer.domain.recovery.trace import Trace, TracedEvent

ALL: Any = application(SimpleNamespace(feed=Silence()), gate=LaptopGate()).routes  # type: ignore[arg-type]  # not asked
READS = sorted(one.path for one in ALL if isinstance(one, Route) and "GET" in (one.methods or ()))
ACTIONS = sorted(one.path for one in ALL if isinstance(one, Route) and "POST" in (one.methods or ()))
OWN = {"/as", "/theme"}  # what a visitor does to his own session
OPEN = {"/portal"}  # has a token of its own
LIVE = "/events/stream"  # its answer stays open
NAMES = ("workspace", "workspace_id", "q", "text", "name", "object", "of_workspace_id", "id", "source", "account")


def filled(path: str, name: str) -> str:
    """With a value in the place of its parameters."""
    return path.replace(":path", "").format(workspace_id=quote(name, safe=""), part="mrr")


def test_every_route_is_tried() -> None:
    """What is neither read nor posted is the folder of assets; the lists are not empty by accident."""
    assert [one.path for one in ALL if not isinstance(one, Route)] == ["/static"]
    assert all(isinstance(one, Mount) or one.methods in ({"GET", "HEAD"}, {"POST"}) for one in ALL)
    assert {LIVE, "/workspaces/{workspace_id:path}"} < set(READS)
    assert set(ACTIONS) > OWN


@pytest.mark.parametrize("path", [path for path in (*READS, *ACTIONS) if path not in OPEN])
@pytest.mark.parametrize("gate", [LaptopGate(key="right"), ClaimsGate()], ids=["key", "token"])
def test_a_stranger_opens_no_route(path: str, gate: Gate, tmp_path: Any) -> None:
    """Without the key, or without a token that API Gateway has verified, whatever cookies and headers say."""
    lake = {"lake_uri": str(tmp_path), "storage_options": {}}
    app = application(still(MemoryStore(), MemoryObjects(), lake), gate=gate, streams=False)  # type: ignore[arg-type]
    stranger = InsideVisit("", app=app)
    stranger.get("/static/console.css")
    stranger.cookies |= {"nilometer_role": "Admin", "nilometer_key": "wrong"}
    method, form = ("POST", {"csrf": app.state.seal.token(stranger.cookies["nilometer_session"])})
    if path in READS:
        method, form = "GET", None  # type: ignore[assignment]  # reads have none

    answer = stranger.send(method, filled(path, "memphis"), form, {"nilometer_role": "Admin", "authorization": "x"})

    assert answer.status == 401
    assert "memphis" not in answer.text


@pytest.mark.parametrize("path", ACTIONS)
def test_a_forged_form_changes_nothing(visit: Visit, path: str) -> None:
    """Without a token, with one of another session, from another origin, and by the address."""
    visit.get("/workspaces")
    stranger = Visit(visit.url)
    stranger.get("/workspaces")

    assert visit.send("POST", path, {}).status == 403
    assert visit.send("POST", path, {"csrf": stranger.csrf}).status == 403
    assert visit.send("POST", path, {"csrf": visit.csrf}, {"origin": "https://evil.example"}).status == 403
    assert visit.send("POST", path, {"csrf": visit.csrf}, {"origin": "null"}).status == 403
    assert visit.send("POST", f"{path}?csrf={visit.csrf}", {}).status == 403
    assert visit.get(path).status in {404, 405}


@pytest.mark.parametrize("path", [path for path in ACTIONS if path not in OWN])
@pytest.mark.parametrize("looks", ["Manager", "Analyst", "Viewer", "Admin memphis"])
def test_only_an_admin_of_the_whole_stack_acts(visit: Visit, path: str, looks: str) -> None:
    """Whatever the form says."""
    role, _, workspace = looks.partition(" ")
    form = {"id": "x", "type": "invoice.paid", "workspace": "giza"}
    assert visit.look_as(role, workspace).post(path, form).status == 403


@pytest.fixture(scope="module")
def theirs(console: str) -> list[str]:
    """Ids of what belongs to giza: the workspace, an event by its name and by its id, a reject."""
    admin = Visit(console)
    listed = admin.get("/events/lake?workspace=giza&kind=usage").text
    event = re.findall(r"/event\?name=([^\"]+)", listed)[0].replace("%23", "#").replace("%2F", "/")
    [reject] = set(re.findall(r'name="id" value="([^"]+)"', admin.get("/operations/rejects").text))
    return ["giza", event, event.rpartition("#")[2], reject]


@pytest.mark.parametrize("path", [path for path in READS if path != LIVE])
@pytest.mark.parametrize("role", ["Admin", "Viewer"])
def test_no_route_tells_of_another_workspace(visit: Visit, theirs: list[str], path: str, role: str) -> None:
    """Whatever parameter names what, in the path or behind it: the answer is that for an id that is nobody's."""
    visit.look_as(role, "memphis")

    def asked(name: str) -> tuple[int, str]:
        query = urlencode(dict.fromkeys(NAMES, name))
        answer = visit.get(f"{filled(path, name)}?{query}&at=4000000000")
        shown = answer.text
        for form in (name, quote(name), quote(name, safe=""), name.rpartition("#")[2]):
            shown = shown.replace(form, "W")
        return answer.status, re.sub(r'value="W"|=W', "", shown)

    for known in theirs:
        unknown = known.rpartition("#")[0] + "#nobody" if "#" in known else "nobody"
        assert asked(known) == asked(unknown), known


class ClaimedWorkspace:
    """Lets in an Admin of one workspace, as a token with this claim does."""

    closed = "nobody else"

    def __init__(self, workspace_id: str) -> None:
        self._claims = {"sub": "ann", "nilometer_role": "Admin", "nilometer_workspace": workspace_id}

    def visitor(self, _request: Any) -> Any:
        return visitor_of(self._claims)


class OneLine:
    """A feed with one event of acme."""

    def poll(self) -> list[str]:
        line = {"message": "usage.accepted", "timestamp": "2026-11-29 05:08:01,123+0000", "event_id": "req_of_acme"}
        return [json.dumps({**line, "source": "/services/a", "workspace_id": "acme"})]


@pytest.mark.parametrize("path", READS)
def test_an_empty_claim_of_a_workspace_opens_none(path: str, tmp_path: Any) -> None:
    """A provider may put an empty text where a person has no workspace: that is not all of them."""

    def asked(claim: str) -> Reply:
        lake = {"lake_uri": str(tmp_path), "storage_options": {}}
        place = still(MemoryStore(), MemoryObjects(), lake, feed=OneLine())  # type: ignore[arg-type]  # as its readers ask
        app = application(place, gate=ClaimedWorkspace(claim), streams=False)
        return InsideVisit("", app=app).get(f"{filled(path, 'acme')}?workspace=acme")

    if path in {"/", "/events"}:
        assert "req_of_acme" in asked("acme").text
    assert asked("").status in {303, 400, 403, 404}
    assert "req_of_acme" not in asked("").text


def test_a_role_is_chosen_where_one_may_choose(tmp_path: Any) -> None:
    """Behind a token the menu says who one is, and has no form that would be refused."""
    place: Any = still(MemoryStore(), MemoryObjects(), {"lake_uri": str(tmp_path), "storage_options": {}})  # type: ignore[arg-type]  # as its readers ask
    token, laptop = (
        InsideVisit("", app=application(place, gate=gate)).get("/sql").text
        for gate in (ClaimedWorkspace(""), LaptopGate())
    )

    assert ('action="/as"' in token, "your role is in your token" in token) == (False, True)
    assert ('action="/as"' in laptop, "your role is in your token" in laptop) == (True, False)


def test_the_reject_of_an_event_is_its_senders() -> None:
    """Another sender may use the same id: his reject is not shown, resent or dismissed in its place."""
    now = datetime.now(UTC)
    fields: dict[str, Any] = {"flow": "usage", "at": now, "reason": "x", "message": "x", "payload": None}
    kept = [
        KeptReject(id=source, event_id="req_1", source=source, workspace_id=workspace_id, **fields)
        for source, workspace_id in (("/services/b", "globex"), ("/services/a", "acme"))
    ]
    place: Any = SimpleNamespace(clock=lambda: now, lane=lambda: SimpleNamespace(all=lambda *_, **__: kept))

    def found(kind: str, source: str | None) -> str | None:
        identity = TracedEvent(kind=kind, event_id="req_1", source=source)
        one = reading._reject(place, Trace(identity=identity, hops=(), gaps=()))
        return one.workspace_id if one else None

    assert found("usage_event", "/services/a") == "acme"
    assert found("usage_event", "/services/b") == "globex"
    assert found("usage_event", "/services/c") is None
    assert found("stripe_event", "self") == "globex"


def test_an_event_of_two_workspaces_shows_each_its_own(visit: Visit, ask: Any) -> None:
    """A customer who is linked anew changes two billing records; each workspace reads of itself alone."""
    for workspace in ("luxor", "edfu"):
        ask("workspace", "create", workspace)
    ask("trigger", "customer.subscription.created", "--workspace", "luxor")
    ask("wait")
    moves = ("--workspace", "luxor", "--set", "metadata.workspace_id=edfu")
    event = ask("trigger", "customer.updated", *moves, "--json").json["id"]
    ask("wait")

    whole = visit.get(f"/event?name={event}").text
    own = visit.look_as("Analyst", "edfu").get(f"/event?name={event}")

    assert {"WORKSPACE#luxor BILLING", "WORKSPACE#edfu BILLING"} <= set(re.findall(r"WORKSPACE#\w+ BILLING", whole))
    assert own.status == 200
    assert "WORKSPACE#edfu BILLING" in own.text
    assert "luxor" not in own.text
    assert "luxor" not in visit.get("/workspaces/edfu").text
    assert visit.look_as("Analyst", "luxor").get(f"/event?name={event}").status == 404


def test_the_stream_tells_of_no_other_workspace(visit: Visit, console: str) -> None:
    """All rows that are there come at once: those of one's own workspace."""

    def rows(until: bytes = b"", *, seconds: float) -> str:
        """What comes, each line within so many seconds of the one before."""
        cookies = "; ".join(f"{name}={value}" for name, value in visit.cookies.items())
        connection = http.client.HTTPConnection(console.removeprefix("http://"), timeout=30)
        connection.request("GET", f"{LIVE}?workspace=giza&since=0", headers={"cookie": cookies})
        answer = connection.getresponse()
        assert connection.sock
        connection.sock.settimeout(seconds)
        content = b""
        with contextlib.suppress(TimeoutError):
            while (not until or until not in content) and (line := answer.readline()):
                content += line
        connection.close()
        return content.decode()

    visit.get("/workspaces")
    assert "giza" in rows(b"giza", seconds=60)
    visit.look_as("Admin", "memphis")
    assert "giza" not in rows(seconds=2)
