"""`nilometer email`: what the service that keeps people's addresses needs to know of this stack."""

from __future__ import annotations

import click

from nilometer.aws.secrets import AuditKeys
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.groups import SectionedGroup
from nilometer.cli.terminal.output import echo, note
from nilometer.domain.notices.webhook_signature import addresses_secret
from nilometer.errors import Refused


@click.group(cls=SectionedGroup)
def email() -> None:
    """Mail notifications to people, whose addresses another service keeps."""


@email.command()
@stack_options
def secret(connection: Connection) -> None:
    """Print the secret that requests for addresses are signed with: for the service that answers them.

    It is derived from the stack's key and stored nowhere; a new key makes a new one.

    \b
    Example:
      nilometer email secret --stack nilometer-prod
    """
    arn = connection.resources("AWS::SecretsManager::Secret").get("WebhookKey")
    if arn is None:
        raise Refused("this stack sends no mail; deploy it with Webhooks=true, EmailDomain and EmailAddresses")
    note("the service that answers for addresses verifies requests with:")
    echo(addresses_secret(AuditKeys.stored(connection.client("secretsmanager"), arn=arn).current()[0]))
