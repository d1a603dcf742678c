"""Every page, wide and narrow, light and dark: readable for everybody, inside its window, quick, without complaints."""

from __future__ import annotations

import os
import re
import statistics
import time
from pathlib import Path
from typing import Any

import pytest
from tests.support.stack.visit import Visit

PICTURES = os.environ.get("PICTURES")
"""A folder for pictures of the pages: `PICTURES=docs/pictures pytest tests/cli/console/test_pages.py`."""
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
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]


def address(visit: Visit, name: str) -> str:
    """Of a page; of one event the newest of Stripe."""
    if name != "event":
        return PAGES[name]
    listed = visit.get("/events/lake?kind=stripe&type=subscription").text
    return re.findall(r'href="(/event\?name=evt_[^"]+)"', listed)[0]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", ["wide", "narrow"])
def test_axe_finds_no_fault(chromium: Any, console: str, visit: Visit, axe: str, size: str, theme: str) -> None:
    """By the rules of WCAG 2.1 A and AA, on every page; and nothing is wider than the window."""
    width, height = SIZES[size]
    context = chromium.new_context(
        base_url=console, viewport={"width": width, "height": height}, color_scheme=theme, bypass_csp=True
    )
    faults = []
    for name in PAGES:
        page = context.new_page()
        page.goto(address(visit, name))
        page.wait_for_timeout(300)
        page.wait_for_selector("[hx-trigger=load] > p.muted:has-text('…')", state="detached", timeout=20_000)
        page.evaluate(axe)
        judged = page.evaluate("rules => axe.run(document, {runOnly: rules})", RULES)
        faults += [(name, one["id"], one["nodes"][0]["target"]) for one in judged["violations"]]
        if page.evaluate("document.documentElement.scrollWidth") > width:
            faults.append((name, "wider than its window", width))
        if PICTURES and name not in {"nothing", "missing"}:
            picture = Path(PICTURES, f"console-{name}-{size}-{theme}.png")
            page.screenshot(path=str(picture), clip={"x": 0, "y": 0, "width": width, "height": min(height, 820)})
        page.close()
    context.close()

    assert faults == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_makes_no_complaint(tab: Any, visit: Visit, name: str) -> None:
    """No refusal of its own policy, no failed file, no error of a script."""
    tab.set_viewport_size({"width": 360, "height": 640})
    tab.goto(address(visit, name))
    tab.wait_for_timeout(500)
    if name == "missing":
        tab.complaints.clear()  # the browser names the 404 that it asked for


def test_the_first_page_comes_within_a_tenth_of_a_second(visit: Visit, record_property: Any) -> None:
    """From the request to the last byte, on the demo's month."""
    visit.get("/")
    taken = []
    for _ in range(10):
        began = time.monotonic()
        assert visit.get("/").status == 200
        taken.append(time.monotonic() - began)
    record_property("measured", ("first page", "ms", f"{statistics.median(taken) * 1000:.0f}"))

    assert min(taken) < 0.1


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
