"""Each page and action of the console as a person takes it, on the demo's month, with the command line's figures."""

from __future__ import annotations

import csv
import re
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from nilometer.console.http.formats import money, number

LOADS = 90_000  # ms: parts that ask the lake


def rows(tab: Any) -> list[str]:
    """Of the events that a page lists."""
    return [" ".join(text.split()) for text in tab.locator("li.event").all_inner_texts()]


def chosen(tab: Any, **fields: str) -> list[str]:
    """What is listed once the filter is set so."""
    for name, value in fields.items():
        field = tab.locator(f"form[role=search] [name={name}]")
        if name in {"kind", "outcome"}:
            field.select_option(value)
        else:
            field.fill(value)
    with tab.expect_navigation():
        tab.click("form[role=search] button")
    return rows(tab)


# ---------------------------------------------------------------- events


@pytest.mark.parametrize("path", ["/events", "/events/lake"])
def test_events_are_filtered(tab: Any, path: str) -> None:
    """By type, kind, workspace, outcome and text, alone and together; what nothing fits says what to do."""
    tab.goto(path)
    everything = rows(tab)

    invoices = chosen(tab, type="invoice")
    assert invoices
    assert all("invoice" in row for row in invoices)
    tab.goto(path)
    assert 0 < len(chosen(tab, kind="usage")) <= len(everything)
    theirs = chosen(tab, kind="", workspace="giza")
    assert theirs
    assert all("giza" in row for row in theirs)
    tab.goto(path)
    refused = chosen(tab, outcome="rejected")
    assert any("stray" in row for row in refused)
    assert all(row.endswith("rejected") for row in refused)
    assert all("stray" in row for row in chosen(tab, text="stray"))
    assert chosen(tab, outcome="accepted") == []
    assert tab.locator(".empty:visible").count() == 1


def test_the_stream_keeps_the_filter(tab: Any, ask: Any) -> None:
    """What comes live and does not fit stays away."""
    tab.goto("/events?workspace=live-1")
    tab.wait_for_selector(".live[data-state=live]")
    ask("trigger", "customer.subscription.created", "--workspace", "other-1")
    fits = ask("trigger", "customer.subscription.created", "--workspace", "live-1", "--json").json

    tab.wait_for_selector(f"li.event:has-text('{fits['id']}')", timeout=LOADS)
    assert all("other-1" not in row for row in rows(tab))


def test_a_reject_is_resent_in_the_browser(tab: Any, ask: Any) -> None:
    """From its own page: it says so, and since its meter is still unknown it is refused again."""
    tab.goto("/events/lake?outcome=rejected")
    tab.click("li.event:has-text('stray') a")
    tab.wait_for_load_state()
    assert "unknown meter" in tab.inner_text(".note")
    tab.click("button:text-is('Resend')")

    assert "resent" in tab.wait_for_selector("#done .said", timeout=LOADS).inner_text()
    ask("wait")
    assert [one["event_id"] for one in ask("rejects", "list", "--json").lines] == ["stray"]


def test_usage_is_replayed_in_the_browser(tab: Any, ask: Any) -> None:
    """It counts once, and its page shows the payload and its way to the lake."""
    before = ask("usage", "show", "giza", "--json").json
    tab.goto("/events/lake?kind=usage&workspace=giza&outcome=accepted")
    tab.click("li.event a >> nth=0")
    tab.wait_for_load_state()
    assert "giza" in tab.inner_text("pre >> nth=0")
    tab.click("button:text-is('Replay')")

    assert "published again" in tab.wait_for_selector("#done .said", timeout=LOADS).inner_text()
    ask("wait")
    assert ask("usage", "show", "giza", "--json").json == before


# ---------------------------------------------------------------- workspace


def test_each_part_of_a_workspace_is_there(tab: Any, ask: Any) -> None:
    """Plan and why, access, gauges, usage by day, invoices, rule, members, flags, security log, notices, history."""
    ask("workspace", "create", "abydos", "--name", "Temple of Abydos", "--admin", "ann")
    ask("flag", "set", "exports", "--description", "CSV")
    ask("notification", "send", "abydos", "ann", "--topic", "exports.ready", "--title", "Done")
    ask("trigger", "customer.subscription.created", "--workspace", "abydos")
    ask("usage", "send", "--workspace", "abydos", "--meter", "api_calls", "--quantity", "7")
    ask("wait")
    told = ask("billing", "show", "abydos", "--json").json
    [used] = ask("usage", "show", "abydos", "--json").json["meters"]

    tab.goto("/workspaces?q=abydos")
    tab.click("main table a:has-text('abydos'), main a:has-text('abydos')")
    tab.wait_for_selector("h1:has-text('Temple of Abydos')")
    tab.wait_for_load_state()
    page = tab.inner_text("main")

    assert told["plan"] in tab.inner_text(".tile:has-text('Plan')")
    assert told["access"] in tab.inner_text(".tile:has-text('Access')").lower()
    assert f"{number(Decimal(used['used']))} {used['unit']}" in page
    for heading in ("What it has, and why", "Invoices", "Which rule decided", "Members", "Flags", "Security log"):
        assert tab.locator(f"h2:has-text('{heading}')").count() == 1, heading
    for shown in ("ann", "exports", "exports.ready", told["subscription"]):
        assert shown in page, shown
    assert tab.locator(".gauge svg").count() >= 1
    tab.wait_for_selector(".chart canvas")
    tab.wait_for_selector("input[type=range]", timeout=LOADS)
    assert told["cause"] in tab.inner_text("section:has(h2:text('History of its billing'))")


@pytest.mark.parametrize(
    ("role", "pages"),
    [
        ("Admin", ["Events", "Workspaces", "Money", "Operations", "SQL"]),
        ("Manager", ["Events", "Workspaces", "Money", "Operations", "SQL"]),
        ("Analyst", ["Events", "Workspaces", "Money", "Operations", "SQL"]),
        ("Viewer", ["Workspaces"]),
    ],
)
def test_a_role_is_chosen_and_sees_its_pages(tab: Any, role: str, pages: list[str]) -> None:
    """In the menu; each page of the head opens, and only an Admin has buttons that act."""
    tab.goto("/workspaces")
    tab.click("details.menu summary")
    tab.select_option("select[name=role]", role)
    with tab.expect_navigation():
        tab.click("details.menu button:has-text('Look')")

    assert tab.locator(".nav a").all_inner_texts() == pages
    for name in pages:
        tab.click(f".nav a:text-is('{name}')")
        tab.wait_for_selector(f".nav a[aria-current=page]:text-is('{name}')")
        tab.wait_for_load_state()
        acts = tab.locator("main form[method=post]").count()
        assert (acts > 0) is (role == "Admin" and name in {"Events", "Operations"}), name


def test_colours_are_chosen(tab: Any) -> None:
    """They stay, on every page."""
    tab.goto("/workspaces")
    tab.click("details.menu summary")
    tab.select_option("select[name=theme]", "dark")
    tab.wait_for_selector("html[data-theme=dark]")
    tab.goto("/sql")
    assert tab.get_attribute("html", "data-theme") == "dark"


# ---------------------------------------------------------------- money and SQL


def test_money_opens_into_events_and_files(tab: Any, ask: Any, tmp_path: Path) -> None:
    """Each section loads; the figure is the command line's, its link leads to events, its file has the same rows."""
    told = ask("metric", "mrr_daily", "--json").lines
    tab.goto("/money")
    tab.wait_for_selector("main .sheet p.muted:has-text('Asking the lake')", state="detached", timeout=LOADS)
    figure = tab.locator(".figure").first
    assert figure.inner_text() in {money(row["mrr"], row["currency"]) for row in told}
    sheets = tab.locator("main section.sheet")
    assert sheets.count() == 10

    with tab.expect_download() as download:
        tab.click("section:has(h2:text('Monthly recurring revenue')) >> text=CSV")
    file = tmp_path / "mrr.csv"
    download.value.save_as(file)
    assert figure.inner_text() in {money(row["mrr"], row["currency"]) for row in csv.DictReader(file.open())}
    figure.click()
    tab.wait_for_selector("h1:has-text('its events')")
    tab.click("main table a[href^='/event'] >> nth=0")
    assert tab.wait_for_selector(".fall li, li.event", timeout=LOADS)


def test_money_as_it_was_known(tab: Any) -> None:
    """From, to and known at are fields; an earlier time says so, and the way back is there."""
    tab.goto("/money")
    tab.fill("input[name=known]", "2026-01-01T00:00")
    tab.click("main button:text-is('Show')")
    tab.wait_for_selector("text=As it was known at")
    tab.wait_for_selector("main .sheet p.muted:has-text('Asking the lake')", state="detached", timeout=LOADS)
    assert tab.locator(".figure").count() == 0
    tab.click("text=As known now")
    tab.wait_for_selector(".figure", timeout=LOADS)


def test_a_question_is_typed_run_kept_and_shared(tab: Any, ask: Any, tmp_path: Path) -> None:
    """Ctrl-Enter runs it; the grid and the file have the command line's rows; its link is the question."""
    sql = "select type, count(*) as n from stripe_events group by 1 order by n desc, type"
    told = [[row["type"], str(row["n"])] for row in ask("query", sql, "--json").lines]
    tab.goto("/sql")
    assert tab.locator("aside details").count() > 10
    tab.fill("textarea", sql)
    tab.keyboard.press("Control+Enter")
    tab.wait_for_selector("h2:has-text('Answer')", timeout=LOADS)
    tab.wait_for_load_state()

    cells = [[cell.strip() for cell in row.locator("td").all_inner_texts()] for row in tab.locator("tbody tr").all()]
    assert cells == told
    with tab.expect_download() as download:
        tab.click("main a:text-is('CSV')")
    download.value.save_as(tmp_path / "answer.csv")
    assert list(csv.reader((tmp_path / "answer.csv").open()))[1:] == told
    shared = tab.get_attribute("text=Link to this question", "href")
    tab.goto(shared)
    assert tab.input_value("textarea") == sql
    tab.goto("/sql")
    tab.select_option("select[name=recipe]", "usage-per-day")
    tab.wait_for_selector("h2:has-text('Answer')", timeout=LOADS)
    days = "select day, v from (values (date '2026-11-01', 1), (date '2026-11-02', 2)) as t(day, v)"
    tab.goto(f"/sql?q={quote(days)}")
    tab.wait_for_selector(".chart canvas")
    tab.goto(f"/sql?q={quote('select nonsense')}")
    assert tab.locator("[role=alert]").count() == 1


# ---------------------------------------------------------------- the customer's page


def test_the_customers_page_is_shown_in_a_frame(chromium: Any, customers: Any, console: str) -> None:
    """Alone it opens for the holder of a session; another site may not frame it unless it is named."""
    token = customers("oasis", "ann")
    page = chromium.new_context(base_url=console).new_page()
    page.goto(f"/portal?token={token}")
    assert "7 calls" in re.sub(r"\s+", " ", page.inner_text("main"))
    assert page.locator(".gauge svg").count() >= 1
    page.goto("about:blank")
    page.set_content(f'<iframe src="{console}/portal?token={token}"></iframe>')
    page.wait_for_timeout(1500)
    assert all("/portal" not in frame.url for frame in page.frames)
    page.goto(f"{console}/portal?token=expired")
    assert "closed" in page.inner_text("main")
    page.context.close()
