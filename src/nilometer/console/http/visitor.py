"""Who looks at the console, in which role, and how that is known: chosen on a laptop, read from a token on AWS."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote

from starlette.requests import Request

from nilometer.aws.dynamodb import Store
from nilometer.domain.acts.act import Caller
from nilometer.domain.acts.roles import MATRIX, Permission, Role
from nilometer.errors import Refused
from nilometer.flows.people.access import member_caller

ROLE_COOKIE = "nilometer_role"
WORKSPACE_COOKIE = "nilometer_workspace"
ROLE_CLAIM = "nilometer_role"
WORKSPACE_CLAIM = "nilometer_workspace"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """One person at the console. With a `workspace_id` nothing of another workspace exists for this person."""

    name: str
    role: Role
    workspace_id: str | None = None

    @property
    def operates(self) -> bool:
        """Whether this person may act on the stack: redrive, resend, replay, trigger, run checks."""
        return self.role is Role.ADMIN and self.workspace_id is None

    @property
    def sees_all(self) -> bool:
        """Whether pages that span all workspaces exist for this person."""
        return self.workspace_id is None

    def may(self, permission: Permission) -> bool:
        """As the permission matrix says of the role."""
        return permission in MATRIX[self.role]

    def sees(self, workspace_id: str | None) -> bool:
        """Whether this workspace exists for this person."""
        return self.workspace_id is None or self.workspace_id == workspace_id

    def require(self, permission: Permission) -> None:
        """`Refused` when the role does not have it."""
        if not self.may(permission):
            raise Refused(f"{self.role}s may not {permission}; choose another role or ask an Admin")

    def in_workspace(self, workspace_id: str) -> Caller:
        """The caller for reads of one workspace, once `may` has said what this role may read."""
        return Caller(workspace_id=workspace_id, user_id=f"console {self.name}", role=None)


class Gate(Protocol):
    """Who sends a request; None for nobody who may look, who reads `closed`."""

    @property
    def closed(self) -> str:
        """How one gets in."""

    def visitor(self, request: Request) -> Visitor | None:
        """From cookies, or from what an authorizer in front of the console found."""


@dataclass(frozen=True, slots=True)
class LaptopGate:
    """The person at this machine has the rights of its credentials and picks a role to look as; Admin unless picked.

    A `key` must have been presented once (`/?key=...`), so that other users of the machine are refused.
    """

    key: str | None = None
    closed: str = "open the address that `nilometer console` printed, with its key"

    def visitor(self, request: Request) -> Visitor | None:
        """Reads the cookies that `/as` and the key set."""
        if not self.opens(request.cookies.get(KEY_COOKIE)):
            return None
        role = request.cookies.get(ROLE_COOKIE, Role.ADMIN)
        workspace_id = unquote(request.cookies.get(WORKSPACE_COOKIE, "")) or None
        chosen = Role(role) if role in list(Role) else Role.VIEWER
        return Visitor(name="operator", role=chosen, workspace_id=workspace_id)

    def opens(self, key: str | None) -> bool:
        """Whether this is the key; any, and none, where no key is asked for."""
        return self.key is None or hmac.compare_digest(self.key.encode(), (key or "").encode())


KEY_COOKIE = "nilometer_key"


@dataclass(frozen=True, slots=True)
class ClaimsGate:
    """Behind API Gateway's JWT authorizer: the claims that it verified say name, role and workspace.

    The adapter puts Lambda's event into the ASGI scope as `aws.event`. A token that names neither a role nor a
    workspace whose member its subject is opens nothing.
    Source: API Gateway Developer Guide, "Control access to HTTP APIs with JWT authorizers".
    """

    store: Store | None = None
    closed: str = "your token names no role of this console, and no workspace that you are a member of"

    def visitor(self, request: Request) -> Visitor | None:
        """Nothing that a browser sends by itself counts."""
        context = request.scope.get("aws.event", {}).get("requestContext", {})
        claims = context.get("authorizer", {}).get("jwt", {}).get("claims", {})
        return visitor_of(claims) or self._member(claims)

    def _member(self, claims: Mapping[str, str]) -> Visitor | None:
        """In the role that the workspace gave; a role that is claimed and unknown is no role."""
        workspace_id, user_id = _claim(claims, WORKSPACE_CLAIM), claims.get("sub")
        if self.store is None or not workspace_id or not user_id or _claim(claims, ROLE_CLAIM) is not None:
            return None
        try:
            caller = member_caller(self.store, workspace_id, user_id)
        except Refused:
            return None
        return Visitor(name=user_id, role=caller.role, workspace_id=workspace_id) if caller.role else None


def visitor_of(claims: Mapping[str, str]) -> Visitor | None:
    """None unless `sub` and a role of the matrix are claimed. A claimed workspace, also an empty one, restricts."""
    role = _claim(claims, ROLE_CLAIM)
    if role not in list(Role) or not claims.get("sub"):
        return None
    return Visitor(name=claims["sub"], role=Role(role), workspace_id=_claim(claims, WORKSPACE_CLAIM))


def _claim(claims: Mapping[str, str], name: str) -> str | None:
    """Cognito puts `custom:` before what it does not know."""
    return claims.get(name, claims.get(f"custom:{name}"))
