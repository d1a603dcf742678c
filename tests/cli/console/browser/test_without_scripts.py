"""Each action without JavaScript, as when it is clicked before the page's scripts are there: what it did is said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

LOADS = 90_000  # ms: what asks the lake


@pytest.fixture
def plain(chromium: Any, console: str) -> Iterator[Any]:
    """A page of a fresh session of a browser that runs no scripts."""
    context = chromium.new_context(base_url=console, java_script_enabled=False)
    page = context.new_page()
    page.set_default_timeout(LOADS)
    yield page
    context.close()


def pressed(plain: Any, button: str) -> str:
    """What the page says after the button; a page that is loaded again says it no more."""
    with plain.expect_navigation():
        plain.click(button)
    said = str(plain.inner_text("main > .note.good"))
    plain.reload()
    assert plain.locator("main > .note.good").count() == 0
    return said


def test_a_sample_is_triggered(plain: Any) -> None:
    """Its type and id are said, and its row is there after another look."""
    plain.goto("/events")
    plain.fill("input[name=type] >> nth=0", "customer.created")

    said = pressed(plain, "button:text-is('Trigger')")

    assert said.startswith("customer.created evt_")
    assert said.endswith(" posted")


def test_a_dead_letter_is_redriven_and_another_deleted(plain: Any, dead_letter: Any, ask: Any) -> None:
    """From their list, which the page of operations links to."""
    for event_id in ("plain-1", "plain-2"):
        dead_letter(event_id)
    plain.goto("/operations")
    plain.click("a[href='/operations/letters']")

    assert pressed(plain, "tr:has-text('plain-1') >> button:text-is('Redrive')") == "sent back"
    assert pressed(plain, "tr:has-text('plain-2') >> button:text-is('Delete')") == "deleted"

    ask("wait")
    assert ask("dlq", "list", "--json").lines == []
    assert ask("query", "select event_id from usage where event_id like 'plain-%'", "--json").lines == [
        {"event_id": "plain-1"}
    ]


def test_a_reject_is_resent_and_dismissed(plain: Any, ask: Any) -> None:
    """From its own page, and from the list of rejects."""
    ask(
        "usage",
        "send",
        "--workspace",
        "giza",
        "--meter",
        "api_calls",
        "--quantity",
        "1",
        "--unit",
        "camel",
        "--id",
        "<b>plain",
    )
    ask("wait")
    plain.goto("/events/lake?outcome=rejected&text=plain")
    plain.click("li.event:has-text('plain') a")
    assert pressed(plain, "button:text-is('Resend')") == "usage reject of giza <b>plain resent"

    ask("wait")
    plain.goto("/operations/rejects")
    assert (
        pressed(plain, "tr:has-text('<b>plain') >> button:text-is('Dismiss')")
        == "usage reject of giza <b>plain dismissed"
    )
    assert plain.locator("tr:has-text('<b>plain')").count() == 0
    plain.goto("/events/lake?outcome=rejected&text=plain")
    plain.click("li.event:has-text('plain') a")
    assert plain.locator("main form").count() == 0  # what the lake does not have is not replayed


def test_usage_is_replayed(plain: Any, ask: Any) -> None:
    """From its own page."""
    plain.goto("/events/lake?kind=usage&workspace=giza&outcome=accepted")
    plain.click("li.event a >> nth=0")

    assert pressed(plain, "button:text-is('Replay')").endswith(" published again")
    ask("wait")


def test_checks_are_pages_of_their_own(plain: Any) -> None:
    """With the console around them, and the verdicts."""
    for button, heading in (("Verify the lake", "Verify"), ("Ask the doctor", "Doctor")):
        plain.goto("/operations")
        with plain.expect_navigation(timeout=60_000):
            plain.click(f"button:text-is('{button}')")
        assert plain.locator(f"h2:text-is('{heading}')").count() == 1
        assert plain.locator(".pill").count() > 1
        assert plain.locator(".nav a").count() > 1


def test_a_refusal_is_a_page(plain: Any, dead_letter: Any, ask: Any) -> None:
    """What could not be done is said too, in the console's own page."""
    letter = dead_letter("plain-3")
    plain.goto(f"/operations/letter?id={letter}")
    assert ask("dlq", "purge", "--yes").code == 0

    with plain.expect_navigation():
        plain.click("button:text-is('Redrive')")

    assert "not there any more" in plain.inner_text(".empty")


def test_the_slider_is_a_form(plain: Any) -> None:
    """The billing record as of a time is a page."""
    plain.goto("/workspaces/memphis")
    plain.click("a[href='/workspaces/memphis/history']")
    with plain.expect_navigation():
        plain.click("button:text-is('Show')")
    assert "papyrus" in plain.inner_text("main")


def test_colours_and_role_are_chosen(plain: Any) -> None:
    """By buttons."""
    plain.goto("/sql")
    plain.click("details.menu summary")
    plain.select_option("select[name=theme]", "dark")
    with plain.expect_navigation():
        plain.click("button:text-is('Choose')")
    assert plain.get_attribute("html", "data-theme") == "dark"
    plain.click("details.menu summary")
    plain.select_option("select[name=role]", "Viewer")
    with plain.expect_navigation():
        plain.click("details.menu button:text-is('Look')")
    assert plain.locator(".nav a").all_inner_texts() == ["Workspaces"]
