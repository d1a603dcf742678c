"""`nilometer trigger`: one signed, realistic Stripe event."""

from __future__ import annotations

import json

import click

from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.output import json_option, note, print_json
from nilometer.errors import Unavailable


@click.command()
@click.argument("event_type")
@click.option("--workspace", metavar="W", help="Whose customer it concerns; one of its own unless given.")
@stack_options
@json_option
def trigger(connection: Connection, event_type: str, workspace: str | None, as_json: bool) -> None:
    """Post a signed, realistic event of EVENT_TYPE to the webhook.

    \b
    Example:
      nilometer trigger customer.subscription.created --workspace acme
    """
    from nilometer.local.stripe.samples import sample

    try:
        event = sample(event_type, workspace, connection.now)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    delivery = connection.endpoint().deliver(1, json.dumps(event).encode())
    if not delivery.taken:
        raise Unavailable(f"the webhook answered {delivery.status or 'nothing'}: {delivery.reason}")
    if as_json:
        print_json(event)
    else:
        note(f"{event['type']} {event['id']} posted, taken")
