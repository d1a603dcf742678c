"""Options that say whose Stripe objects are asked about."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from nilometer.aws.dynamodb import Store
from nilometer.cli.terminal.completing import workspace_ids
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.domain.store.writes import Item
from nilometer.domain.stripe.event import OWN_ACCOUNT
from nilometer.flows.billing.objects import registers_of_customer, registers_of_workspace

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedObjects:
    """Which were named: those of a workspace's customers, of a customer, or None of both; and in which account."""

    store: Store
    workspace: str | None
    customer: str | None
    account: str | None

    def registers(self) -> Iterator[Item] | None:
        """Of what lies with those customers; None when nobody is named."""
        if self.workspace is not None:
            return registers_of_workspace(self.store, self.workspace)
        if self.customer is not None:
            return registers_of_customer(self.store, self.customer, account=self.account or OWN_ACCOUNT)
        return None


def whose_options(command: _Command) -> _Command:
    """Hands the command `asked`, and reads nothing."""

    @click.option("--workspace", metavar="W", shell_complete=workspace_ids, help="Only of the customers of W.")
    @click.option("--customer", metavar="CUSTOMER", help="Only of this customer.")
    @click.option("--account", metavar="ACCT", help="In this Connect account; the platform's own unless given.")
    @stack_options
    @functools.wraps(command)
    def called(
        connection: Connection, *, workspace: str | None, customer: str | None, account: str | None, **options: Any
    ) -> Any:
        if workspace and (customer or account):
            raise click.UsageError("--workspace excludes --customer and --account: its billing record names both")
        asked = AskedObjects(store=connection.store(), workspace=workspace, customer=customer, account=account)
        return command(asked=asked, **options)

    return called  # type: ignore[return-value]  # functools.wraps forgets the type
