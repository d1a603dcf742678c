"""Every page, wide and narrow, light and dark: readable for everybody, inside its window, quick, without complaints."""

from __future__ import annotations

import os
import re
import statistics
import time
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from tests.support.project import least
from tests.support.stack.visit import Visit

PICTURES = os.environ.get("PICTURES")
"""A folder for pictures of the pages (`make pictures`): those that it has are taken anew, an empty one gets all."""
PICTURED = {path.name for path in Path(PICTURES).glob("console-*.png")} if PICTURES else set()
SUFFIX = {"wide": "", "narrow": "-narrow", "light": "", "dark": "-dark"}
PAGES = {
    "events": "/events?kind=stripe",
    "event": "/event",
    "all-events": "/events/lake",
    "workspaces": "/workspaces",
    "workspace": "/workspaces/memphis",
    "money": "/money",
    "operations": "/operations",
    "sql": "/sql?recipe=events-per-type",
    "nothing": "/events?type=nothing",
    "missing": "/workspaces/nobody",
}
SIZES = {"wide": (1280, 900), "narrow": (390, 844), "least": (360, 640)}
TYPES = ["invoice_payment", "trial_will_end", "subscription.updated", "invoice.finalized", "customer.created", "charge"]
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]


def address(visit: Visit, name: str) -> str:
    """Of a page; of one event the newest of Stripe."""
    if name != "event":
        return PAGES[name]
    listed = visit.get("/events/lake?kind=stripe&type=subscription").text
    return re.findall(r'href="(/event\?name=evt_[^"]+)"', listed)[0]


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_no_fault(chromium: Any, console: str, visit: Visit, axe: str, name: str) -> None:
    """By the rules of WCAG 2.1 A and AA, wide and narrow, light and dark; and nothing is wider than the window."""
    context = chromium.new_context(base_url=console, bypass_csp=True, reduced_motion="reduce")
    page = context.new_page()
    page.goto(address(visit, name))
    page.wait_for_timeout(300)
    page.wait_for_selector("[hx-trigger=load] > p.muted:has-text('…')", state="detached", timeout=90_000)
    page.evaluate(axe)
    faults = []
    for size, theme in product(("wide", "narrow"), ("light", "dark")):
        width, height = SIZES[size]
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=theme)
        judged = page.evaluate("rules => axe.run(document, {runOnly: rules})", RULES)
        faults += [(size, theme, one["id"], one["nodes"][0]["target"]) for one in judged["violations"]]
        if page.evaluate("document.documentElement.scrollWidth") > width:
            faults.append((size, theme, "wider than its window", width))
        if PICTURES:
            picture = Path(PICTURES, f"console-{name}{SUFFIX[size]}{SUFFIX[theme]}.png")
            if not PICTURED or picture.name in PICTURED:
                page.screenshot(path=str(picture), clip={"x": 0, "y": 0, "width": width, "height": min(height, 820)})
    context.close()

    assert faults == []


def test_an_event_of_any_type_fits_the_narrowest_window(tab: Any, visit: Visit) -> None:
    """The longest type, id and key break into lines; only a table may scroll, in its own frame."""
    tab.set_viewport_size({"width": 360, "height": 640})
    wider = []
    for kind, words in [*(("stripe", one) for one in TYPES), ("usage", "")]:
        listed = visit.get(f"/events/lake?kind={kind}&type={words}").text
        tab.goto(re.findall(r'href="(/event\?name=[^"]+)"', listed)[0].replace("&amp;", "&"))
        tab.wait_for_selector("table.diff, .grid p.muted")
        if tab.evaluate("document.documentElement.scrollWidth") > 360:
            wider.append(tab.inner_text("h1"))

    assert wider == []


def test_a_phone_shows_what_may_be_done(tab: Any, dead_letter: Any, ask: Any) -> None:
    """Every page of the head, and the buttons of dead letters and rejects, without scrolling to the side."""
    dead_letter("phone-1")
    tab.set_viewport_size({"width": 360, "height": 640})
    tab.goto("/operations")
    tab.wait_for_selector("#letters button:text-is('Delete')")
    tab.wait_for_selector("button:text-is('Dismiss')")
    shown = [*tab.locator(".nav a").all(), *tab.locator("td button").all()]

    assert len(shown) >= 9
    boxes = [one.bounding_box() for one in shown]
    assert [one for one in boxes if one["x"] < 0 or one["x"] + one["width"] > 360] == []
    assert ask("dlq", "purge", "--yes").code == 0


@pytest.mark.parametrize("name", PAGES)
def test_a_page_makes_no_complaint(tab: Any, visit: Visit, name: str) -> None:
    """No refusal of its own policy, no failed file, no error of a script."""
    tab.set_viewport_size({"width": 360, "height": 640})
    tab.goto(address(visit, name))
    tab.wait_for_timeout(500)
    if name == "missing":
        tab.complaints.clear()  # the browser names the 404 that it asked for


def test_what_a_page_loads_later_is_drawn(tab: Any) -> None:
    """The line of recurring revenue, and its day."""
    tab.goto("/money")
    day = tab.get_attribute("input[name=to]", "value")
    tab.wait_for_selector(".figures ~ .chart canvas", timeout=90_000)

    assert f"at the end of {date.fromisoformat(day):%d %b %Y}" in tab.inner_text(".figures")


def test_the_first_page_comes_within_a_tenth_of_a_second(visit: Visit, record_property: Any) -> None:
    """From the request to the last byte, on the demo's month."""
    visit.get("/")

    def answer() -> float:
        began = time.monotonic()
        assert visit.get("/").status == 200
        return time.monotonic() - began

    taken = [answer() for _ in range(10)]
    record_property("measured", ("first page", "ms", f"{statistics.median(taken) * 1000:.0f}"))

    assert min(*taken, least(answer, wanted=0.1, tries=50)) <= 0.1


def test_a_console_at_which_nobody_looks_takes_no_processor(month: Any, console: str, record_property: Any) -> None:
    """Once its first page was served it waits: at most 5 % of one."""
    assert console
    [pid] = [
        int(stat.parent.name)
        for stat in Path("/proc").glob("[0-9]*/stat")
        if (fields := _stat(stat)) and fields[1] == str(month.process.pid) and b"\0console\0" in _command(stat.parent)
    ]

    def share_of_seconds(seconds: int) -> float:
        before = _ticks(pid)
        time.sleep(seconds)
        return (_ticks(pid) - before) / os.sysconf("SC_CLK_TCK") / seconds

    share = least(lambda: share_of_seconds(3), wanted=0.05)  # something else may still end in one of them
    record_property("measured", ("console, nobody looks", "%", f"{share * 100:.2f}"))

    assert share <= 0.05


def _stat(path: Path) -> list[str]:
    """State, parent, ... of a process; empty when it is gone."""
    try:
        return path.read_text().rpartition(") ")[2].split()
    except OSError:
        return []


def _command(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


def _ticks(pid: int) -> int:
    """Of the processor, in user and system mode."""
    return sum(map(int, _stat(Path(f"/proc/{pid}/stat"))[11:13]))


def test_the_keyboard_reaches_everything(tab: Any) -> None:
    """The first stop skips to the content; `/` searches; `j` goes through the events."""
    tab.goto("/events")
    tab.keyboard.press("Tab")
    assert tab.evaluate("() => document.activeElement.className") == "skip"
    tab.keyboard.press("/")
    assert tab.evaluate("() => document.activeElement.name") == "text"
    tab.keyboard.press("Escape")
    tab.evaluate("() => document.activeElement.blur()")
    tab.keyboard.press("j")
    assert tab.evaluate("() => document.activeElement.closest('.event') !== null")


def test_the_assets_are_small(project: Path) -> None:
    """All that a browser loads, uncompressed."""
    files = (project / "src/nilometer/console/static").iterdir()

    assert sum(file.stat().st_size for file in files) < 300_000
