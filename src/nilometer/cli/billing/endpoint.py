"""`nilometer stripe endpoint`: what Stripe posts to this stack, and the secret that it signs with."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import click

from nilometer.aws.secrets import SigningSecrets
from nilometer.cli.billing.key import stripe_options
from nilometer.cli.terminal.caller import confirmed, yes_option
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.groups import SectionedGroup
from nilometer.cli.terminal.output import echo, json_option, note, print_json, print_rows
from nilometer.domain.stripe.endpoint import EndpointPlace, WebhookEndpoint
from nilometer.domain.stripe.handled import EVENT_TYPES
from nilometer.errors import Refused
from nilometer.flows.billing.endpoints import ALL_EVENTS, Endpoints

_Command = TypeVar("_Command", bound=Callable[..., Any])


@click.group(cls=SectionedGroup)
def stripe() -> None:
    """The webhook endpoint at Stripe that this stack needs."""


@stripe.group()
def endpoint() -> None:
    """Webhook endpoints at Stripe, pinned to the API version that the code is tested with.

    A signing secret is stored directly in the stack's Secrets Manager secret. The key needs write access to webhook
    endpoints; it is used only for this command and is not stored.
    """


def _endpoints(command: _Command) -> _Command:
    """Hands the command the `endpoints` of the stack, at its own URL or at another one."""

    @click.option(
        "--url", metavar="URL", help="The URL that Stripe posts to, if it is not the stack's own: a domain, a tunnel."
    )
    @click.option("--connect", is_flag=True, help="The endpoint for events of all Connect accounts.")
    @stack_options
    @stripe_options
    @functools.wraps(command)
    def found(
        *args: Any, connection: Connection, api: Any, scope: Any, url: str | None, connect: bool, **kwargs: Any
    ) -> Any:
        about = connection.description
        if connection.is_local and not url:
            raise Refused(
                f"Stripe cannot reach {about.webhook_url}; give --url of a tunnel, or use stripe listen --forward-to"
            )
        signing = SigningSecrets(connection.client("secretsmanager"), arn=about.stripe_secret_arn)
        place = EndpointPlace(stack=about.stack_name, url=url or about.webhook_url, connect=connect)
        note(f"Stripe, {'live' if scope.livemode else 'test'} mode: {place.url}")
        return command(*args, endpoints=Endpoints(api, signing, place), **kwargs)

    return found  # type: ignore[return-value]  # functools.wraps forgets the type


_show_secret = click.option("--show-secret", is_flag=True, help="Print the new signing secret, this once.")


@endpoint.command()
@click.option("--all-events", is_flag=True, help="Also types that change nothing; their events are stored as facts.")
@_show_secret
@yes_option
@_endpoints
@json_option
def create(endpoints: Endpoints, *, all_events: bool, show_secret: bool, yes: bool, as_json: bool) -> None:
    """Create the endpoint of this stack and store its secret. If it exists, only its event types are updated.

    \b
    Examples:
      nilometer stripe endpoint create --stack nilometer-dev
      nilometer stripe endpoint create --stack nilometer-prod --connect
    """
    lost = [one.id for one in endpoints.lost()]
    if lost:
        confirmed(f"Nobody has the secret of {', '.join(lost)}: delete and make it again?", yes)
    made = endpoints.create(events=ALL_EVENTS if all_events else EVENT_TYPES)
    note(f"{made.endpoint.id} is new, its secret is stored" if made.secret else f"{made.endpoint.id} is as it must be")
    _print(made.endpoint, made.secret if show_secret else None, as_json=as_json)


@endpoint.command("list")
@_endpoints
@json_option
def list_endpoints(endpoints: Endpoints, *, as_json: bool) -> None:
    """All endpoints of the Stripe account: which stack each belongs to, and whether our secrets are stored.

    \b
    Example:
      nilometer stripe endpoint list --stack nilometer-prod --json | jq -r '[.url, .secret] | @tsv'
    """
    stored = endpoints.stored()
    rows = [{**_row(one), "secret": _secret_is(one, stored)} for one in endpoints.all()]
    print_rows(
        ["id", "stack", "status", "secret", "api_version", ">events", "connect", "~url"],
        rows if as_json else [{**row, "events": len(row["events"])} for row in rows],
        as_json=as_json,
        empty="the account has no webhook endpoint",
    )


@endpoint.command("rotate-secret")
@click.option("--overlap", "hours", type=click.FloatRange(min=0), default=72.0, show_default=True, metavar="HOURS")
@_show_secret
@_endpoints
@json_option
def rotate_secret(endpoints: Endpoints, *, hours: float, show_secret: bool, as_json: bool) -> None:
    """Replace the endpoint, because Stripe's API cannot roll a secret. Run it twice: to begin, and after the overlap.

    During the overlap both endpoints send and both secrets verify; an event that arrives twice counts once. Stripe
    retries a failed delivery for three days, and drops it when its endpoint is deleted: that is why there is an
    overlap. The next run continues one that was stopped.

    \b
    Examples:
      nilometer stripe endpoint rotate-secret --stack nilometer-prod
      nilometer stripe endpoint rotate-secret --stack nilometer-prod --overlap 0      # a leaked one, at once
    """
    done = endpoints.rotate(now=datetime.now(UTC), overlap=timedelta(hours=hours))
    if done.made:
        note(f"{done.current.id} is new and replaces {done.current.replaces}; run this again in {hours:g} hours")
    elif done.ends:
        note(f"too early to end {done.current.replaces}: both send until {done.ends:%Y-%m-%d %H:%M} UTC")
    else:
        note(f"{', '.join(done.ended) or 'the old one'} is deleted, its secret removed; {done.current.id} alone sends")
    _print(done.current, done.made if show_secret else None, as_json=as_json)


def _print(made: WebhookEndpoint, secret: str | None, *, as_json: bool) -> None:
    if as_json:
        print_json({**_row(made), **({"secret": secret} if secret else {})})
    else:
        echo(secret or made.id)


def _row(one: WebhookEndpoint) -> dict[str, Any]:
    return {
        "id": one.id,
        "url": one.url,
        "status": "enabled" if one.enabled else "disabled",
        "api_version": one.api_version,
        "events": list(one.events),
        "stack": one.place.stack if one.place else None,
        "connect": one.place.connect if one.place else None,
        "replaces": one.replaces,
    }


def _secret_is(one: WebhookEndpoint, stored: tuple[str, ...]) -> str:
    if one.place is None:
        return "not ours"
    return "stored" if one.ready(stored) else "not stored here"
