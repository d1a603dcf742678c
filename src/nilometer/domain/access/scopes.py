"""Scopes of API keys: the permissions of the matrix, and two for what no member does himself.

A key of one workspace has at most what an Admin of it may do. What no role may do (add members without an invitation,
open sessions, send notifications) needs a service key, which belongs to one of our own services and to no workspace.
"""

from __future__ import annotations

from collections.abc import Iterable

from nilometer.domain.acts.roles import MATRIX, Permission, Role
from nilometer.errors import Rejected

USAGE_RECORD = "usage.record"
LIMIT_USE = "limit.use"
EVERY = "*"
"""Stands for all scopes that such a key may have at the moment it is created."""

_OWN = frozenset({USAGE_RECORD, LIMIT_USE})
OF_SERVICES = frozenset(map(str, Permission)) | _OWN
OF_WORKSPACES = frozenset(map(str, MATRIX[Role.ADMIN])) - {"key.manage"} | _OWN


def checked_scopes(scopes: Iterable[str], *, of_workspace: bool) -> tuple[str, ...]:
    """In order, `*` spelled out. `Rejected("invalid_schema")` for none, and for one that such a key cannot have."""
    possible = OF_WORKSPACES if of_workspace else OF_SERVICES
    wanted = set(scopes)
    if EVERY in wanted:
        return tuple(sorted(possible))
    if not wanted or not wanted <= possible:
        wrong = ", ".join(sorted(wanted - possible)) or "none"
        whose = "of a workspace" if of_workspace else "of a service"
        raise Rejected("invalid_schema", f"scopes {wrong}: a key {whose} takes {', '.join(sorted(possible))}")
    return tuple(sorted(wanted))
