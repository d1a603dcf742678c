"""`nilometer webhook`: where the events of a workspace are posted to."""

from __future__ import annotations

from dataclasses import replace

import click

import nilometer
from nilometer.aws.secrets import AuditKeys
from nilometer.cli.terminal.caller import InWorkspace, confirmed, in_workspace, row, yes_option
from nilometer.cli.terminal.deeds import argument, option, takes
from nilometer.cli.terminal.groups import SectionedGroup
from nilometer.cli.terminal.output import echo, json_option, note, print_json, print_rows
from nilometer.domain.notices.webhook import Signing, Webhook
from nilometer.flows.notices import webhooks
from nilometer.flows.notices.webhooks import WebhookMeans

_COLUMNS = ("id", "url", "types", "off", "failing_since", "rotating_until")


@click.group(cls=SectionedGroup)
def webhook() -> None:
    """Post the events of a workspace to HTTPS addresses, signed."""


@webhook.command()
@in_workspace
@takes(nilometer.CreateWebhook, url=argument("URL"), types=option("--type", help="Of the events; again for more."))
@json_option
def create(at: InWorkspace, deed: nilometer.CreateWebhook, as_json: bool) -> None:
    """Post events of W to URL from now on; without --type all that a workspace may know. The secret is printed now and
    never again.

    \b
    Example:
      nilometer webhook create acme https://hooks.example.com/nilometer --type billing.plan_changed.v1
    """
    _signed(at, replace(deed, loopback=at.connection.is_local), as_json)


@webhook.command(name="list")
@in_workspace
@json_option
def list_webhooks(at: InWorkspace, as_json: bool) -> None:
    """Webhooks of W, and why nothing is sent to those that are off.

    \b
    Example:
      nilometer webhook list acme
    """
    rows = [row(one) for one in webhooks.webhooks(at.store, at.caller)]
    print_rows(_COLUMNS, rows, as_json=as_json, empty="no webhook")


@webhook.command()
@in_workspace
@takes(
    nilometer.UpdateWebhook,
    webhook_id=argument("WEBHOOK"),
    url=option(),
    types=option("--type", help="Of the events; again for more."),
    enabled=option("--on/--off", help="Whether events are sent; on again, its failures are forgotten."),
)
@json_option
def update(at: InWorkspace, deed: nilometer.UpdateWebhook, as_json: bool) -> None:
    """Change WEBHOOK, by its id; what is not given stays.

    \b
    Example:
      nilometer webhook update acme 01KB4T1M5Y0S9N4F7Q2W8X6ZRD --on
    """
    found = at.perform(replace(deed, loopback=at.connection.is_local))
    note(f"webhook {found.id} is {'on' if found.off is None else 'off'}")
    if as_json:
        print_json(row(found))


@webhook.command()
@in_workspace
@takes(
    nilometer.RotateWebhookSecret,
    webhook_id=argument("WEBHOOK"),
    overlap_hours=option("--overlap", metavar="HOURS", help="How long the old secret signs too; else 24."),
)
@json_option
def rotate(at: InWorkspace, deed: nilometer.RotateWebhookSecret, as_json: bool) -> None:
    """Give WEBHOOK, by its id, a new secret. The old one signs beside it for the overlap.

    \b
    Example:
      nilometer webhook rotate acme 01KB4T1M5Y0S9N4F7Q2W8X6ZRD --overlap 48
    """
    _signed(at, deed, as_json)


@webhook.command()
@in_workspace
@takes(nilometer.DeleteWebhook, webhook_id=argument("WEBHOOK"))
@yes_option
def delete(at: InWorkspace, deed: nilometer.DeleteWebhook, yes: bool) -> None:
    """Delete WEBHOOK, by its id. Nothing more is posted to it, and its secrets are over.

    \b
    Example:
      nilometer webhook delete acme 01KB4T1M5Y0S9N4F7Q2W8X6ZRD --yes
    """
    confirmed(f"Delete webhook {deed.webhook_id}?", yes)
    at.perform(deed)
    note(f"webhook {deed.webhook_id} is deleted")


def _signed(at: InWorkspace, deed: Signing, as_json: bool) -> None:
    """A secret, the only time that it is shown: alone on stdout, or with what it is for as JSON."""
    means = _means(at)
    means.key()  # without it nothing is written
    made: Webhook = at.perform(deed)
    if as_json:
        print_json({**row(made), "secret": means.secret(made)})
        return
    note(f"webhook {made.id} of {made.url}; its secret is shown this once:")
    echo(means.secret(made))


def _means(at: InWorkspace) -> WebhookMeans:
    arn = at.connection.resources("AWS::SecretsManager::Secret").get("WebhookKey")
    if arn is None:
        return WebhookMeans()
    return WebhookMeans.of(AuditKeys.stored(at.connection.client("secretsmanager"), arn=arn), loopback=False)
