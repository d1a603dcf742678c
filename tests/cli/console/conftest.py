"""The console of the demo's month, as a browser and as a plain HTTP client see it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.command_line import CommandLine, Local
from tests.support.stack.visit import Visit

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
AXE = Path(sys.prefix, "axe/node_modules/axe-core/axe.min.js")


@pytest.fixture(scope="session")
def nilometer(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """The command line of a user whose only stack is `month`."""
    return CommandLine(tmp_path_factory.mktemp("console"))


@pytest.fixture(scope="session")
def month(nilometer: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """A local stack that holds the demo's month."""
    folder = tmp_path_factory.mktemp("month")
    played = nilometer("demo", "--keep", str(folder), "--json")
    assert played.code == 0, played.err
    running = nilometer.local("--data", str(folder))
    yield running
    assert running.stop()[0] == 0


@pytest.fixture(scope="session")
def ask(nilometer: CommandLine, month: Local) -> Any:
    """The command line on that stack."""
    port = month.about["webhook_url"].rpartition(":")[2].partition("/")[0]
    return lambda *words: nilometer(*words, "--port", port)


@pytest.fixture(scope="session")
def console(month: Local) -> str:
    """The address of its console, which starts at the first look at the stack's own address."""
    origin = month.about["webhook_url"].removesuffix("/webhooks/stripe")
    found = Visit(origin).get("/")
    assert found.status == 302
    return found.headers["location"].rstrip("/")


@pytest.fixture
def visit(console: str) -> Visit:
    """An Admin's, in a fresh session."""
    return Visit(console)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A browser of this machine."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium: Any, console: str) -> Iterator[Any]:
    """A page of a fresh browser session; whatever its console complains of fails the test."""
    context = chromium.new_context(base_url=console, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda line: complaints.append(line.text) if line.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.complaints = complaints
    yield page
    context.close()
    assert complaints == []


@pytest.fixture(scope="session")
def axe() -> str:
    """The script that judges accessibility."""
    if not AXE.exists():
        pytest.skip("axe is not installed; see the Makefile")
    return AXE.read_text()
