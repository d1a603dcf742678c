"""Markup in every field that anybody can write stays text on every page that shows it."""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Iterator, Mapping, Set
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from docs.entities import ENTITIES
from tests.support.command_line import CommandLine
from tests.support.flows.operations import NOW
from tests.support.people import member, workspace
from tests.support.stack.still import still
from tests.support.stack.visit import InsideVisit, Visit
from tests.support.stores.memory import MemoryObjects, MemoryStore

from nilometer import (
    AcceptPolicy,
    AdvanceOnboarding,
    Channel,
    DeclareDataset,
    DeclaredColumn,
    GrantLimit,
    Invite,
    IssueToken,
    Notify,
    OpenSession,
    OverrideFlag,
    Policy,
    PublishPolicy,
    ReportSecurity,
    SetFlag,
    SetPreference,
    UpdateWorkspace,
    issue,
    operator,
    perform,
    service,
)
from nilometer.console.app import application
from nilometer.console.http.visitor import LaptopGate
from nilometer.domain.access import lockout
from nilometer.domain.access.token import TokenPurpose
from nilometer.domain.acts.roles import Role
from nilometer.domain.acts.security import Reported
from nilometer.domain.store import keys
from nilometer.domain.store.compressed import pack_record
from nilometer.domain.store.writes import Item, Table, new_item
from nilometer.local.demo.delivery import WebhookClient
from nilometer.local.stripe.event_types import EVENT_TYPES
from nilometer.local.stripe.samples import sample

RAW = "<img src=x onerror=alert(1)>"
"""Ends attributes, too. No page has it otherwise."""
ESCAPED = html.escape(RAW)
NEEDED = {"id", "object", "type", "api_version"}  # an event without them is none
KEYED = {"pk", "sk", "kind", "gsi1pk", "gsi1sk"}  # where a record is, not what it says
WRITTEN = {"name", "user_id", "email", "title", "flag", "status", "role", "topic"}
"""Fields that people write, which must be among those that are tried."""
PROJECT_TEMPLATES = "src/nilometer/console/templates"


def poisoned(value: Any, *, only: str | None = None, kept: Set[str] = frozenset()) -> Any:
    """Every text in it but the `kept` fields is markup; with `only` the fields of that name."""
    if isinstance(value, Mapping):
        return {
            name: f'{RAW}" {name}'
            if isinstance(inner, str) and name not in kept and only in {None, name}
            else inner
            if isinstance(inner, str)
            else poisoned(inner, only=only, kept=kept)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [poisoned(one, only=only, kept=kept) for one in value]
    return RAW if isinstance(value, str) and only is None else value


def texts(value: Any) -> Iterator[str]:
    """The names of all fields with a text."""
    if isinstance(value, Mapping):
        yield from (name for name, inner in value.items() if isinstance(inner, str))
    for inner in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from texts(inner)


# ---------------------------------------------------------------- templates


def templates(project: Path) -> list[Path]:
    return sorted((project / PROJECT_TEMPLATES).rglob("*.html"))


def test_no_template_trusts_what_it_shows(project: Path) -> None:
    """None says that a value is safe or ends the escaping; none puts a value into a script or a style."""
    assert len(templates(project)) > 20
    for path in templates(project):
        text = path.read_text()
        assert not re.search(r"\|\s*safe\b|autoescape|Markup|<[a-z][^<>{]*\son[a-z]+\s*=", text), path
        assert not re.search(r"<(script|style)\b[^>]*>[^<]*\{\{", text), path


def test_each_value_in_a_tag_stands_in_quotes(project: Path) -> None:
    """Escaping does not help a value without them."""
    for path in templates(project):
        bare = re.sub(r"\{%.*?%\}|\{#.*?#\}", "", path.read_text(), flags=re.DOTALL)
        marked = re.sub(r"\{\{.*?\}\}", "\0", bare, flags=re.DOTALL)
        for tag in re.findall(r"<[a-zA-Z][^<>]*>", re.sub(r'"[^"]*"|\'[^\']*\'', '""', marked)):
            assert "\0" not in tag, (path, tag)


def test_no_value_begins_an_address(project: Path) -> None:
    """What an event holds is never the scheme of a link: `javascript:` has no character to escape."""
    ours = {"{{ address }}", "{{ links[column] }}"}
    for path in templates(project):
        for address in re.findall(r'\b(?:href|src|action|hx-get|hx-post)="(\{\{.*?\}\})', path.read_text()):
            assert address in ours, (path, address)


# ---------------------------------------------------------------- events


def hostile_events() -> dict[str, dict[str, Any]]:
    """By id: one of each type with every text replaced, and for each field one in which that alone is."""
    now, made = datetime.now(UTC), {}
    for event_type in EVENT_TYPES:
        event = sample(event_type, "hostile", now)
        made[f"evt_all_{_short(event_type)}"] = event | {"data": poisoned(event["data"], kept=NEEDED)}
        for name in sorted({*texts(event["data"])}):
            field = f"evt_one_{_short(name)}"
            made.setdefault(field, event | {"data": poisoned(event["data"], only=name)})
    return {event_id: event | {"id": event_id} for event_id, event in made.items()}


def _short(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:12]


@pytest.fixture(scope="module")
def stormed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    """The console of a stack of its own that has taken them all, and names by commands."""
    run = CommandLine(tmp_path_factory.mktemp("stormed"))
    running = run.local()
    origin = running.about["webhook_url"].removesuffix("/webhooks/stripe")
    port = origin.rpartition(":")[2]
    webhook = WebhookClient(running.about["webhook_url"], secret=running.about["stripe_secret"])
    bodies = [json.dumps(event).encode() for event in hostile_events().values()]
    assert all(one.status for one in webhook.deliver_all(enumerate(bodies)))
    named = [
        ("workspace", "create", "hostile", "--name", RAW),
        ("member", "add", "hostile", RAW, "--role", "Admin"),
        ("meter", "create", "calls", "--unit", "call", "--aggregation", "sum"),
        ("flag", "set", "shown", "--description", RAW),
        ("notification", "send", "hostile", RAW, "--topic", "exports.ready", "--title", RAW),
        ("usage", "send", "--workspace", "hostile", "--meter", "calls", "--quantity", "1", "--id", RAW),
        ("usage", "send", "--workspace", RAW, "--meter", "calls", "--quantity", "1"),
        ("usage", "send", "--workspace", "hostile", "--meter", RAW, "--quantity", "1"),
        ("usage", "send", "--workspace", "hostile", "--meter", "calls", "--quantity", "1", "--source", f"/{RAW}"),
    ]
    for words in named:
        run(*words, "--port", port)
    assert run("wait", "--port", port).code == 0
    yield Visit(Visit(origin).get("/").headers["location"].rstrip("/"))
    assert running.stop()[0] == 0


PAGES = (
    "/events",
    "/events?outcome=rejected",
    f"/events?text={quote(RAW)}&type={quote(RAW)}&workspace={quote(RAW)}",
    f"/events/lake?text={quote(RAW)}&object={quote(RAW)}&after={quote(RAW)}",
    f"/event?name={quote(RAW)}",
    "/workspaces",
    f"/workspaces?q={quote(RAW)}",
    "/workspaces/hostile",
    "/workspaces/hostile/history",
    "/workspaces/hostile/as-of?at=4000000000",
    f"/workspaces/{quote(RAW, safe='')}",
    *(f"/money/{part}" for part in ("mrr", "movement", "churn", "cohorts", "revenue", "receivables", "usage_revenue")),
    *(f"/money/{part}" for part in ("failed", "ended", "usage")),
    f"/money?from=2026-01-01&known={quote(RAW)}",
    f"/money?from=2026-01-01&account={quote(RAW)}",
    f"/money/revenue?account={quote(RAW)}",
    f"/money/events/mrr?of_currency={quote(RAW)}",
    "/operations",
    "/operations/rejects",
    "/operations/letters",
    f"/operations/letter?id={quote(RAW)}",
    "/operations/schedules",
    "/operations/reconcile",
    *(f"/sql?q={quote(asked)}" for asked in ("from stripe_events", "from audit", "from usage", RAW)),
    f"/portal?token={quote(RAW)}",
)


@pytest.mark.parametrize("path", PAGES)
def test_no_page_makes_an_element_of_what_events_hold(stormed: Visit, path: str) -> None:
    """As they were sent to the webhook and the bus; and a parameter is text, too."""
    assert RAW not in stormed.get(path).text


def test_every_field_of_every_type_is_shown_as_text(stormed: Visit) -> None:
    """The lake lists each type; the page of each field's event shows the markup and makes nothing of it."""
    seen, path = "", "/events/lake?kind=stripe"
    while path:
        text = stormed.get(path).text
        assert RAW not in text
        seen += text
        older = re.search(r'href="(/events/lake\?[^"]*after=[^"]*)"', text)
        path = html.unescape(older[1]) if older else ""
    assert all(f"evt_all_{_short(event_type)}" in seen for event_type in EVENT_TYPES)
    fields = [event_id for event_id in hostile_events() if event_id.startswith("evt_one_")]
    assert len(fields) > 40
    for event_id in fields:
        page = stormed.get(f"/event?name={event_id}").text
        assert RAW not in page
        assert "&lt;img" in page or "redacted" in page, event_id


def test_a_browser_makes_nothing_of_it(stormed: Visit, chromium: Any) -> None:
    """Neither of the page, nor of rows that come live, nor of a chart's names."""
    days = "(values (date '2026-11-01', 1), (date '2026-11-02', 2)) as t(day, v)"
    sql = f"select day, v as \"{RAW}\", '{RAW}' as t from {days}"  # noqa: S608  # the attack
    page = chromium.new_context(base_url=stormed.url).new_page()
    for path in ("/events?outcome=rejected", "/workspaces/hostile", "/operations", f"/sql?q={quote(sql)}", "/money"):
        page.goto(path)
        page.wait_for_timeout(800)
        assert page.locator("img[src=x]").count() == 0, path
    page.close()


# ---------------------------------------------------------------- records


BOB = member("bob", Role.VIEWER)
DOOR = service("ws", "services")
DEEDS = (
    (DOOR, UpdateWorkspace(slug="acme")),
    (service("ws", "exports"), Notify(user_id="bob", topic="exports.ready", title="t")),
    (service("ws", "exports"), Notify(user_id="ada", topic="exports.ready", title="t")),
    *[(DOOR, ReportSecurity(action=Reported.LOGIN_FAILED, user_id="bob")) for _ in range(lockout.FAILURES)],
    (BOB, AdvanceOnboarding(tutorial="start", step="invite")),
    (BOB, SetPreference(topic="*", channels={Channel.EMAIL: False})),
    (
        operator("legal"),
        PublishPolicy(policy=Policy.TERMS, version=1, url="https://x", content_sha256="ab" * 32, effective_at=NOW),
    ),
    (BOB, AcceptPolicy(policy=Policy.TERMS, version=1)),
    (operator("ops"), SetFlag(flag="exports", rollout=30)),
    (member("ada", Role.ADMIN), OverrideFlag(flag="exports", enabled=True)),
    (
        operator("ops"),
        DeclareDataset(dataset="orders", mode="append", columns=[DeclaredColumn(name="id", type="string")]),
    ),
    (service("ws", "ops"), GrantLimit(meter="calls", grant="g", amount="5")),
)
ISSUES = (
    (member("ada", Role.ADMIN), Invite(email="grace@example.com", role=Role.VIEWER)),
    (DOOR, IssueToken(user_id="bob", purpose=TokenPurpose.PASSWORD_RESET)),
    (DOOR, OpenSession(user_id="ada")),
)
BILLING = {"plan": "reed", "status": "active", "access": "full", "seats": 1, "customers": [], "open_invoices": []}
OTHERS = {"attachment", "attachment_sweep", "api_key", "link", "meter", "webhooks"}
"""Kinds that no page reads; a page names the meter of a counter and the links of a subscription from other records."""


def records() -> MemoryStore:
    """Of one workspace with people, one at least of every kind that a page reads."""
    store = MemoryStore()
    workspace(store, bob=Role.VIEWER)
    for caller, deed in DEEDS:
        perform(store, caller, deed, now=NOW)
    for caller, asked in ISSUES:
        issue(store, caller, asked, now=NOW)
    billing = {**BILLING, "conflicts": [], "cause": "evt_1", "updated_at": "2026-11-01T00:00:00.000Z", "version": 1}
    inputs = pack_record(b'{"customers": {}, "catalog": {}}')
    store.put_all(Table.RECORDS, [new_item(keys.billing("ws"), "billing", workspace_id="ws", inputs=inputs, **billing)])
    return store


def test_every_kind_is_among_them() -> None:
    """Of those that the page of entities names."""
    named = {kind for entity in ENTITIES for kind in entity.kinds}

    assert named - {item["kind"] for item in records().scan(Table.RECORDS)} == OTHERS


FIELDS = sorted(
    {name for item in records().scan(Table.RECORDS) for name in texts(item) if re.fullmatch(r"[a-z_]+", name)} - KEYED
)


def test_fields_that_people_write_are_among_them() -> None:
    """So the list below is no list of nothing."""
    assert set(FIELDS) >= WRITTEN


@pytest.mark.parametrize("field", FIELDS)
def test_no_page_makes_an_element_of_what_a_record_holds(field: str, tmp_path: Path) -> None:
    """The field of this name in every record of every kind, as if somebody had got it there."""
    store = records()
    items: list[Item] = [poisoned(item, only=field, kept=KEYED) for item in store.scan(Table.RECORDS)]
    store.put_all(Table.RECORDS, items)
    lake = {"lake_uri": str(tmp_path), "storage_options": {}}
    place = still(store, MemoryObjects(), lake, clock=lambda: NOW)  # type: ignore[arg-type]  # as its readers ask
    inside = InsideVisit("", app=application(place, gate=LaptopGate()))

    pages = [inside.get(path) for path in ("/workspaces", "/workspaces?q=ws", "/workspaces/ws")]

    assert all(RAW not in page.text for page in pages)
    if field in {"name", "user_id", "plan", "status"}:
        assert any(ESCAPED in page.text for page in pages), [page.status for page in pages]
