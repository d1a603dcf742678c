"""Workspaces in the browser: the list, one of them, its history; what each role sees of it."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.support.people import workspace
from tests.support.stack.proof.production import until
from tests.support.stack.still import still
from tests.support.stack.visit import InsideVisit, Visit
from tests.support.stores.memory import MemoryObjects, MemoryStore

from nilometer.console.app import application
from nilometer.console.http.formats import brief, number, of_field
from nilometer.console.http.rendering import environment
from nilometer.console.http.visitor import LaptopGate
from nilometer.console.workspaces import pages, reading
from nilometer.domain.acts.roles import Role
from nilometer.domain.lake.change import ItemAction
from nilometer.domain.recovery.history import Step
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table, new_item


def text_of(page: str) -> str:
    """As people read it."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))


def test_the_list_is_the_command_lines(visit: Visit, ask: Any) -> None:
    """Each workspace with its plan and status."""
    page = visit.get("/workspaces").text
    for row in ask("billing", "list", "--json").lines:
        assert f">{row['workspace']}<" in page
        assert row["plan"] is None or row["plan"] in page


def test_figures_of_a_workspace_are_the_command_lines(visit: Visit, ask: Any) -> None:
    """Usage, limits, plan and why."""
    shown = text_of(visit.get("/workspaces/memphis").text)

    for meter in ask("usage", "show", "memphis", "--json").json["meters"]:
        assert f"{number(Decimal(meter['used']))} {meter['unit']}" in shown
        assert f"in {number(meter['count'])} events" in shown
        assert f"{number(Decimal(meter['limit']))} included" in shown
    told = ask("billing", "show", "memphis", "--json").json
    assert all(str(told[name]) in shown for name in ("plan", "access", "status", "subscription", "cause"))
    [explained] = ask("billing", "explain", told["subscription"], "--json").lines
    assert explained["because"] in shown


def test_usage_by_day_is_the_lakes(visit: Visit, ask: Any) -> None:
    """The counters of days beside the recipe's sums."""
    shown = text_of(visit.get("/workspaces/memphis").text)

    rows = [
        row for row in ask("query", "--recipe", "usage-per-day", "--json").lines if row["workspace_id"] == "memphis"
    ]
    assert rows
    for row in rows:
        assert f"{row['day']} {number(Decimal(row['quantity']))}" in shown


def test_history_and_as_of_are_the_command_lines(visit: Visit, ask: Any) -> None:
    """Each change by its cause; before the first nothing was known."""
    history = ask("billing", "history", "memphis", "--json").lines
    page = visit.get("/workspaces/memphis/history").text

    assert all(step["cause"] in page for step in history)
    assert "papyrus" in visit.get("/workspaces/memphis/as-of?at=4000000000").text
    assert "Nothing was known" in visit.get("/workspaces/memphis/as-of?at=1").text
    for nonsense in ("x", "-1", "9" * 30, ""):
        assert visit.get(f"/workspaces/memphis/as-of?at={nonsense}").status == 400


@pytest.mark.parametrize(
    ("role", "money", "history", "security"),
    [
        ("Admin", True, True, True),
        ("Manager", True, True, False),
        ("Analyst", True, True, False),
        ("Viewer", False, False, False),
    ],
)
def test_a_role_sees_what_the_matrix_says(visit: Visit, role: str, money: bool, history: bool, security: bool) -> None:
    """Plan and invoices, history, security log; usage and limits everybody."""
    visit.look_as(role)
    page = visit.get("/workspaces/siwa").text

    assert "Usage in this period" in page
    assert ("papyrus" in visit.get("/workspaces").text) is money
    assert ("Invoices" in visit.get("/workspaces/memphis").text) is money
    assert (visit.get("/workspaces/memphis/history").status == 200) is history
    assert ("Security log" in page) is security


@pytest.mark.parametrize("path", ["", "/history", "/as-of?at=4000000000"])
@pytest.mark.parametrize("role", ["Admin", "Viewer"])
def test_another_workspace_does_not_exist(visit: Visit, path: str, role: str) -> None:
    """For who sees one workspace: the same answer as for one that is not there."""
    visit.look_as(role, "memphis")

    theirs, nobodys = visit.get(f"/workspaces/giza{path}"), visit.get(f"/workspaces/nobody{path}")

    assert (theirs.status, nobodys.status) == (404, 404)
    assert theirs.text.replace("giza", "nobody") == nobodys.text
    assert visit.get("/workspaces").headers["location"] == "/workspaces/memphis"


def test_names_of_a_workspace_are_text(visit: Visit, ask: Any) -> None:
    """Markup in a name, an id, a member, a flag is shown as it is and never becomes an element."""
    bad = "<b onmouseover=alert(1)>\"'"
    ask("workspace", "create", "hostile", "--name", bad)
    ask("member", "add", "hostile", "<svg/onload=alert(1)>", "--role", "Admin")

    by_id = quote(bad, safe="")
    for path in ("/workspaces", "/workspaces/hostile", f"/workspaces/{by_id}", f"/workspaces?q={by_id}"):
        page = visit.get(path).text
        assert "<b onmouseover" not in page, path
        assert "<svg/onload" not in page, path
        assert "&lt;b onmouseover" in page, path


def test_the_slider_shows_the_record_as_it_was(tab: Any, ask: Any) -> None:
    """Moved to its beginning, the state is another. No other test names its workspace, which has one payer."""
    same = ("--workspace", "esna", "--set", "id=sub_esna", "--set", "customer=cus_esna")
    for event, status in (("created", "active"), ("updated", "past_due")):
        assert ask("trigger", f"customer.subscription.{event}", *same, "--set", f"status={status}").code == 0
        ask("wait")
    until(lambda: _as_of(tab, "esna", "past_due"), seconds=90)

    tab.eval_on_selector(
        "input[type=range]", "one => { one.value = one.min; one.dispatchEvent(new Event('input', {bubbles: true})); }"
    )

    tab.wait_for_selector("#as-of:has-text('It was, at')")
    tab.wait_for_selector("#as-of >> text=active")


def _as_of(tab: Any, workspace_id: str, text: str) -> bool:
    """Whether a fresh page has the text in what the record is now."""
    tab.goto(f"/workspaces/{workspace_id}")
    tab.wait_for_selector("#as-of:has-text('It was, at')")
    return text in tab.inner_text("#as-of")


def test_the_list_goes_on_at_its_cursor(store: Any) -> None:
    """Every workspace is on one page, once, also when its items lie on both sides of a cursor."""
    for number_ in range(reading.PAGE * 2 + 7):
        for key in (keys.workspace(f"w{number_}"), keys.billing(f"w{number_}")):
            kind = "workspace" if key.sk == "WORKSPACE" else "billing"
            store.put_all(Table.RECORDS, [new_item(key, kind, workspace_id=f"w{number_}", name="n")])
    seen: list[str | None] = []
    cursor: str | None = None
    while True:
        found = reading.listed(store, cursor)
        seen += [row.workspace_id for row in found.rows]
        cursor = found.after
        if cursor is None:
            break

    assert sorted(map(str, seen)) == sorted(f"w{number_}" for number_ in range(reading.PAGE * 2 + 7))
    assert len(reading.listed(store, "nonsense").rows) == reading.PAGE


def test_a_change_shows_times_as_times_and_no_key_of_an_index() -> None:
    """Stripe's seconds read as a day; what is long is cut, and a text with markup stays a text."""
    names = ("current_period_end", "gsi2pk", "seats")
    step = Step(
        key=keys.billing("w"),
        occurred_at=datetime.now(UTC),
        action=ItemAction.INSERT,
        actor=None,
        cause=None,
        old=None,
        new=dict.fromkeys(names, 1_796_083_200),
    )
    shown = environment().from_string("{% for n, (_, v) in told %}{{ n }}={{ v | of_field(n, 80) }};{% endfor %}")

    text = text_of(shown.render(told=pages.changed(step).items()))

    assert text == "current_period_end= 01 Dec 2026 00:00:00 UTC ;seats=1,796,083,200;"
    assert brief("<" * 400) == "<" * 300 + " … (400 characters)"
    assert brief("<" * 300) == "<" * 300
    assert of_field(10**30, "ends_at") == number(10**30)


@pytest.mark.parametrize("name", ["acme/b", "a b", "a%2Fb", "a#b?c", "w\u00f6rk", "\u65e5\u672c", 'a"b;c'])
def test_a_workspace_of_any_id_opens(tmp_path: Path, name: str) -> None:
    """By its link in the list, with its history; and one can look as its member."""
    store = MemoryStore()
    workspace(store, name)  # type: ignore[arg-type]  # as it asks
    lake = {"lake_uri": str(tmp_path), "storage_options": {}}
    app = application(still(store, MemoryObjects(), lake), gate=LaptopGate())  # type: ignore[arg-type]  # as its readers ask
    inside = InsideVisit("", app=app)

    [link] = re.findall(r'href="(/workspaces/[^"]+)"', inside.get("/workspaces").text)
    page = inside.get(html.unescape(link))

    assert page.status == 200
    assert f'<span class="mono">{name}</span>' in html.unescape(page.text)
    assert inside.get(f"{html.unescape(link)}/history").status == 200
    inside.look_as("Viewer", name)
    assert inside.get("/workspaces").headers["location"] == html.unescape(link)
    assert inside.get(html.unescape(link)).status == 200
    assert inside.get("/workspaces/").status == 404


def test_a_page_of_many_members_is_cut(tmp_path: Path) -> None:
    """And says so."""
    store = MemoryStore()
    workspace(store, "big", **{f"user_{number_:04}": Role.VIEWER for number_ in range(130)})  # type: ignore[arg-type]  # as it asks
    lake = {"lake_uri": str(tmp_path), "storage_options": {}}
    app = application(still(store, MemoryObjects(), lake), gate=LaptopGate())  # type: ignore[arg-type]  # as its readers ask

    page = InsideVisit("", app=app).get("/workspaces/big").text

    assert "100 of 131 members, in the order of their ids." in page
    assert len(re.findall(r"<td>user_[0-9]{4}</td><td>Viewer", page)) == 99  # and ada
