"""All scopes, by name; those whose every schedule with two faults is tried in the tests, and the larger ones."""

from __future__ import annotations

from tests.support.simulation.kernel.scope import Scope
from tests.support.simulation.scopes.billing import customers, fetches, links, parts
from tests.support.simulation.scopes.lake import relay, tables
from tests.support.simulation.scopes.limits import alerts, leases, reservations
from tests.support.simulation.scopes.people import invitations, members, notices, workspaces
from tests.support.simulation.scopes.usage import counting, outbox, periods, waiting

SCOPES: tuple[Scope, ...] = (
    *counting.SCOPES,
    *waiting.SCOPES,
    *periods.SCOPES,
    *reservations.SCOPES,
    *alerts.SCOPES,
    *leases.SMALL,
    *members.SCOPES,
    *invitations.SCOPES,
    *workspaces.SCOPES,
    *notices.SCOPES,
    *customers.SCOPES,
    *links.SCOPES,
    *parts.SCOPES,
    *fetches.SCOPES,
    *outbox.SCOPES,
    *relay.SCOPES,
    *tables.SCOPES,
)
BY_NAME = {scope.name: scope for scope in SCOPES}
ENDING = tuple(scope for scope in SCOPES if scope.faults == 2)
"""Small enough for two faults."""
LARGE = tuple(scope for scope in SCOPES if scope.faults != 2)
"""With one fault or none; some of them end as well."""
assert len(BY_NAME) == len(SCOPES), "two scopes have one name"
