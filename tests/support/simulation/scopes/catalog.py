"""All scopes, by name; those whose every schedule with two faults is tried in the tests, and the larger ones."""

from __future__ import annotations

from tests.support.simulation.kernel.scope import Scope
from tests.support.simulation.scopes import (
    billing,
    fetches,
    lake,
    leases,
    outbox,
    people,
    periods,
    reservations,
    usage,
)

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
ENDING = tuple(scope for scope in SCOPES if scope.faults == 2)
"""Small enough for two faults."""
LARGE = tuple(scope for scope in SCOPES if scope.faults != 2)
"""With one fault; some of them end as well."""
assert len(BY_NAME) == len(SCOPES), "two scopes have one name"
