"""`nilometer trigger`: one signed, realistic Stripe event."""

from __future__ import annotations

import json
from collections.abc import Iterable

import click

from nilometer.cli.terminal.completing import among
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.output import echo, json_option, note, print_json
from nilometer.errors import Unavailable


def _event_types() -> Iterable[str]:
    from nilometer.local.stripe.event_types import EVENT_TYPES

    return sorted(EVENT_TYPES)


def _list(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    """Answers instead of the command, which needs a stack."""
    if wanted and not context.resilient_parsing:
        for name in _event_types():
            echo(name)
        context.exit()


@click.command()
@click.argument("event_type", shell_complete=among(_event_types))
@click.option("--list", is_flag=True, is_eager=True, expose_value=False, callback=_list, help="Every EVENT_TYPE.")
@click.option("--workspace", metavar="W", help="The workspace of the event's customer; without it, a new one.")
@click.option("--set", "assignments", multiple=True, metavar="PATH=VALUE", help="Of its object; repeatable.")
@stack_options
@json_option
def trigger(
    connection: Connection, event_type: str, *, workspace: str | None, assignments: tuple[str, ...], as_json: bool
) -> None:
    """Post a signed, realistic event of EVENT_TYPE to the webhook.

    PATH is a path in the event's data.object, with dots between names and list indexes; a missing field is created.
    VALUE is JSON if it can be read as JSON, else text.

    \b
    Examples:
      nilometer trigger customer.subscription.created --workspace acme
      nilometer trigger invoice.paid --set currency=eur --set lines.data.0.quantity=5
      nilometer trigger --list | grep invoice
    """
    from nilometer.local.stripe.assignments import assign
    from nilometer.local.stripe.samples import sample

    try:
        event = sample(event_type, workspace, connection.now)
    except ValueError as error:
        raise click.UsageError(f"{error}; `nilometer trigger --list` names all") from error
    try:
        assign(event, assignments)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--set") from error
    delivery = connection.endpoint().deliver(1, json.dumps(event).encode())
    if not delivery.taken:
        raise Unavailable(f"the webhook answered {delivery.status or 'nothing'}: {delivery.reason}")
    if as_json:
        print_json(event)
    else:
        note(f"{event['type']} {event['id']} posted, taken")
