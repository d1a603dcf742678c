"""The console of the demo's month, as a browser and as a plain HTTP client see it."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from tests.support.command_line import CommandLine, KeptDemo, Local
from tests.support.stack.visit import Visit

from nilometer.aws.dynamodb import Store
from nilometer.domain.access.session import OpenSession
from nilometer.domain.acts.act import service
from nilometer.domain.recovery import redrive
from nilometer.flows.people.acting import issue
from nilometer.local.plane.deployed import logical
from nilometer.local.plane.engine import REGION

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SOON = 60.0  # seconds: longer than a test needs its letters
AXE = Path(sys.prefix, "axe/node_modules/axe-core/axe.min.js")


@pytest.fixture(scope="session")
def nilometer(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """The command line of a user whose only stack is `month`."""
    return CommandLine(tmp_path_factory.mktemp("console"))


@pytest.fixture(scope="session")
def played(kept_demo: KeptDemo) -> Path:
    """The folder that the demo left. Tests start stacks on copies of it."""
    assert kept_demo.answer.code == 0, kept_demo.answer.err
    return kept_demo.data


@pytest.fixture(scope="session")
def month(nilometer: CommandLine, played: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """A local stack that holds the demo's month, and what the tests of this session send to it."""
    folder = shutil.copytree(played, tmp_path_factory.mktemp("month") / "data")
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
    context.set_default_timeout(90_000)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda line: complaints.append(line.text) if line.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.complaints = complaints
    yield page
    context.close()
    assert complaints == []


def await_redrive(month: Local, ask: Any) -> None:
    """The stack's own redrive hides all letters while it reads them: it has done so, if it was to do so by now or soon.

    It does it every quarter of an hour since the start.
    """
    due = (time.monotonic() - month.ready_at + SOON) // redrive.EVERY.total_seconds()

    def done() -> int:
        functions = ask("status", "--json").json["functions"].items()
        [used] = [one["used"] for name, one in functions if logical(name) == "RedriveFunction"]
        return sum(one["invocations"] for one in used.values())

    while done() < due:
        time.sleep(1)


@pytest.fixture(scope="session")
def dead_letter(month: Local, ask: Any) -> Any:
    """Lays a usage event of giza, or another body, among the dead letters of usage; gives the message's id."""
    session = boto3.session.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
    sqs: Any = session.client("sqs", endpoint_url=month.about["aws_endpoint_url"])
    [url] = [url for url in sqs.list_queues()["QueueUrls"] if "-UsageDeadLetters-" in url]

    def laid(event_id: str, body: str = "") -> str:
        await_redrive(month, ask)
        message = sqs.send_message(QueueUrl=url, MessageBody=body or json.dumps(_relayed(event_id)))
        return str(message["MessageId"])

    return laid


def _relayed(event_id: str) -> dict[str, Any]:
    """A usage event as the bus hands it to the queue."""
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    event = {
        "specversion": "1.0",
        "id": event_id,
        "source": "/services/gateway",
        "type": "usage.recorded.v1",
        "subject": "giza",
        "time": now,
        "data": {"meter": "api_calls", "quantity": 1, "unit": "call"},
    }
    return {"id": event_id, "detail-type": "usage.recorded.v1", "source": "x", "time": now, "detail": event}


@pytest.fixture(scope="session")
def axe() -> str:
    """The script that judges accessibility."""
    if not AXE.exists():
        pytest.skip("axe is not installed; see the Makefile")
    return AXE.read_text()


@pytest.fixture(scope="session")
def customers(month: Local, ask: Any) -> Any:
    """Opens a session of a workspace's member, as a service would; the time of opening can be given."""
    for workspace in ("oasis", "delta"):
        assert ask("workspace", "create", workspace, "--name", f"The {workspace}").code == 0
        for user, role in (("ann", "Admin"), ("vic", "Viewer")):
            assert ask("member", "add", workspace, user, "--role", role).code == 0
    ask("trigger", "customer.subscription.created", "--workspace", "oasis")
    ask("usage", "send", "--workspace", "oasis", "--meter", "api_calls", "--quantity", "7")
    ask("wait")
    session = boto3.session.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
    client: Any = session.client("dynamodb", endpoint_url=month.about["aws_endpoint_url"])
    store = Store(client, records=month.about["records_table"], events=month.about["events_table"])

    def opened(workspace: str, user: str, *, ago: timedelta = timedelta(0)) -> str:
        now = datetime.now(UTC) - ago
        deed = OpenSession(user_id=user, valid_until=now + timedelta(minutes=10))
        return issue(store, service(workspace, "test"), deed, now=now).token

    return opened
