"""`nilometer limit`: where a workspace's limits differ from its plan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import click

import nilometer
from nilometer.cli.terminal.caller import InWorkspace, in_workspace
from nilometer.cli.terminal.deeds import argument, option, takes
from nilometer.cli.terminal.groups import SectionedGroup
from nilometer.cli.terminal.output import json_option, note, out, print_json, table
from nilometer.cli.terminal.times import time_option
from nilometer.flows.limits.own import Effective, limits_of

_UNTIL = "When it expires; never unless given."


_COUNTED = {"included", "soft", "hard", "amount"}


@click.group(cls=SectionedGroup)
def limit() -> None:
    """A workspace's limits: overrides and grants beside its plan."""


@limit.command()
@in_workspace
@json_option
def show(at: InWorkspace, as_json: bool) -> None:
    """Every limit of workspace W now, and its overrides and grants.

    \b
    Example:
      nilometer limit show acme --json | jq '.limits[] | select(.source != "plan")'
    """
    effective, own = limits_of(at.store, at.caller, now=at.now)
    if as_json:
        print_json(
            {
                "workspace": at.caller.workspace_id,
                "limits": list(map(_shown, effective)),
                "own": list(map(_amounts, own)),
            }
        )
        return
    if not effective and not own:
        note(f"nothing limits {at.caller.workspace_id}; try `nilometer limit override {at.caller.workspace_id} METER`")
        return
    out().print(table(["meter", ">included", ">soft", ">hard", ">by plan", "source"], _rows(effective)))
    if own:
        columns = ["meter", "grant", "~says", "ends"]
        out().print(table(columns, ([one["meter"], one["grant"], _said(one), one["ends_at"]] for one in own)))


@limit.command()
@in_workspace
@click.argument("meter", metavar="METER")
@click.option("--included", metavar="N", help="The quantity included in the plan; a number or unlimited.")
@click.option("--soft", metavar="N", help="The quantity from which the state is soft_exceeded.")
@click.option("--hard", metavar="N", help="The quantity at which usage is blocked.")
@click.option(
    "--overage", type=click.Choice(["allow", "block"]), help="block: the included quantity is the hard limit."
)
@click.option("--grace", metavar="TIME", help="How long usage is allowed past the hard limit: 72h or 3d.")
@click.option(
    "--threshold",
    "thresholds",
    type=int,
    multiple=True,
    metavar="PERCENT",
    help="A percentage of the limit that is announced; repeatable.",
)
@click.option("--plan", "takes_back", is_flag=True, help="Take the override back.")
@time_option("--until", help=_UNTIL)
def override(
    at: InWorkspace,
    meter: str,
    thresholds: tuple[int, ...],
    takes_back: bool,
    until: datetime | None,
    **said: Any,
) -> None:
    """Override the limit of METER in workspace W, in the fields that are given; the plan decides the others.

    \b
    Examples:
      nilometer limit override acme llm_tokens --included 2000000 --until 2027-01-01
      nilometer limit override acme llm_tokens --plan
    """
    rule: dict[str, Any] = {name: _value(value) for name, value in said.items() if value is not None}
    rule |= {"thresholds": list(thresholds)} if thresholds else {}
    if bool(rule) == takes_back:
        raise click.UsageError("say what differs (--included, --hard, ...), or --plan to take it back")
    limit = nilometer.LimitRule(**rule) if rule else None
    deed = nilometer.OverrideLimit(meter=meter, limit=limit, ends_at=until)
    at.perform(deed)
    note(f"{meter} of {at.caller.workspace_id} is {'as the plan says' if takes_back else f'overridden{_until(until)}'}")


@limit.command()
@in_workspace
@click.option("--revoke", is_flag=True, help="Take the grant back.")
@takes(
    nilometer.GrantLimit,
    meter=argument("METER"),
    grant=argument("GRANT"),
    amount=argument("[AMOUNT]", required=False),
    ends_at=option("--until", metavar="TIME", help=f"{_UNTIL} RFC 3339 or a date."),
)
def grant(at: InWorkspace, deed: nilometer.GrantLimit, revoke: bool) -> None:
    """Give workspace W AMOUNT more of METER than its plan, under the name GRANT; the same name replaces it.

    \b
    Examples:
      nilometer limit grant acme llm_tokens sorry_for_the_outage 500000 --until 2027-01-01
      nilometer limit grant acme llm_tokens sorry_for_the_outage --revoke
    """
    if (deed.amount is None) != revoke:
        raise click.UsageError("say the AMOUNT, or --revoke to take the grant back")
    at.perform(deed)
    given = f"{deed.amount} more {deed.meter} for {at.workspace_id}{_until(deed.ends_at)}"
    note(f"{deed.grant}: {'revoked' if revoke else given}")


def _rows(effective: Iterable[Effective]) -> Iterator[list[str]]:
    for one in effective:
        amounts = (one.limit.included, one.limit.soft, one.limit.hard, one.plan)
        yield [one.meter, *map(_amount, amounts), one.limit.source]


def _shown(one: Effective) -> dict[str, Any]:
    """Amounts are decimal strings: no reader rounds them."""
    amounts = {"included": one.limit.included, "soft": one.limit.soft, "hard": one.limit.hard, "plan": one.plan}
    plain = {name: None if amount is None else format(amount, "f") for name, amount in amounts.items()}
    return {"meter": one.meter, **plain, "source": one.limit.source, "version": one.limit.version}


def _amounts(own: dict[str, Any]) -> dict[str, Any]:
    """With amounts as decimal strings, as in `limits`; percent stay numbers."""
    return {name: _text(value) if name in _COUNTED else value for name, value in own.items()}


def _text(value: Any) -> Any:
    return format(Decimal(value), "f") if isinstance(value, int | Decimal) else value


def _said(own: dict[str, Any]) -> str:
    told = {name: value for name, value in own.items() if name not in {"meter", "grant", "ends_at"}}
    return ", ".join(f"{name} {'unlimited' if value is None else value}" for name, value in told.items())


def _value(text: str) -> str | None:
    return None if text == "unlimited" else text


def _amount(amount: Decimal | None) -> str:
    return "" if amount is None else format(amount, ",f")


def _until(until: datetime | None) -> str:
    return f" until {until:%Y-%m-%d %H:%M} UTC" if until else ""
