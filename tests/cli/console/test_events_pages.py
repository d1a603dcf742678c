"""Events in the browser: live, one by one, and what may be done about them."""

from __future__ import annotations

import contextlib
import html
import http.client
import re
import time
from typing import Any
from urllib.parse import quote

from tests.support.project import least
from tests.support.stack.visit import Visit

NOTES_FRESH_ROWS = """document.body.dataset.fresh = "";
new MutationObserver((changes) => changes.forEach((change) => change.addedNodes.forEach((row) => {
  if (row.classList?.contains("fresh")) document.body.dataset.fresh += row.textContent;
}))).observe(document.querySelector(".events"), { childList: true })"""
"""As they arrive: a row may be replaced at once. A page that is loaded again has forgotten them."""


def names(text: str) -> list[str]:
    """Of the events that a page lists."""
    return [html.unescape(found) for found in re.findall(r'href="(/event\?name=[^"]+)"', text)]


def test_a_triggered_event_appears_live_and_opens(tab: Any) -> None:
    """By the form: it comes to the top of the list without a reload, and its page tells its way to the lake."""
    tab.goto("/events")
    tab.wait_for_selector(".live[data-state=live]")
    tab.evaluate(NOTES_FRESH_ROWS)
    tab.fill("input[name=type] >> nth=0", "customer.created")
    tab.click("text=Trigger")
    tab.wait_for_selector("body[data-fresh*='customer.created']")  # earlier ones may be listed already
    tab.wait_for_selector(".events li:first-child:has-text('customer.created') .path i.accepted >> nth=1")

    tab.click(".events li:has-text('customer.created') a >> nth=0")  # by its selector: a live row is replaced at times

    tab.wait_for_selector("h1:has-text('customer.created')")
    assert "arrived" in tab.inner_text(".fall")
    assert "webhook" in tab.inner_text("table >> nth=-1")


def test_a_row_that_is_pressed_opens_although_others_arrive(tab: Any, month: Any, ask: Any) -> None:
    """An event that arrives between press and release would push the row away from the pointer."""
    first, then = "customer.created", "customer.updated"
    tab.goto("/events")
    tab.wait_for_selector(".live[data-state=live]")
    row = f".events li:has-text('{ask('trigger', first, '--json').json['id']}') a"
    ask("wait")
    tab.wait_for_selector(row)
    tab.hover(row)
    tab.mouse.down()
    arrived = f".events li:has-text('{ask('trigger', then, '--json').json['id']}')"
    other = tab.context.new_page()
    other.goto("/events")
    other.wait_for_selector(arrived)
    tab.wait_for_timeout(1000)
    assert not tab.is_visible(arrived)

    tab.mouse.up()

    tab.wait_for_selector(f"h1:has-text('{first}')")


def test_an_event_is_seen_within_half_a_second(tab: Any, month: Any, ask: Any, record_property: Any) -> None:
    """From the moment at which the webhook answers to the row in the page."""
    tab.goto("/events")
    tab.wait_for_selector(".live[data-state=live]")

    def delay() -> float:
        event = ask("trigger", "customer.created", "--json").json
        answered = time.monotonic()
        tab.wait_for_selector(f".events li:has-text('{event['id']}')", timeout=30_000)
        return time.monotonic() - answered

    seconds = least(delay, wanted=0.5, tries=30)
    record_property("measured", ("seen live", "s", f"{seconds:.2f}"))

    assert seconds <= 0.5


def test_the_stream_resumes_where_the_browser_was(console: str) -> None:
    """`Last-Event-ID` leaves out what the browser has; one that is no number begins anew."""

    def first(told: str, *, seconds: float) -> bytes:
        """What comes, each line within so many seconds of the one before."""
        connection = http.client.HTTPConnection(console.removeprefix("http://"), timeout=30)
        connection.connect()
        sock = connection.sock
        connection.request("GET", "/events/stream", headers={"last-event-id": told})
        answer = connection.getresponse()
        sock.settimeout(seconds)
        assert answer.getheader("content-type", "").startswith("text/event-stream")
        content = b""
        with contextlib.suppress(TimeoutError):
            while b"event: rows" not in content:
                content += answer.readline()
        connection.close()
        return content

    assert b"event: rows" in first("nonsense", seconds=60)
    assert b"event: rows" not in first("9" * 15, seconds=1)


def test_filters_leave_what_they_name(visit: Visit) -> None:
    """By outcome, kind, workspace and text, in the timeline and in the lake."""
    assert "stray" in visit.get("/events?outcome=rejected").text
    assert "stray" not in visit.get("/events?outcome=accepted").text
    lake = visit.get("/events/lake?kind=usage&workspace=giza").text
    assert "giza" in lake
    assert "memphis" not in lake


def test_the_lake_is_read_page_by_page(visit: Visit, ask: Any) -> None:
    """Every event of the lake is on one page, once, whatever the cursor."""
    sql = "select count(*) as n from stripe_events where contains(type, 'customer')"
    ask("wait")  # others' events may be on their way
    counted = ask("query", sql, "--json").json
    seen: list[str] = []
    path = "/events/lake?kind=stripe&type=customer"
    while path:
        text = visit.get(path).text
        seen += names(text)
        older = re.search(r'href="(/events/lake\?[^"]*after=[^"]*)"', text)
        path = html.unescape(older[1]) if older else ""

    assert len(seen) == len(set(seen)) == counted["n"]
    assert visit.get("/events/lake?after=nonsense~x").status == 200


def test_a_page_tells_what_the_command_line_tells(visit: Visit, ask: Any) -> None:
    """Every hop of `nilometer trace` stands in the waterfall, and the changed fields of the record beside it."""
    sql = """select cause, new_image->>'plan' as plan from audit where kind = 'billing'
             and (new_image->>'plan') is distinct from (old_image->>'plan') order by action desc limit 1"""
    [row] = ask("query", sql, "--json").lines
    told = ask("trace", row["cause"], "--json").json

    text = html.unescape(visit.get(f"/event?name={row['cause']}").text)

    assert all(hop["what"] in text for hop in told["hops"])
    assert re.search(rf'<th scope="row">plan</th>.*<span class="new">{row["plan"]}</span>', text)


def test_a_reject_says_why_and_is_resent(visit: Visit, ask: Any) -> None:
    """With its advice; after it was resent it is refused again, so it is listed again."""
    [name] = [name for name in names(visit.get("/events?outcome=rejected").text) if "stray" in name]
    text = visit.get(name).text
    assert "unknown meter" in text
    assert "create the meter, then resend" in text
    [reject] = [one for one in ask("rejects", "list", "--json").lines if one["event_id"] == "stray"]

    done = visit.post("/rejects/resend", {"id": reject["id"]}, hx_request="true")

    assert (done.status, "resent" in done.text) == (200, True)
    ask("wait")
    assert [one["event_id"] for one in ask("rejects", "list", "--json").lines] == ["stray"]


def test_usage_replayed_counts_once(visit: Visit, ask: Any) -> None:
    """The counter is the same, and the copy is named a duplicate."""
    [row] = ask("query", "select source, event_id, workspace_id from usage limit 1", "--json").lines
    before = ask("usage", "show", row["workspace_id"], "--json").json

    done = visit.post("/events/replay", {"id": row["event_id"], "source": row["source"]}, hx_request="true")

    assert done.status == 200
    ask("wait")
    assert ask("usage", "show", row["workspace_id"], "--json").json == before


def test_what_an_event_holds_is_text(visit: Visit, ask: Any) -> None:
    """Markup in ids of events is shown as it is and never becomes an element, wherever it is shown."""
    bad = "<img src=x onerror=alert(1)>"
    ask("usage", "send", "--workspace", "giza", "--meter", "api_calls", "--quantity", "1", "--id", bad)
    ask("wait")

    for path in ("/events", "/events/lake", f"/event?name={quote(bad)}", f"/events?text={quote(bad)}"):
        text = visit.get(path).text
        assert "&lt;img src=x onerror=alert(1)&gt;" in text, path
        assert bad not in text, path


def test_a_viewer_of_one_workspace_finds_no_other(visit: Visit, ask: Any) -> None:
    """Neither in the timeline nor by a name that is guessed."""
    [row] = ask("query", "select source, event_id from usage where workspace_id = 'giza' limit 1", "--json").lines
    name = quote(f"{row['source']}#{row['event_id']}")
    theirs = names(visit.get("/events/lake?workspace=giza").text)
    assert theirs
    visit.look_as("Admin", "memphis")

    for path in ("/events", "/events?workspace=giza", "/events/lake?workspace=giza"):
        assert not set(theirs) & set(names(visit.get(path).text)), path
    assert visit.get(f"/event?name={name}").status == 404
    assert visit.look_as("Viewer").get("/events").status == 403
