"""template.yaml in the engine: once, again, and when it cannot be."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ministack.services.cloudformation import engine as templates

from nilometer.aws.dynamodb import Store
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table
from nilometer.errors import Misconfigured
from nilometer.local.plane import deploy, plane
from nilometer.local.plane.engine import engine
from nilometer.local.stack.stack import clients


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[deploy.Client]:
    """Of an engine of its own: a stack's names are the account's."""
    data = tmp_path_factory.mktemp("engine")
    with engine(port=0, data=data, log=data / "engine.log") as running:
        yield clients(running)


@pytest.fixture(scope="module")
def outputs(client: deploy.Client) -> dict[str, str]:
    return deploy.deploy(client, stripe_secrets=["whsec_one", "whsec_two"])


def test_the_outputs_name_what_exists(client: deploy.Client, outputs: dict[str, str]) -> None:
    """Tables, bus, bucket and secret answer by the names that commands will use."""
    for table in ("RecordsTable", "EventsTable"):
        assert client("dynamodb").describe_table(TableName=outputs[table])["Table"]["TableStatus"] == "ACTIVE"
    client("events").describe_event_bus(Name=outputs["BusName"])
    client("s3").head_bucket(Bucket=outputs["LakeBucket"])
    assert outputs["LakeUri"] == f"s3://{outputs['LakeBucket']}/lake"
    secret = client("secretsmanager").get_secret_value(SecretId=outputs["StripeSecretArn"])["SecretString"]
    assert secret == "whsec_one whsec_two"


def test_a_template_is_read_the_same_by_the_quick_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tag and value of template.yaml."""
    monkeypatch.setattr(templates, "CfnLoader", templates.CfnLoader)
    slowly = templates._parse_template(deploy.template())

    plane._parse_quickly()

    assert issubclass(templates.CfnLoader, yaml.CSafeLoader)
    assert templates._parse_template(deploy.template()) == slowly


def test_a_stack_starts_with_its_meters(client: deploy.Client, outputs: dict[str, str]) -> None:
    """A newcomer can send usage at once."""
    store = Store(client("dynamodb"), records=outputs["RecordsTable"], events=outputs["EventsTable"])

    found = {slug: store.get(Table.RECORDS, keys.meter(slug)) for slug, _, _ in deploy.METERS}

    assert {slug: (item["unit"], item["aggregation"]) for slug, item in found.items() if item} == {
        "api_calls": ("call", "sum"),
        "storage_gb_hours": ("gb_hour", "sum"),
        "seats": ("seat", "max"),
    }


def test_deploying_again_keeps_names_and_items(client: deploy.Client, outputs: dict[str, str]) -> None:
    """Only the secret is new."""
    dynamodb = client("dynamodb")
    before = dynamodb.scan(TableName=outputs["RecordsTable"])["Items"]

    assert deploy.deploy(client, stripe_secrets=["whsec_new"]) == outputs
    assert dynamodb.scan(TableName=outputs["RecordsTable"])["Items"] == before


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("Resources: {Queue: {Type: AWS::SQS::Queue, Properties: {FifoQueue: true, QueueName: x}}}", "Queue"),
        ("Resources: {Thing: {Type: AWS::No::Thing}}", "Thing"),
        ("Resources: [", "cannot be deployed"),
    ],
)
def test_a_template_that_fails_is_a_sentence(
    client: deploy.Client, monkeypatch: pytest.MonkeyPatch, template: str, says: str
) -> None:
    """With the resource that failed and why."""
    monkeypatch.setattr(deploy, "template", lambda: template)

    with pytest.raises(Misconfigured, match=says):
        deploy.deploy(client, stripe_secrets=["whsec_x"], stack_name=f"broken-{abs(hash(template))}")


def test_the_template_of_the_checkout_is_deployed(project: Path) -> None:
    """What one edits is what runs."""
    assert deploy.template() == (project / "template.yaml").read_text()


def test_the_wheel_carries_template_schemas_and_types(project: Path, tmp_path: Path) -> None:
    """Installed elsewhere, the package finds its own copy of each."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=project,
        check=True,
        capture_output=True,
    )
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    shutil.rmtree(tmp_path / "site" / "nilometer" / "cli")

    code = "from nilometer.local.plane import deploy; print(deploy.__file__); print(deploy.template(), end='')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(tmp_path / "site")},
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )

    where, _, template = done.stdout.partition("\n")
    assert where.startswith(str(tmp_path))
    assert template == (project / "template.yaml").read_text()
    packaged = {path.name: path.read_text() for path in (tmp_path / "site/nilometer/schemas").iterdir()}
    assert packaged == {path.name: path.read_text() for path in (project / "events/schemas").iterdir()}
    assert (tmp_path / "site/nilometer/py.typed").exists()
