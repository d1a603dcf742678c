"""The deploy guide, followed literally: an empty account, `AWS_REGION` alone set, one shell that runs each block."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.project import HERE, ROOT, Build
from tests.support.stack.proof.production import CREDENTIALS, PACKING, client, deployed, enforcing_engine, until

from nilometer.domain.store import keys
from nilometer.local.stripe.server import FakeStripe, serve
from nilometer.local.stripe.world import StripeWorld

STACK = "nilometer-dev"
MARK = "<!-- tried by tests/template/functions/test_guide.py -->"
GAPS = f'"$TESTS_PYTHON" -m tests.support.stack.proof.production "$AWS_ENDPOINT_URL" {STACK}'

pytestmark = pytest.mark.timeout(1800)


def guided() -> list[str]:
    """The blocks that this test runs, in the order of the guide."""
    text = (ROOT / "docs/deploy.md").read_text()
    return re.findall(rf"{re.escape(MARK)}\n```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def aws_command() -> Path:
    """The AWS CLI."""
    found = shutil.which("aws") or shutil.which("aws", path=str(Path(sys.prefix, "awscli/bin")))
    if not found:
        pytest.skip("the AWS CLI is not installed; `make test` does it")
    return Path(found)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, build: Build, sam: Path, aws_command: Path) -> Path:
    """A newcomer's folder after `make build`, on a machine with this processor."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / ".aws-sam").mkdir()
    (folder / ".aws-sam/build").symlink_to(build(HERE))
    (folder / ".venv").symlink_to(sam.parents[2])
    config = (ROOT / "samconfig.toml").read_text()
    (folder / "samconfig.toml").write_text(config.replace('"Stage=dev ', f'"Architecture={HERE} Stage=dev '))
    (folder / "bin").mkdir()
    # Version 2 reads AWS_REGION, and pip has version 1 alone, which does not.
    (folder / "bin/aws").write_text(f'#!/bin/sh\nexec {aws_command} --region "$AWS_REGION" "$@"\n')
    (folder / "bin/aws").chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an engine with nothing in it."""
    with enforcing_engine(tmp_path_factory.mktemp("account")) as endpoint_url:
        yield endpoint_url


@pytest.fixture(scope="module")
def fake() -> Iterator[tuple[str, FakeStripe]]:
    with serve(StripeWorld(datetime.now(UTC).replace(microsecond=0), seed=1)) as served:
        yield served


@pytest.fixture(scope="module")
def followed(checkout: Path, account: str, fake: tuple[str, FakeStripe]) -> subprocess.CompletedProcess[str]:
    """All blocks but the last, in one shell. After the deployment the engine's own gaps are filled."""
    first, *rest = guided()[:-1]
    return shell(checkout, account, fake[0], "\n".join([first, GAPS, *rest]))


def shell(checkout: Path, account: str, stripe: str, script: str) -> subprocess.CompletedProcess[str]:
    """With nothing of AWS in its environment but credentials and where the account is. A key of Stripe is typed."""
    environment = {
        "PATH": f"{checkout}/bin:{os.environ['PATH']}",
        "HOME": str(checkout),
        "AWS_ENDPOINT_URL": account,
        "STRIPE_API_BASE": stripe,
        **PACKING,
        "PYTHONPATH": f"{PACKING['PYTHONPATH']}:{ROOT}/src:{ROOT}",
        "TESTS_PYTHON": sys.executable,
        "SAM_CLI_TELEMETRY": "0",
        **CREDENTIALS,
    }
    return subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", script],
        cwd=checkout,
        env=environment,
        input="sk_test_fake\n",
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_block_runs(followed: subprocess.CompletedProcess[str]) -> None:
    """From the first deployment to the first event, as they stand in the page."""
    assert len(guided()) == 7
    assert followed.returncode == 0, followed.stdout[-2000:] + followed.stderr[-2000:]
    assert "https://" in followed.stdout
    assert '"FailedEntryCount": 0' in followed.stdout


def test_stripe_has_the_endpoint_and_the_stack_its_secret(
    followed: subprocess.CompletedProcess[str], account: str, fake: tuple[str, FakeStripe]
) -> None:
    """The one that the guide made, and the one that its rotation put in front."""
    arn = deployed(account, STACK, secret=None).ids["StripeSigningSecrets"]
    stored = client(account, "secretsmanager").get_secret_value(SecretId=arn)["SecretString"]

    assert len(fake[1].endpoints.secrets) == 2
    assert set(stored.split()) == set(fake[1].endpoints.secrets.values())


def test_the_first_event_is_true(followed: subprocess.CompletedProcess[str], account: str) -> None:
    """The workspace of the guide is in the table, and its change in the lake."""
    stack = deployed(account, STACK, secret=None)
    key = keys.workspace("ws_first")
    place = {"TableName": stack.ids["RecordsTable"], "Key": {"pk": {"S": key.pk}, "sk": {"S": key.sk}}}

    assert until(lambda: client(account, "dynamodb").get_item(**place).get("Item"))["name"]["S"] == "First"
    assert until(lambda: stack.rows("select kind from audit where kind = 'workspace'")) == [("workspace",)]


def test_it_is_taken_down_and_keeps_what_is_true(
    followed: subprocess.CompletedProcess[str], checkout: Path, account: str, fake: tuple[str, FakeStripe]
) -> None:
    """The last block: tables and bucket stay."""
    stack = deployed(account, STACK, secret=None)
    done = shell(checkout, account, fake[0], "export AWS_REGION=us-east-1\n" + guided()[-1])

    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    stacks = client(account, "cloudformation").list_stacks()["StackSummaries"]
    assert {s["StackStatus"] for s in stacks if s["StackName"] == STACK} == {"DELETE_COMPLETE"}
    assert stack.ids["RecordsTable"] in client(account, "dynamodb").list_tables()["TableNames"]
    client(account, "s3").head_bucket(Bucket=stack.ids["LakeBucket"])
