"""`nilometer cost`: dollars per million events, from the counted requests of a run."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nilometer.cli.stack.demo import progress_bars
from nilometer.cli.terminal.output import json_option, out, print_json, table
from nilometer.cli.terminal.signals import signals_interrupt

if TYPE_CHECKING:
    from nilometer.local.demo.cost import Cost
    from nilometer.local.demo.prices import Prices


@click.command()
@click.option(
    "--prices",
    "prices_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Your prices instead of ours, all or some, in the form of src/nilometer/local/demo/prices.toml.",
)
@click.option("--stripe", metavar="N/day", help="Show the bill of a month instead, with this many webhooks of Stripe.")
@click.option(
    "--usage", metavar="N/day", help="And with this many usage events. Also N/second, /minute, /hour, /month."
)
@click.option(
    "--batched", is_flag=True, help="Usage is sent in batches of up to 100 events, as nilometer.publish does."
)
@click.option("--stage", metavar="STAGE", help="Of samconfig.toml, for the bill: dev, small, staging or prod.")
@click.option(
    "--parameter", "parameters", multiple=True, metavar="NAME=VALUE", help="Of template.yaml, over the stage's."
)
@json_option
def cost(
    prices_file: Path | None,
    stripe: str | None,
    usage: str | None,
    batched: bool,
    stage: str | None,
    parameters: tuple[str, ...],
    as_json: bool,
) -> None:
    """Dollars per million events of each kind on AWS, or the bill of a month.

    Counts every request of the demo's month and multiplies by list prices; the bill adds the fixed costs of
    template.yaml. Runs a new stack on this machine for half a minute; no request goes to AWS.

    \b
    Examples:
      nilometer cost
      nilometer cost --stage small --stripe 300/day --usage 700/day
      nilometer cost --stage dev
      nilometer cost --prices frankfurt.toml --json | jq .kinds
    """
    if stripe or usage or stage or parameters:
        given = {**_stage(stage), **dict(_pair(one) for one in parameters)}
        _month(prices_file, _monthly(stripe), _monthly(usage), given, batched, as_json)
        return
    from nilometer.local.demo.cost import as_json as machine_readable
    from nilometer.local.demo.cost import costs
    from nilometer.local.demo.demo import count
    from nilometer.local.demo.prices import prices

    chosen = prices(prices_file)
    with signals_interrupt(), progress_bars() as progress:
        found = costs(count(progress=progress, batched=batched))
    if as_json:
        print_json(machine_readable(found, chosen))
    else:
        _show(found, chosen)


def _monthly(rate: str | None) -> Decimal:
    """Events a month."""
    number, _, per = (rate or "0/month").replace(",", "").replace("_", "").partition("/")
    minutes = {"second": 1 / 60, "minute": 1, "hour": 60, "day": 1440, "month": 43_830}
    if not number.isdecimal() or per not in minutes:
        raise click.UsageError(f"{rate} is no rate; write 300/day, or per {', '.join(minutes)}")
    return Decimal(number) * Decimal(str(43_830 / minutes[per]))


def _stage(name: str | None) -> Mapping[str, str]:
    """Its parameters; by default those of template.yaml, in production."""
    from nilometer.local.demo.stage import STAGES

    if name is None:
        return {"Stage": "prod"}
    if name not in STAGES:
        raise click.UsageError(f"{name} is no stage of samconfig.toml; one of {', '.join(STAGES)}")
    return STAGES[name]


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"{text} is no NAME=VALUE")
    return name, value


def _month(
    prices_file: Path | None,
    stripe: Decimal,
    usage: Decimal,
    parameters: dict[str, str],
    batched: bool,
    as_json: bool,
) -> None:
    from nilometer.local.demo.bill import as_json as machine_readable
    from nilometer.local.demo.bill import bill
    from nilometer.local.demo.demo import count
    from nilometer.local.demo.prices import prices
    from nilometer.local.demo.stage import stage

    chosen, made = prices(prices_file), stage(parameters)
    with signals_interrupt(), progress_bars() as progress:
        run = count(progress=progress, batched=batched, parameters=parameters)
    lines = bill(run, made, stripe=stripe, usage=usage, prices=chosen)
    found = machine_readable(lines, chosen)
    if as_json:
        print_json(found)
    else:
        _show_month(found)


def _show_month(found: Mapping[str, Any]) -> None:
    """With a bar a line: what the money goes for."""
    longest = max((line["usd"] for line in found["lines"]), default=0) or 1
    kinds = {True: "every month", False: "with the events"}
    rows = [
        (line["what"], kinds[line["fixed"]], f"{line['usd']:.2f}", "█" * round(24 * line["usd"] / longest))
        for line in sorted(found["lines"], key=lambda line: (not line["fixed"], -line["usd"]))
    ]
    console = out()
    console.print(table(["what", "", ">$ a month", "~"], rows, title="The bill of a month"))
    console.print(f"Every month {found['fixed']:.2f}, with the events {found['variable']:.2f}: ", end="")
    console.print(f"[bold]{found['usd_per_month']:.2f} dollars a month[/bold]")
    console.print(f"List prices of {found['region']}, {found['dated']}; --prices FILE puts yours over them.")
    console.print("\n[bold]Taken, not counted[/bold]")
    for line in found["assumed"]:
        console.print(f"  {line}")


def _show(found: list[Cost], prices: Prices) -> None:
    from nilometer.local.demo.cost import ESTIMATES, NOT_COUNTED

    columns = ["kind", ">events", *(f">{service}" for service in prices.services), ">$ per million", ">lake batches"]
    rows = [
        (
            one.kind,
            f"{one.events:,}",
            *(f"{usd:.2f}" for usd in one.by_service(prices).values()),
            f"{one.per_million(prices):.2f}",
            one.lake_batches or None,
        )
        for one in found
    ]
    console = out()
    console.print(table(columns, rows, title="Dollars per million events"))
    console.print(f"List prices of {prices.region}, {prices.dated}; --prices FILE puts yours over them.")
    for title, lines in (("Estimated", ESTIMATES), ("Not counted", NOT_COUNTED)):
        console.print(f"\n[bold]{title}[/bold]")
        for line in lines:
            console.print(f"  {line}")
