"""Which stack a command talks to: the one running on this machine, or one on AWS.

A running `nilometer local` describes itself in a file of its own below the runtime directory and holds a
lock on it: a file whose lock is free is stale, whatever process has its number now. On AWS the names come
from the CloudFormation outputs; they came from there locally too.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nilometer.errors import Misconfigured

LAKE_TABLES = ("stripe_events", "usage", "audit")
KEY_PATH = "/_nilometer/key"
"""Where a local stack gives a key of its API to who knows the secret of its description."""
NOT_RUNNING = "no local stack is running; start one with `nilometer local`, or name a stack on AWS with --stack"


@dataclass(frozen=True, slots=True, kw_only=True)
class StackDescription:
    """What any client needs to know of a stack. `name`, `pid`, `data`, `logs`, endpoint and secret are those of a local
    one.
    """

    webhook_url: str
    aws_endpoint_url: str | None
    region: str | None
    bus: str
    records_table: str
    events_table: str
    lake_bucket: str
    lake_uri: str
    tables: Mapping[str, str]
    stripe_secret_arn: str
    stripe_api_key_arn: str
    stack_name: str
    billing_scopes: str | None = None
    stripe_secret: str | None = None
    name: str | None = None
    pid: int | None = None
    data: str | None = None
    logs: str | None = None

    def as_json(self) -> str:
        """For the file of the running stacks; the webhook's secret is in it, so the file is for its owner alone."""
        return json.dumps(asdict(self))

    @property
    def origin(self) -> str:
        """`http://127.0.0.1:8787` of a webhook URL below it."""
        return self.webhook_url.removesuffix("/webhooks/stripe")

    @property
    def client_options(self) -> dict[str, str]:
        """What boto3 needs for a client of this stack: nothing on AWS."""
        if self.aws_endpoint_url is None:
            return {}
        return {
            "endpoint_url": self.aws_endpoint_url,
            "region_name": self.region or "us-east-1",
            "aws_access_key_id": "test",
            "aws_secret_access_key": "test",
        }

    @property
    def environment(self) -> dict[str, str]:
        """What AWS clients need beyond the user's own environment: nothing on AWS."""
        if self.aws_endpoint_url is None:
            return {}
        region = self.region or "us-east-1"
        return {
            "AWS_ENDPOINT_URL": self.aws_endpoint_url,
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }


def describe(outputs: Mapping[str, str], **known: Any) -> StackDescription:
    """From the stack's outputs; `known` adds and overrides what only the caller can say."""
    lake_uri = outputs["LakeUri"]
    return StackDescription(
        **{
            "webhook_url": outputs["WebhookUrl"],
            "bus": outputs["BusName"],
            "records_table": outputs["RecordsTable"],
            "events_table": outputs["EventsTable"],
            "lake_bucket": outputs["LakeBucket"],
            "lake_uri": lake_uri,
            "tables": {name: f"{lake_uri}/{name}" for name in LAKE_TABLES},
            "stripe_secret_arn": outputs["StripeSecretArn"],
            "stripe_api_key_arn": outputs["StripeApiKeyArn"],
            "billing_scopes": outputs.get("BillingScopes"),
            **known,
        }
    )


@contextlib.contextmanager
def announced(description: StackDescription) -> Iterator[None]:
    """While this lasts, `running()` finds the stack."""
    path = runtime_directory() / f"{os.getpid()}-{time.time_ns()}.json"
    draft = path.with_suffix(".draft")
    with open(draft, "w", opener=_private) as file:  # Path.open takes no opener
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(description.as_json())
        file.flush()
        # Renamed only now: a reader never meets a description that is not locked yet, and takes it for stale.
        draft.rename(path)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def running() -> list[StackDescription]:
    """The live stacks of this user, newest first. Removes what dead ones left."""
    paths = sorted(runtime_directory().glob("*.json"), key=_started, reverse=True)
    return [description for path in paths if (description := _read_live(path))]


def find(*, port: int | None = None, endpoint_url: str | None = None) -> StackDescription:
    """The newest live stack, or the one with this port or endpoint. `Misconfigured` when there is none."""
    live = running()
    if port is None and endpoint_url is None:
        if not live:
            raise Misconfigured(NOT_RUNNING)
        return live[0]
    for stack in live:
        if stack.origin.endswith(f":{port}") or (endpoint_url and stack.aws_endpoint_url == endpoint_url.rstrip("/")):
            return stack
    raise Misconfigured(f"no local stack is running at {endpoint_url or f'port {port}'}; see what runs or start one")


def named(name: str) -> StackDescription | None:
    """The live stack that was started with this name."""
    return next((stack for stack in running() if stack.name == name), None)


def runtime_directory() -> Path:
    """Private to the user: the description holds the local signing secret."""
    if override := os.environ.get("NILOMETER_RUNTIME_DIR"):
        path = Path(override)
    elif runtime := os.environ.get("XDG_RUNTIME_DIR"):
        path = Path(runtime) / "nilometer"
    else:
        path = Path.home() / ".cache" / "nilometer" / "run"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(f"{path} cannot be made; set NILOMETER_RUNTIME_DIR to a folder of yours") from error
    return path


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _read_live(path: Path) -> StackDescription | None:
    try:
        with path.open() as file:
            if not _is_locked(file.fileno()):
                path.unlink(missing_ok=True)
                return None
            return StackDescription(**json.loads(file.read()))
    except (OSError, ValueError, TypeError):
        # Just removed, or of another version of this program.
        return None


def _is_locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _started(path: Path) -> int:
    _, _, nanoseconds = path.stem.partition("-")
    return int(nanoseconds) if nanoseconds.isdigit() else 0
