"""`nilometer cost`: dollars per million events, from the counted requests of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nilometer.cli.stack.demo import progress_bars
from nilometer.cli.stack.local import signals_interrupt
from nilometer.cli.terminal.output import json_option, out, print_json, table

if TYPE_CHECKING:
    from nilometer.local.demo.cost import Cost
    from nilometer.local.demo.prices import Prices


@click.command()
@click.option(
    "--prices",
    "prices_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Your prices over ours, in the form of src/nilometer/local/prices.toml; a part will do.",
)
@json_option
def cost(prices_file: Path | None, as_json: bool) -> None:
    """Dollars per million events of each kind on AWS: the demo's month, every request counted, times list prices.

    Runs a fresh stack on this machine for half a minute; nothing is asked of AWS.

    \b
    Examples:
      nilometer cost
      nilometer cost --prices frankfurt.toml --json | jq .kinds
    """
    from nilometer.local.demo.cost import as_json as machine_readable
    from nilometer.local.demo.cost import costs
    from nilometer.local.demo.demo import count
    from nilometer.local.demo.prices import prices

    chosen = prices(prices_file)
    with signals_interrupt(), progress_bars() as progress:
        found = costs(count(progress=progress))
    if as_json:
        print_json(machine_readable(found, chosen))
    else:
        _show(found, chosen)


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
