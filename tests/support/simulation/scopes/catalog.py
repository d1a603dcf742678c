"""All scopes, by name."""

from __future__ import annotations

from tests.support.simulation.kernel.scope import Scope
from tests.support.simulation.scopes import billing, fetches, lake, leases, outbox, people, periods, reservations, usage

SCOPES: tuple[Scope, ...] = (
    *usage.SCOPES,
    *periods.SCOPES,
    *reservations.SCOPES,
    *leases.SMALL,
    *people.SCOPES,
    *billing.SCOPES,
    *fetches.SCOPES,
    *outbox.SCOPES,
    *lake.SCOPES,
)
BY_NAME = {scope.name: scope for scope in SCOPES}
