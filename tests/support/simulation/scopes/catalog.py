"""All scopes, by name."""

from __future__ import annotations

from tests.support.simulation.kernel.scope import Scope
from tests.support.simulation.scopes import billing, lake, outbox, people, reservations, usage

SCOPES: tuple[Scope, ...] = (
    *usage.SCOPES,
    *reservations.SCOPES,
    *people.SCOPES,
    *billing.SCOPES,
    *outbox.SCOPES,
    *lake.SCOPES,
)
BY_NAME = {scope.name: scope for scope in SCOPES}
