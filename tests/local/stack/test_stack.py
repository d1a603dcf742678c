"""The whole stack as a `with`: what it needs of its surroundings, and what it leaves."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nilometer import CreateWorkspace, perform, service
from nilometer.aws.dynamodb import Store
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table
from nilometer.errors import Misconfigured, Refused
from nilometer.local.plane import discovery
from nilometer.local.stack.idle import await_idle
from nilometer.local.stack.stack import Options, beside, stack

ANYWHERE = {"port": 0, "aws_port": 0}


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NILOMETER_RUNTIME_DIR", str(tmp_path / "run"))


def test_it_never_reaches_beyond_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever profile, region or endpoint the user's environment has; and that is as before afterwards."""
    theirs = {"AWS_PROFILE": "production", "AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    for name, value in theirs.items():
        monkeypatch.setenv(name, value)

    with stack(Options(**ANYWHERE)) as running:
        assert running.description.region == "us-east-1"
        assert await_idle(running.status, timeout=180)["idle"]

    assert {name: os.environ[name] for name in theirs} == theirs


def test_without_a_folder_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The temporary one is gone, and so is the announcement."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with stack(Options(**ANYWHERE)):
        [folder] = tmp_path.glob("nilometer-*")
        assert (folder / "engine.log").exists()
        assert discovery.running()

    assert not folder.exists()
    assert not discovery.running()


def test_only_the_first_functions_get_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """The status is of them alone; what waited for another one reaches it with the widening."""
    monkeypatch.setenv("AWS_PROFILE", "production")
    with beside(Options(**ANYWHERE), first=lambda: ["BillingFunction"]) as running:
        [usage] = [one for one in running.runner.deployment.queues if "-UsageQueue-" in one.name]
        running.client("sqs").send_message(QueueUrl=usage.url, MessageBody="{}")

        first = running.status()

        assert first["idle"]
        assert [name.split("-")[1] for name in first["queues"]] == ["BillingQueue"]
        running.widen()
        status = await_idle(running.status, timeout=180)
        [usage_function] = [one for name, one in status["functions"].items() if "-UsageFunction-" in name]
        assert usage_function["used"][usage.name]["invocations"]
        assert os.environ["AWS_PROFILE"] == "production"


def test_a_start_that_is_given_up_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reason for which it was."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def refuse() -> None:
        raise Refused("nothing to do")

    with pytest.raises(Refused, match="nothing to do"), beside(Options(**ANYWHERE), first=refuse):
        pass

    assert not list(tmp_path.glob("nilometer-*"))
    assert not discovery.running()


def test_a_failed_deployment_stops_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is free again at once."""
    monkeypatch.setattr("nilometer.local.plane.deploy.template", lambda: "Resources: {Thing: {Type: AWS::No::Thing}}")
    with pytest.raises(Misconfigured, match="Thing"), stack(Options(**ANYWHERE, data=tmp_path / "data")):
        pass

    monkeypatch.undo()
    monkeypatch.setenv("NILOMETER_RUNTIME_DIR", str(tmp_path / "run"))
    with stack(Options(**ANYWHERE, data=tmp_path / "data")) as running:
        assert not running.failed


def test_a_killed_engine_is_noticed_and_forgets_nothing(tmp_path: Path) -> None:
    """What it had acknowledged is there after the next start on the folder."""
    options = Options(**ANYWHERE, data=tmp_path / "data")
    with stack(options) as running:
        assert running.warnings == ()
    with stack(options) as running:
        assert running.warnings == ()
        store = Store(running.client("dynamodb"), records=running.description.records_table, events="")
        perform(store, service("acme", None), CreateWorkspace(name="Acme"), now=datetime.now(UTC))
        kill_engine(running.engine.process.pid)
        deadline = time.monotonic() + 60
        while not running.failed and time.monotonic() < deadline:
            time.sleep(0.05)
        assert running.failed

    with stack(options) as running:
        assert running.warnings == ()
        store = Store(running.client("dynamodb"), records=running.description.records_table, events="")
        assert store.get(Table.RECORDS, keys.workspace("acme")) is not None


def kill_engine(guard: int) -> None:
    """The engine itself: its guard could still let it save."""
    [child] = Path(f"/proc/{guard}/task/{guard}/children").read_text().split()
    os.kill(int(child), 9)
