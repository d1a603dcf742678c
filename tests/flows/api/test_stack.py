"""The API and its clients on a stack that runs here, and with NILOMETER_CONFORMANCE=STACK on one that is deployed.

The suite acts in workspaces of its own, but also for all workspaces (meters, flags, policies, datasets): name a stack
that is for tests.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openfeature import api as openfeature
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from standardwebhooks.webhooks import Webhook as Verifier
from tests.support.command_line import CommandLine
from tests.support.events.mail import Owner, answering, mails
from tests.support.project import ROOT
from tests.support.stack.conformance import BY_NODE, CHECKS, Api, NodeApi, over_http
from tests.support.stack.loop import run_async

from nilometer import Client, CreateMeter, CreateWorkspace, LimitRule, Notify, OverrideLimit, perform
from nilometer.domain.acts.act import operator, service
from nilometer.domain.notices.webhook_signature import webhook_message_id
from nilometer.domain.store.times import parse_rfc3339
from nilometer.domain.store.writes import Table
from nilometer.local.plane.connect import connect
from nilometer.local.plane.deploy import LOCAL_MAIL
from nilometer.local.plane.engine import free_port
from nilometer.local.stack.stack import Options, Stack, stack

NODE = ROOT / "clients" / "node"
NOW = parse_rfc3339("2026-11-01T00:00:00Z")


@pytest.fixture(scope="module")
def addresses() -> Iterator[Owner]:
    """It knows nobody, until a test says otherwise."""
    with answering() as owner:
        yield owner


@pytest.fixture(scope="module")
def running(addresses: Owner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The only stack that this process and its children find."""
    before = dict(os.environ)
    os.environ["NILOMETER_RUNTIME_DIR"] = str(tmp_path_factory.mktemp("run"))
    for name in ("NILOMETER_URL", "NILOMETER_KEY"):
        os.environ.pop(name, None)
    try:
        parameters = {"Webhooks": "true", "EmailDomain": LOCAL_MAIL, "EmailAddresses": addresses.url}
        with stack(Options(port=0, aws_port=0, parameters=parameters)) as made:
            yield made
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture
def api(request: pytest.FixtureRequest) -> Api:
    """Of the deployed stack that is named, else of the one that runs here."""
    if name := os.environ.get("NILOMETER_CONFORMANCE"):
        found = connect(name)
        return over_http(found.names["ApiUrl"], found.store())
    running: Stack = request.getfixturevalue("running")
    return over_http(running.description.origin, connect().store())


@pytest.fixture
def acme(running: Stack) -> str:
    """A workspace with a hard limit of 100 `api_calls`, which the docs' examples use."""
    return limited("acme")


def limited(workspace_id: str) -> str:
    store, door = connect().store(), service(workspace_id, "t")
    perform(store, operator("t"), CreateMeter(meter="api_calls", unit="call", aggregation="sum"), now=NOW)
    perform(store, door, CreateWorkspace(name="Acme", admin="ada"), now=NOW)
    perform(store, door, OverrideLimit(meter="api_calls", limit=LimitRule(included="100", hard="100")), now=NOW)
    return workspace_id


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: str(check.__name__))
def test_every_route_keeps(api: Api, check: Callable[[Api, Any], None]) -> None:
    """Each check of the suite on each route, by HTTP."""
    for route in CHECKS[check]:
        check(api, route)


@pytest.fixture(scope="module")
def node_api(running: Stack) -> Iterator[NodeApi]:
    """Answers of the stack that runs here, as the Node client hands them over."""
    about, here = {"NILOMETER_URL": running.description.origin, "NILOMETER_KEY": ""}, NODE / "test"
    command = [runtime_of_node(), str(here / "ask.js")]
    with subprocess.Popen(command, env={**os.environ, **about}, stdin=-1, stdout=-1, text=True) as asked:
        made = NodeApi(connect().store(), httpx2.Client().send, about["NILOMETER_URL"], "_node")
        made.node = asked
        yield made
        asked.kill()


@pytest.mark.parametrize("check", BY_NODE, ids=lambda check: str(check.__name__))
def test_every_route_keeps_by_the_node_client(node_api: NodeApi, check: Callable[[Api, Any], None]) -> None:
    """The checks of the suite whose requests a client can make."""
    for route in CHECKS[check]:
        check(node_api, route)


def used(client: Client, workspace_id: str, wanted: Decimal) -> bool:
    """Whether so much is counted of `api_calls` before long."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        found = {one.meter: one.used for one in client.usage.get(workspace_id)}
        if found.get("api_calls") == wanted:
            return True
        time.sleep(0.2)
    raise AssertionError(f"{found} is counted, not {wanted}")


def test_the_examples_of_the_documents_run(acme: str) -> None:
    """As they stand there, each after the other: without a key, because the stack runs here; all is counted."""
    page = (ROOT / "docs" / "client.md").read_text()
    tried = r"^<!-- tried by tests/flows/api/test_stack.py -->\n```(python|js)\n(.*?)^```"
    examples = re.findall(tried, page, re.MULTILINE | re.DOTALL)
    examples += re.findall(tried, (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    began = {one.meter: one.used for one in Client().usage.get(acme)}.get("api_calls", Decimal(0))
    for kind, text in examples:
        assert len([line for line in text.splitlines() if line.strip()]) <= 10
        run_node(text) if kind == "js" else run_python(text)

    assert [kind for kind, _ in examples] == ["python", "python", "js", "python"]
    with Client() as client:
        assert used(client, "acme", began + 8 * len(examples))


def test_an_sdk_of_openfeature_evaluates_flags(acme: str) -> None:
    """Its own provider for OFREP, with a service's key: on, off, never created, without a workspace."""
    with Client() as client:
        client.act("set_flag", flag="of_sdk_on", rollout=100)
        client.act("set_flag", flag="of_sdk_off", rollout=0)
        url, headers = client._send.url, {"Authorization": f"Bearer {client._send._key}"}
    openfeature.set_provider(OFREPProvider(url, headers_factory=lambda: headers, timeout=90), domain="nilometer")
    flags, workspace = openfeature.get_client("nilometer"), EvaluationContext(acme)

    assert flags.get_boolean_value("of_sdk_on", False, workspace) is True
    assert flags.get_boolean_value("of_sdk_off", True, workspace) is False
    unknown = flags.get_boolean_details("of_sdk_unknown", True, workspace)
    assert (unknown.value, unknown.flag_metadata["reason"]) == (False, "unknown")
    nobody = flags.get_boolean_details("of_sdk_on", False)
    assert (nobody.value, nobody.error_code) == (False, ErrorCode.TARGETING_KEY_MISSING)


def run_python(text: str) -> None:
    scope: dict[str, Any] = {}
    exec(text, scope)  # noqa: S102  # our own page
    if "main" in scope:
        run_async(scope["main"]())


def run_node(text: str) -> None:
    script = text.replace('"nilometer"', f'"{NODE / "index.js"}"')
    done = node("--input-type=module", "--eval", script)
    assert done.returncode == 0, done.stderr


def runtime_of_node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("there is no node on this machine beside the project")
    return found


def node(*words: str) -> subprocess.CompletedProcess[str]:
    """With the key that a client of Python is given."""
    client = Client()
    client.whoami()
    told = {
        "NILOMETER_URL": client._send.url,
        "NILOMETER_KEY": str(client._send._key),
        "NILOMETER_WORKSPACE": limited("node"),
    }
    return subprocess.run(
        [runtime_of_node(), *words],
        cwd=NODE,
        env={**os.environ, **told},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_node_client_keeps_the_same_promises(running: Stack) -> None:
    """Its own tests, against the stack that runs here."""
    done = node("--test", str(Path("test") / "client.test.js"))

    assert done.returncode == 0, done.stdout[-4000:]


def test_leases_hold_on_a_running_stack(running: Stack) -> None:
    """What two holders give out is what is counted, and all of the limit can be given out."""
    here = limited("leases")
    with Client() as client:
        with client.limits.lease(here, "api_calls") as first, client.limits.lease(here, "api_calls") as second:
            given = sum(one.check() for _ in range(80) for one in (first, second))
        assert given == 100
        assert used(client, here, Decimal(given))


_KEEPS = """
def handle(message_id, event):
    print(json.dumps([message_id, event]), flush=True)
"""


@contextmanager
def receiver(secret: str, port: int) -> Iterator[Any]:
    """The one of docs/webhooks.md, in a process of its own; what it took is its stdout."""
    page = (ROOT / "docs" / "webhooks.md").read_text()
    shown = page.partition("## A receiver")[2].partition("```python\n")[2].partition("```")[0]
    program = f"import json\nSECRET, PORT = {secret!r}, {port}\n{_KEEPS}\n{shown}"
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as made:
        try:
            yield made.stdout
        finally:
            made.kill()


def nilometer(*words: str) -> str:
    """What a command says on stdout."""
    answer = CommandLine(Path(os.environ["NILOMETER_RUNTIME_DIR"]), in_process=False)(*words)
    assert answer.code == 0, answer.err
    return answer.out


def test_a_threshold_reaches_the_receiver_of_the_page(running: Stack) -> None:
    """Created over HTTP, announced by the stack's own functions, signed, posted, and verified; ten lines receive it.
    From the audit the same goes out again, by its id or by a time."""
    limited("hooked")
    rule = LimitRule(included="10", thresholds=[80])
    perform(connect().store(), service("hooked", "t"), OverrideLimit(meter="api_calls", limit=rule), now=NOW)
    port = free_port()

    with Client() as client:
        made = client.webhooks.create("hooked", f"http://127.0.0.1:{port}/", types=["usage.threshold_reached.v1"])
        with receiver(made["secret"], port) as lines:
            client.usage.record("hooked", "api_calls", 9)
            client.usage.flush()
            message_id, event = json.loads(lines.readline())
            nilometer("wait")
            again = ("webhook", "redeliver", "hooked", made["id"])
            assert nilometer(*again, event["id"]) == nilometer(*again, "--since", "2026-01-01")
            repeated = [json.loads(lines.readline()) for _ in range(2)]

    assert repeated == [[message_id, event]] * 2
    assert (event["type"], event["subject"]) == ("usage.threshold_reached.v1", "hooked")
    assert (event["data"]["meter"], event["data"]["percent"]) == ("api_calls", "80")
    assert message_id == webhook_message_id(event["id"])


def test_a_notification_is_mailed_and_the_address_is_kept_nowhere(running: Stack, addresses: Owner) -> None:
    """By the stack's own relay, bus, queue and function. Tables, lake and logs know the notification alone."""
    address, user, title = "grace.hopper@example.org", "user_grace", "The whole way"
    door, now = service("mailed", "t"), datetime.now(UTC)  # what is older than two days is not mailed
    perform(connect().store(), door, CreateWorkspace(name="Mailed", admin=user), now=now)
    addresses.status, addresses.answer = 200, {"email": address}
    try:
        notify = Notify(user_id=user, topic="billing.payment_failed", title=title)
        made = perform(connect().store(), door, notify, now=now)
        nilometer("wait")
    finally:
        addresses.status = 204

    [mail] = mails(running.engine.endpoint_url, title)
    assert (mail["Source"], mail["To"]) == (f"notifications@{LOCAL_MAIL}", [address])
    body, headers = next(one for one in addresses.asked if user.encode() in one[0])
    asked = Verifier(nilometer("email", "secret").strip()).verify(body, headers)
    assert asked == {"user_id": user, "workspace_id": "mailed", "topic": "billing.payment_failed"}
    store, logs = connect().store(), Path(str(running.description.logs))
    audit = nilometer("query", "SELECT * FROM audit WHERE kind = 'notification'", "--json")
    kept = {
        "records": str([*store.scan(Table.RECORDS)]),
        "audit": audit,
        "logs": "".join(path.read_text() for path in logs.glob("*.log")),
    }
    assert [name for name, text in kept.items() if str(made.id) not in text] == []
    kept["events"] = str([*store.scan(Table.EVENTS)])
    assert [name for name, text in kept.items() if address in text] == []
