"""`nilometer billing show`: what one workspace has, until when, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.output import json_option, note, out, print_json, table
from nilometer.flows.billing.reading import show_billing
from nilometer.flows.billing.summary import fields_text, lines


@click.command()
@click.argument("workspace", metavar="W")
@stack_options
@json_option
def show(connection: Connection, workspace: str, as_json: bool) -> int:
    """The billing state of workspace W and its reasons: plan, access, seats, limits, period, payments, features.

    --json prints the whole record. Exit code 1 when Stripe has reported nothing for W.

    \b
    Example:
      nilometer billing show acme --json | jq '{plan, access, limits}'
    """
    found = show_billing(connection.store(), workspace, now=connection.now)
    if found is None:
        note(
            f"Stripe has reported nothing of {workspace}; `nilometer billing list` lists customers without a workspace"
        )
        return 1
    if as_json:
        print_json(found)
        return 0
    out().print(table(["", f"~{workspace}"], ((name, text) for name, text in lines(found) if text)))
    if found["limit_rules"]:
        out().print(table(["meter", ">included", "~rule"], _limits(found["limit_rules"])))
    return 0


def _limits(rules: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    for meter, rule in rules.items():
        included = rule.get("included")
        others = {name: value for name, value in rule.items() if name not in {"included", "version"} and value}
        unlimited = "–" if rule.get("hard") is not None else "unlimited"
        yield meter, unlimited if included is None else f"{included:,}", fields_text(others)
