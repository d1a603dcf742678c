"""template.yaml through CloudFormation into the engine, as `sam deploy` does on AWS.

The engine runs no code: the functions' package is a placeholder, `local.runner` runs the source itself.
"""

from __future__ import annotations

import contextlib
import io
import re
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

import nilometer
from nilometer.aws.dynamodb import Store
from nilometer.errors import Misconfigured, Unavailable

STACK_NAME = "nilometer"
STRIPE_SECRET = "whsec_local_stack_only_0123456789"  # noqa: S105  # verifies nothing but what this machine signs
METERS = (("api_calls", "call", "sum"), ("storage_gb_hours", "gb_hour", "sum"), ("seats", "seat", "max"))
ACTOR = "nilometer local"
LOCAL_MAIL = "nilometer.example"
"""From where a stack on one machine mails; its SES keeps the mails and sends none."""
DEPLOY_SECONDS = 120
_BUCKET, _PACKAGE, _TEMPLATE = "nilometer-code", "placeholder.zip", "template.yaml"
_REASON = 500  # characters: CloudFormation may answer with the template
_TIME_TO_LIVE = {"AttributeName": "expires_at", "Enabled": True}
"""As template.yaml says of both tables; of a table in CloudFormation the engine passes over it."""

Client = Callable[[str], Any]
"""A boto3 client by its service's name."""


def deploy(
    client: Client,
    *,
    stripe_secrets: Sequence[str],
    stack_name: str = STACK_NAME,
    parameters: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Creates or updates the stack, stores the signing secrets, turns TTL on, seeds the meters; the stack's outputs.

    `parameters` are those of the template beside the stage.

    Doing it again changes nothing but the secrets, so a restart keeps every name and every item.
    `Misconfigured` names the resource that failed and its reason.
    """
    url = _upload(client("s3"))
    outputs = _deploy_template(client("cloudformation"), stack_name, url, parameters or {})
    client("secretsmanager").put_secret_value(
        SecretId=outputs["StripeSecretArn"], SecretString=" ".join(stripe_secrets)
    )
    if domain := (parameters or {}).get("EmailDomain"):
        _verify(client("sesv2"), domain)
    for table in (outputs["RecordsTable"], outputs["EventsTable"]):
        client("dynamodb").update_time_to_live(TableName=table, TimeToLiveSpecification=_TIME_TO_LIVE)
    _seed_meters(Store(client("dynamodb"), records=outputs["RecordsTable"], events=outputs["EventsTable"]))
    return outputs


def _verify(ses: Any, domain: str) -> None:
    """As the owner of a domain does once in his account."""
    with contextlib.suppress(ses.exceptions.AlreadyExistsException):
        ses.create_email_identity(EmailIdentity=domain)


def template() -> str:
    """template.yaml of this checkout, else the copy that the wheel carries."""
    checkout = Path(__file__).parents[4] / "template.yaml"
    if checkout.is_file():
        return checkout.read_text()
    packaged = resources.files("nilometer") / "template.yaml"
    if not packaged.is_file():
        raise Misconfigured("template.yaml is missing from this installation; install nilometer again")
    return packaged.read_text()


def _upload(s3: Any) -> str:
    """The template's URL: a request's own body holds 51,200 bytes, an object 1 MB.

    CloudFormation asks for a package that exists; the engine never opens it.
    """
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("placeholder.py", "")
    body = re.sub(r"(?m)^(\s+CodeUri:).*$", rf"\1 s3://{_BUCKET}/{_PACKAGE}", template())
    s3.create_bucket(Bucket=_BUCKET)
    s3.put_object(Bucket=_BUCKET, Key=_PACKAGE, Body=package.getvalue())
    s3.put_object(Bucket=_BUCKET, Key=_TEMPLATE, Body=body.encode())
    return f"{s3.meta.endpoint_url}/{_BUCKET}/{_TEMPLATE}"


def _deploy_template(cloudformation: Any, name: str, url: str, parameters: Mapping[str, str]) -> dict[str, str]:
    request = {
        "StackName": name,
        "TemplateURL": url,
        "Parameters": [
            {"ParameterKey": key, "ParameterValue": value} for key, value in {**parameters, "Stage": "local"}.items()
        ],
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    }
    try:
        _create_or_update(cloudformation, request)
        stack = _await_settled(cloudformation, name)
    except ClientError as error:
        reason = error.response["Error"]["Message"][:_REASON]
        raise Misconfigured(f"template.yaml cannot be deployed: {reason}") from error
    if stack["StackStatus"] not in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}:
        raise Misconfigured(_failure(cloudformation, stack))
    return outputs(stack)


def _create_or_update(cloudformation: Any, request: Mapping[str, Any]) -> None:
    if find_stack(cloudformation, request["StackName"]) is None:
        cloudformation.create_stack(**request)
        return
    try:
        cloudformation.update_stack(**request)
    except ClientError as error:
        if "No updates are to be performed" not in str(error):
            raise


def find_stack(cloudformation: Any, name: str) -> dict[str, Any] | None:
    """CloudFormation's description of the stack, or `None`."""
    try:
        stacks = cloudformation.describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return dict(stacks[0]) if stacks else None


def outputs(stack: Mapping[str, Any]) -> dict[str, str]:
    """The outputs of a stack as `describe_stacks` gave it, by key."""
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", ())}


def _await_settled(cloudformation: Any, name: str) -> dict[str, Any]:
    deadline = time.monotonic() + DEPLOY_SECONDS
    while time.monotonic() < deadline:
        stack = find_stack(cloudformation, name)
        if stack and not stack["StackStatus"].endswith("_IN_PROGRESS"):
            return stack
        time.sleep(0.05)
    raise Unavailable(f"the stack {name} did not settle within {DEPLOY_SECONDS} s")


def _failure(cloudformation: Any, stack: Mapping[str, Any]) -> str:
    """The first resource that failed: later ones fail because of it."""
    events = cloudformation.describe_stack_events(StackName=stack["StackName"])["StackEvents"]
    failed = [event for event in events if event["ResourceStatus"].endswith("_FAILED")]
    if not failed:
        return f"template.yaml cannot be deployed: {stack.get('StackStatusReason', stack['StackStatus'])}"
    first = min(failed, key=lambda event: event["Timestamp"])
    reason = first.get("ResourceStatusReason", first["ResourceStatus"])
    return f"template.yaml cannot be deployed: {first['LogicalResourceId']} ({first['ResourceType']}): {reason}"


def _seed_meters(store: Store) -> None:
    now = datetime.now(UTC)
    for slug, unit, aggregation in METERS:
        nilometer.perform(
            store,
            nilometer.operator(ACTOR),
            nilometer.CreateMeter(meter=slug, unit=unit, aggregation=aggregation),
            now=now,
        )
