"""`nilometer billing conflicts`, `link` and `drop`: what Stripe's events leave to an operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from nilometer.cli.billing.key import stripe_options
from nilometer.cli.terminal.caller import OPERATOR, confirmed, yes_option
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.output import json_option, note, out, print_json_lines, table
from nilometer.domain.acts.act import service
from nilometer.domain.billing.linking import LinkCustomer
from nilometer.domain.stripe.event import OWN_ACCOUNT, Scope
from nilometer.flows.billing.reading import list_conflicts, scopes_of
from nilometer.flows.billing.refetch import drop_event
from nilometer.flows.people.acting import perform

if TYPE_CHECKING:
    from nilometer.stripe_api.client import StripeApi

_REASONS = {
    "conflict": "a buyer named a workspace that has a customer",
    "refused": "its account or mode may not name workspaces",
}


@click.command()
@stack_options
@json_option
def conflicts(connection: Connection, as_json: bool) -> None:
    """Customers whose claim to a workspace was refused: what they pay for does not count.

    `nilometer billing link` links one to that workspace, or to another.

    \b
    Example:
      nilometer billing conflicts --json | jq -r '.customer'
    """
    found = list(list_conflicts(connection.store()))
    if as_json:
        print_json_lines(found)
    elif found:
        out().print(table(["workspace", "customer", "account", "mode", "~because", "~try"], map(_row, found)))
    else:
        note("no conflict")


@click.command()
@click.argument("customer", metavar="CUSTOMER")
@click.argument("workspace", metavar="W")
@click.option("--account", help="The connected account of the customer; found by search unless given.")
@click.option("--live/--test", "livemode", default=None, help="The customer's mode; found by search unless given.")
@yes_option
@stack_options
def link(
    connection: Connection, customer: str, workspace: str, *, account: str | None, livemode: bool | None, yes: bool
) -> None:
    """Link CUSTOMER of Stripe to workspace W. The link overrides all metadata, until the next link.

    \b
    Example:
      nilometer billing link cus_1NilometerAcme acme --yes
    """
    store = connection.store()
    scope = _scope(store, customer, account, livemode)
    confirmed(f"Bill {customer} of {scope} for workspace {workspace}?", yes)
    said = LinkCustomer(customer=customer, account=scope.account, livemode=scope.livemode)
    perform(store, service(workspace, OPERATOR), said, now=connection.now)
    note(f"{customer} pays for {workspace}")


@click.command()
@click.argument("object_id", metavar="OBJECT")
@click.argument("event_id", metavar="EVENT")
@yes_option
@stack_options
@stripe_options
def drop(connection: Connection, api: StripeApi, scope: Scope, *, object_id: str, event_id: str, yes: bool) -> int:
    """Remove what EVENT reported of OBJECT, and read the object's present state from Stripe.

    For an event with a wrong time, such as one in the future: it would override every later event. Its fact stays. Exit
    code 1 when the object is not known, or does not have the event.

    \b
    Example:
      nilometer billing drop sub_1NilometerAcme evt_1NilometerFuture --yes
    """
    confirmed(f"Forget what {event_id} says of {object_id}?", yes)
    dropped = drop_event(connection.store(), api, object_id, event_id, scope=scope, now=connection.now)
    note(f"{object_id} is as Stripe says" if dropped else f"no {object_id} of {scope} knows the event {event_id}")
    return 0 if dropped else 1


def _row(one: dict[str, Any]) -> list[str]:
    mode = "live" if one["livemode"] else "test"
    advice = f"nilometer billing explain {one['customer']}; nilometer billing link {one['customer']} W"
    return [one["workspace"], one["customer"], one["account"], mode, _REASONS[one["reason"]], advice]


def _scope(store: Any, customer: str, account: str | None, livemode: bool | None) -> Scope:
    if livemode is not None:
        return Scope(account=account or OWN_ACCOUNT, livemode=livemode)
    found = [scope for scope in scopes_of(store, customer) if account in {None, scope.account}]
    if len(found) != 1:
        known = ", ".join(map(str, found)) or "no account"
        raise click.UsageError(f"{customer} is known in {known}: give --account and --live or --test")
    return found[0]
