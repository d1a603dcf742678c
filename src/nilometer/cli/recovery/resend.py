"""`nilometer resend`: one event again, from what the stack itself has of it."""

from __future__ import annotations

import click

from nilometer.cli.recovery.trace import sources
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.output import err, json_option, note, print_json
from nilometer.errors import Unavailable


@click.command()
@click.argument("event", metavar="EVENT_ID")
@click.option("--account", metavar="ACCT", help="The connected account at Stripe; your own unless given.")
@stack_options
@json_option
def resend(connection: Connection, event: str, account: str | None, as_json: bool) -> None:
    """Send one stored event again; the flow drops it as a duplicate.

    A Stripe event is posted to the webhook, signed again, with the whole payload of its fact (40 days). Usage is
    published on the bus, from the lake (35 days). EVENT_ID is Stripe's, or SOURCE#ID of usage; for usage that is in the
    lake the ID is enough. Only usage without a fact in the tables is counted again. To send a reject again, use
    `nilometer rejects resend`; for a dead letter, `nilometer dlq redrive`.

    \b
    Examples:
      nilometer resend evt_1SWfA2KZ9dQ
      nilometer resend "/services/inference#req_42" --stack nilometer-prod
    """
    from nilometer.flows.publish.usage import publish
    from nilometer.flows.recovery.replay import stored_event

    with err().status("looking ..."):
        found = stored_event(event, sources(connection), account=account)
    if found.body is not None:
        delivery = connection.endpoint().deliver(1, found.body)
        if not delivery.taken:
            raise Unavailable(f"the webhook answered {delivery.status or 'nothing'}: {delivery.reason}")
    if found.usage is not None:
        publish(connection.bus(), [found.usage])
    outcome = "duplicate" if found.known else "new"
    if as_json:
        print_json({"event": event, "by": "webhook" if found.body is not None else "bus", "expected": outcome})
    else:
        note(f"{event} sent again; it is {'a duplicate' if found.known else 'new: its fact was lost'}")
