"""`nilometer webhook`: where the events of a workspace are posted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING

import click

import nilometer
from nilometer.aws.secrets import AuditKeys
from nilometer.aws.sqs import Queue
from nilometer.cli.lake.ledger import ledger_of
from nilometer.cli.terminal.caller import InWorkspace, confirmed, in_workspace, row, yes_option
from nilometer.cli.terminal.deeds import argument, option, takes
from nilometer.cli.terminal.groups import SectionedGroup
from nilometer.cli.terminal.output import echo, json_option, note, print_json, print_rows
from nilometer.cli.terminal.times import time_option
from nilometer.domain.notices.webhook import Signing, Webhook
from nilometer.errors import Refused, Rejected
from nilometer.flows.notices import webhooks
from nilometer.flows.notices.webhooks import WebhookMeans

if TYPE_CHECKING:
    from nilometer.flows.notices.redelivery import Redelivery

_COLUMNS = ("id", "url", "types", "off", "failing_since", "rotating_until")


@click.group(cls=SectionedGroup)
def webhook() -> None:
    """Post the events of a workspace to HTTPS addresses, signed."""


@webhook.command()
@in_workspace
@takes(nilometer.CreateWebhook, url=argument("URL"), types=option("--type", help="The type of the events; repeatable."))
@json_option
def create(at: InWorkspace, deed: nilometer.CreateWebhook, as_json: bool) -> None:
    """Post events of W to URL from now on; without --type, all types that workspaces may receive. The secret is printed
    once.

    \b
    Example:
      nilometer webhook create acme https://hooks.example.com/nilometer --type billing.plan_changed.v1
    """
    _signed(at, replace(deed, loopback=at.connection.is_local), as_json)


@webhook.command(name="list")
@in_workspace
@json_option
def list_webhooks(at: InWorkspace, as_json: bool) -> None:
    """Webhooks of W, and why each disabled one is off.

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
    types=option("--type", help="The type of the events; repeatable."),
    enabled=option("--on/--off", help="Whether events are sent; --on also resets its count of failures."),
)
@json_option
def update(at: InWorkspace, deed: nilometer.UpdateWebhook, as_json: bool) -> None:
    """Change WEBHOOK, by its id; options that are not given stay.

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
    overlap_hours=option("--overlap", metavar="HOURS", help="How long the old secret also signs; 24 unless given."),
)
@json_option
def rotate(at: InWorkspace, deed: nilometer.RotateWebhookSecret, as_json: bool) -> None:
    """Give WEBHOOK, by its id, a new secret. During the overlap both secrets sign.

    \b
    Example:
      nilometer webhook rotate acme 01KB4T1M5Y0S9N4F7Q2W8X6ZRD --overlap 48
    """
    _signed(at, deed, as_json)


@webhook.command()
@in_workspace
@click.argument("webhook_id", metavar="WEBHOOK")
@click.argument("events", metavar="[EVENT_ID]...", nargs=-1)
@time_option("--since", help="What was announced from this time on.")
@click.option("--dry-run", is_flag=True, help="Show the events; send nothing.")
@json_option
def redeliver(
    at: InWorkspace, *, webhook_id: str, events: tuple[str, ...], since: datetime | None, dry_run: bool, as_json: bool
) -> None:
    """Send events to WEBHOOK again: those that are named, or all that it wants since a time.

    Each goes out as it was announced and with the same webhook-id, so a receiver passes over what it has. They come
    from the audit, which has them some minutes later and for ever: also of a time when WEBHOOK was off.

    \b
    Examples:
      nilometer webhook redeliver acme 01KB4T1M5Y0S9N4F7Q2W8X6ZRD --since 2026-11-26T04:00:00Z --dry-run
      nilometer webhook redeliver acme 01KB4T1M5Y0S9N4F7Q2W8X6ZRD acme:7:billing.plan_changed.v1
    """
    if not events and since is None:
        raise click.UsageError("name the events by their ids, or give --since")
    found = _announced(at, _on(at, webhook_id), events, since)
    if not dry_run:
        queue = Queue(at.connection.client("sqs"), url=at.connection.queues()["HooksQueue"])
        queue.send([one.body for one in found], group=f"{at.workspace_id}/{webhook_id}")
    rows = [{"event": one.event_id, "type": one.type, "time": one.time} for one in found]
    print_rows(("event", "type", "time"), rows, as_json=as_json, empty="no such event")
    note(f"{'to be sent' if dry_run else 'sent'} again: {len(found)}")


@webhook.command()
@in_workspace
@takes(nilometer.DeleteWebhook, webhook_id=argument("WEBHOOK"))
@yes_option
def delete(at: InWorkspace, deed: nilometer.DeleteWebhook, yes: bool) -> None:
    """Delete WEBHOOK, by its id. Nothing more is posted to it, and its secrets are deleted.

    \b
    Example:
      nilometer webhook delete acme 01KB4T1M5Y0S9N4F7Q2W8X6ZRD --yes
    """
    confirmed(f"Delete webhook {deed.webhook_id}?", yes)
    at.perform(deed)
    note(f"webhook {deed.webhook_id} is deleted")


def _on(at: InWorkspace, webhook_id: str) -> Webhook:
    """What is off would get nothing, and without the stack's key nothing reads the queue."""
    _means(at).key()
    found = next((one for one in webhooks.webhooks(at.store, at.caller) if one.id == webhook_id), None)
    if found is None:
        raise Refused(f"there is no webhook {webhook_id} here")
    if found.off is not None:
        raise Refused(
            f"webhook {webhook_id} is off; `nilometer webhook update {at.workspace_id} {webhook_id} --on` first"
        )
    return found


def _announced(at: InWorkspace, to: Webhook, events: Sequence[str], since: datetime | None) -> list[Redelivery]:
    from nilometer.flows.notices.redelivery import TOLD_BY, redeliveries
    from nilometer.flows.recovery.history import show

    ledger, objects = ledger_of(at.connection), at.connection.objects()
    steps = (show(kind, at.workspace_id, ledger=ledger, objects=objects, since=since) for kind in TOLD_BY)
    found = sorted(redeliveries(to, chain.from_iterable(steps), events), key=attrgetter("time", "event_id"))
    if unknown := sorted(set(events) - {one.event_id for one in found}):
        raise Rejected(
            "unknown_event",
            f"the lake has no {unknown[0]} that webhook {to.id} wants; it comes there some minutes later",
        )
    return found


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
