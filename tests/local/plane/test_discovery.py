"""Which stack a command finds."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from nilometer.errors import Misconfigured
from nilometer.local.plane import discovery
from nilometer.local.plane.connect import connect

OUTPUTS = {
    "WebhookUrl": "https://api.example/webhooks/stripe",
    "BusName": "prod",
    "RecordsTable": "prod-Records",
    "EventsTable": "prod-Events",
    "LakeBucket": "prod-lake",
    "LakeUri": "s3://prod-lake/lake",
    "StripeSecretArn": "arn:secret",
    "StripeApiKeyArn": "arn:key",
}


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NILOMETER_RUNTIME_DIR", str(tmp_path / "run"))
    return tmp_path / "run"


def local(port: int) -> discovery.StackDescription:
    return discovery.describe(
        OUTPUTS,
        webhook_url=f"http://127.0.0.1:{port}/webhooks/stripe",
        aws_endpoint_url=f"http://127.0.0.1:{port + 1}",
        region="us-east-1",
        stack_name="nilometer",
        pid=os.getpid(),
    )


def test_a_stack_is_found_while_it_runs() -> None:
    """And not afterwards."""
    with discovery.announced(local(8787)):
        assert discovery.find() == local(8787)

    with pytest.raises(Misconfigured, match="nilometer local"):
        discovery.find()


def test_the_newest_wins_unless_another_is_named() -> None:
    """By port or by endpoint."""
    with discovery.announced(local(8000)), discovery.announced(local(9000)):
        assert discovery.find() == local(9000)
        assert discovery.find(port=8000) == local(8000)
        assert discovery.find(endpoint_url="http://127.0.0.1:8001/") == local(8000)
        with pytest.raises(Misconfigured, match="port 80"):
            discovery.find(port=80)


def test_what_a_killed_stack_left_is_ignored_and_removed(runtime: Path) -> None:
    """Even if another process has its number now: nobody holds the lock."""
    runtime.mkdir()
    stale = runtime / f"{os.getpid()}-1.json"
    stale.write_text(local(8787).as_json())

    assert discovery.running() == []
    assert not stale.exists()


def test_a_file_of_another_version_is_ignored(runtime: Path) -> None:
    """A description that this version cannot read is not this version's stack."""
    with discovery.announced(local(8787)):
        [path] = runtime.glob("*.json")
        path.write_text(json.dumps({"webhook": "elsewhere"}))

        assert discovery.running() == []


def test_descriptions_are_private(runtime: Path) -> None:
    """They hold a signing secret."""
    with discovery.announced(local(8787)):
        [path] = runtime.glob("*.json")
        modes = {stat.S_IMODE(runtime.stat().st_mode), stat.S_IMODE(path.stat().st_mode)}

    assert modes == {0o700, 0o600}


def test_a_stack_on_aws_is_its_outputs() -> None:
    """The same names, and nothing of this machine."""
    found = discovery.describe(OUTPUTS, stack_name="prod", region="eu-west-1", aws_endpoint_url=None)

    assert found.webhook_url == OUTPUTS["WebhookUrl"]
    assert found.tables["usage"] == "s3://prod-lake/lake/usage"
    assert found.environment == {}


def test_a_service_connects_to_what_its_environment_names() -> None:
    """Else to the stack that runs here; what is not named is asked for only when it is used."""
    with discovery.announced(local(8787)):
        assert connect(environment={}).names["RecordsTable"] == "prod-Records"
        assert connect(environment={}).where["endpoint_url"] == "http://127.0.0.1:8788"
        named = connect(environment={"RECORDS_TABLE": "mine", "EVENTS_TABLE": "facts"})
        assert (named.names, named.where) == ({"RecordsTable": "mine", "EventsTable": "facts"}, {})
        with pytest.raises(Misconfigured, match="BUS_NAME"):
            named.bus()

    with pytest.raises(Misconfigured, match="nilometer local"):
        connect(environment={})
