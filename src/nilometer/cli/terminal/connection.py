"""`--port`, `--endpoint-url`, `--stack`: which stack a command talks to, and the clients for it."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from nilometer.aws.dynamodb import Store
from nilometer.aws.eventbridge import Bus
from nilometer.aws.landing import Landing
from nilometer.aws.s3 import Objects
from nilometer.aws.secrets import SigningSecrets
from nilometer.cli.terminal.output import note
from nilometer.errors import Misconfigured
from nilometer.local.plane import discovery
from nilometer.local.plane.discovery import StackDescription

if TYPE_CHECKING:
    from nilometer.domain.billing.link import Trust
    from nilometer.local.demo.delivery import WebhookClient

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Connection:
    """A stack and the ways into it. This process talks to one stack only: its environment points there."""

    description: StackDescription
    now: datetime = field(default_factory=lambda: datetime.now(UTC))  # the time of the command, read once

    @property
    def is_local(self) -> bool:
        """Whether the stack runs on this machine."""
        return self.description.pid is not None

    def client(self, service: str) -> Any:
        """A boto3 client of a service, of this stack."""
        from nilometer.aws.clients import client

        return client(service)

    def store(self) -> Store:
        """The two tables."""
        tables = self.description
        return Store(self.client("dynamodb"), records=tables.records_table, events=tables.events_table)

    def bus(self) -> Bus:
        """The event bus."""
        return Bus(self.client("events"), name=self.description.bus)

    def objects(self) -> Objects:
        """The lake's bucket."""
        return Objects(self.client("s3"), bucket=self.description.lake_bucket)

    def functions(self) -> Any:
        """Lambda's client, to invoke functions. On this machine the runner of the stack answers for Lambda."""
        from nilometer.aws.clients import client

        return client("lambda", endpoint_url=self.description.origin) if self.is_local else client("lambda")

    def queues(self) -> dict[str, str]:
        """URLs by the names of the template: `BillingQueue`."""
        return self.resources("AWS::SQS::Queue")

    def resources(self, resource_type: str) -> dict[str, str]:
        """Physical ids by the names of the template."""
        pages = self.client("cloudformation").get_paginator("list_stack_resources")
        return {
            resource["LogicalResourceId"]: resource["PhysicalResourceId"]
            for page in pages.paginate(StackName=self.description.stack_name)
            for resource in page["StackResourceSummaries"]
            if resource["ResourceType"] == resource_type
        }

    @property
    def trust(self) -> Trust:
        """Whose objects of Stripe may name workspaces in this stack."""
        from nilometer.domain.billing.link import Trust, trust_of

        scopes = self.description.billing_scopes
        return Trust() if scopes is None else trust_of(scopes)

    def landing(self) -> Landing:
        """Where services put files for datasets."""
        return Landing(self.client("s3"), bucket=self.description.lake_bucket)

    def endpoint(self) -> WebhookClient:
        """The webhook, signed for with the stack's own secret, which needs the right to read it."""
        from nilometer.local.demo.delivery import WebhookClient

        secrets = SigningSecrets(self.client("secretsmanager"), arn=self.description.stripe_secret_arn)
        return WebhookClient(self.description.webhook_url, secret=secrets.current()[0])


def stack_options(command: _Command) -> _Command:
    """Hands the command a `connection`."""

    @stack_choice
    @functools.wraps(command)
    def connected(*args: Any, find_stack: Callable[[], Connection], **kwargs: Any) -> Any:
        return command(*args, connection=find_stack(), **kwargs)

    return connected  # type: ignore[return-value]  # functools.wraps forgets the type


def stack_choice(command: _Command) -> _Command:
    """Hands the command a `find_stack` that finds the stack when it is called.

    What is typed wins over the environment. When several local stacks run and none is named, the newest one is asked
    and named on stderr; a command that asks before it acts (`--yes`) is refused.
    """

    @click.option("--port", type=int, envvar="NILOMETER_PORT", help="The local stack with this webhook port.")
    @click.option("--endpoint-url", metavar="URL", help="The local stack with this AWS endpoint.")
    @click.option("--stack", metavar="NAME", envvar="NILOMETER_STACK", help="A local stack by its name, or one on AWS.")
    @functools.wraps(command)
    def choosing(*args: Any, port: int | None, endpoint_url: str | None, stack: str | None, **kwargs: Any) -> Any:
        context = click.get_current_context()
        port, stack = _typed_first(context, port, stack)
        if stack and (port or endpoint_url):
            raise click.UsageError("--stack names one stack, --port and --endpoint-url another: choose one")
        destroys = any(parameter.name == "yes" for parameter in context.command.params)
        here = functools.partial(on_this_machine, port, endpoint_url, destroys=destroys)
        return command(*args, find_stack=functools.partial(by_name, stack) if stack else here, **kwargs)

    return choosing  # type: ignore[return-value]  # functools.wraps forgets the type


def _typed_first(context: click.Context, port: int | None, stack: str | None) -> tuple[int | None, str | None]:
    """Port and stack without the one that only the environment names while the other, or an endpoint, was typed."""
    typed = {
        name
        for name in ("port", "endpoint_url", "stack")
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    if "stack" in typed and "port" not in typed:
        return None, stack
    if typed & {"port", "endpoint_url"} and "stack" not in typed:
        return port, None
    return port, stack


def on_this_machine(port: int | None, endpoint_url: str | None, *, destroys: bool = False) -> Connection:
    """The local stack that was chosen, or the newest. From here on this process talks to it alone."""
    description = discovery.find(port=port, endpoint_url=endpoint_url)
    if port is None and endpoint_url is None and len(running := discovery.running()) > 1:
        _several(running, destroys=destroys)
    return _here(description)


def _here(description: StackDescription) -> Connection:
    os.environ.update(description.environment)
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        os.environ.pop(name, None)
    return Connection(description)


def _several(running: Sequence[StackDescription], *, destroys: bool) -> None:
    """Names them: the newest is first."""
    ports = [stack.origin.rpartition(":")[2] for stack in running]
    if destroys:
        raise Misconfigured(f"{len(ports)} local stacks run, at the ports {', '.join(ports)}; say which with --port")
    note(f"{len(ports)} local stacks run; this is the newest, --port {ports[0]}. `nilometer ls` lists all")


def by_name(name: str) -> Connection:
    """The local stack that was started with this name, which is said on stderr; else the one on AWS."""
    found = discovery.named(name)
    if found is None:
        return on_aws(name)
    note(f"{name} is the local stack at port {found.origin.rpartition(':')[2]}")
    return _here(found)


def on_aws(name: str) -> Connection:
    """The stack of this name in the region of the environment. `Misconfigured` when there is none."""
    from nilometer.aws.clients import client
    from nilometer.local.plane.deploy import find_stack, outputs

    cloudformation = client("cloudformation")
    stack: Mapping[str, Any] | None = find_stack(cloudformation, name)
    if stack is None:
        raise Misconfigured(
            f"there is no stack {name} in {cloudformation.meta.region_name}; check name, region, account"
        )
    region = cloudformation.meta.region_name
    return Connection(discovery.describe(outputs(stack), stack_name=name, region=region, aws_endpoint_url=None))
