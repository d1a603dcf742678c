"""One route a deed, made from its fields: `POST /v1/workspaces/{workspace_id}/actions/add_member`.

What concerns all workspaces, or a person in none, is `POST /v1/actions/create_meter`, for service keys. The body is the
event's data without hashes and without what we make; the answer is the deed's, with the `token` that it created.

What if the answer is lost? The same request again: a deed finds its own effect and changes nothing. One that creates a
secret creates another, and an invitation that is pending is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from functools import cache, partial
from typing import Any

import msgspec

from nilometer.domain.access.token import UseToken
from nilometer.domain.acts.act import operator
from nilometer.domain.acts.deed import Actor, Deed, Issuing, Reach
from nilometer.domain.acts.roles import MATRIX, Permission, Role
from nilometer.domain.billing.linking import LinkCustomer
from nilometer.domain.people.flag import SetFlag
from nilometer.domain.people.invitation import AcceptInvitation, DeclineInvitation
from nilometer.domain.people.workspace import UpdateWorkspace
from nilometer.flows.api.problem import ApiProblem
from nilometer.flows.api.route import ApiCall, ApiRoute
from nilometer.flows.inbox.wire import data_type, deed_of, first_line
from nilometer.flows.operations.types import TYPES
from nilometer.flows.people.acting import Issued, issue, perform

_SCOPES: Mapping[type, Permission] = {
    UseToken: Permission.TOKEN_ISSUE,
    AcceptInvitation: Permission.MEMBER_ADD,
    DeclineInvitation: Permission.MEMBER_ADD,
    LinkCustomer: Permission.BILLING_MANAGE,
    SetFlag: Permission.FLAG_MANAGE,
    UpdateWorkspace: Permission.WORKSPACE_UPDATE,
}
"""Of deeds that name no permission of their own: they decide by themselves, or are for services."""
_ADMINS = MATRIX[Role.ADMIN]
_PLACEHOLDER = "0" * 64  # valid as an id and as a hash; replaced before the deed is decided


def routes() -> Iterator[ApiRoute]:
    """Of every deed that an event can report."""
    for deed in TYPES.values():
        if deed.reach is not Reach.EVERYBODY:
            yield _route(deed, "/v1/workspaces/{workspace_id}/actions/")
        if deed.reach in {Reach.EVERYBODY, Reach.PERSON}:
            yield _route(deed, "/v1/actions/")


def name_of(deed: type[Deed[Any]]) -> str:
    """`add_member` of `AddMember`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", deed.__name__).lower()


def _route(deed: type[Deed[Any]], place: str) -> ApiRoute:
    permission = deed.permission or _SCOPES[deed]
    confined = "{" in place and permission in _ADMINS and (deed.permission is not None or deed is UpdateWorkspace)
    name = name_of(deed)
    return ApiRoute(
        method="POST",
        path=place + name,
        name=name if "{" in place else f"{name}_anywhere",
        says=first_line(deed),
        scope=str(permission),
        run=partial(_act, deed),
        body=deed,
        of_services=not confined,
    )


def shape_of(deed: Any) -> Any:
    """What decodes the body."""
    return data_type(f"{deed.__name__}Body", deed)


@cache
def filled_by_us(deed: Any) -> frozenset[str]:
    """Fields that the body may leave out because we make them."""
    return frozenset(one.name for one in fields(deed) if one.metadata.get("made"))


@cache
def hidden(deed: Any) -> frozenset[str]:
    """Fields of the event that no body has: who did it is the key, and the hash is of the secret that we make."""
    secret = {deed.hash_field} if issubclass(deed, Issuing) else set()
    return frozenset(secret | {"actor"})


def _act(deed: Any, call: ApiCall) -> Any:
    given = call.decoded(dict[str, Any])
    _check(deed, given, call)
    asked = _asked(deed, given)
    caller = call.person(given.get("user_id")) if deed.actor is Actor.PERSON else call.caller
    if not call.where:
        caller = operator(call.actor)
    if isinstance(asked, Issuing):
        made: Issued[Any] = issue(call.store, caller, asked, now=call.now)
        return {**msgspec.to_builtins(made.of), "token": made.token}
    return perform(call.store, caller, asked, now=call.now)


def _check(deed: Any, given: Mapping[str, Any], call: ApiCall) -> None:
    for name in hidden(deed) & given.keys():
        raise ApiProblem(400, "invalid_schema", f"{name} is no field of this action")
    if deed is UpdateWorkspace and call.workspace_id and not call.member and given.keys() & {"status", "shards"}:
        raise ApiProblem(403, "scope_missing", "status and shards need a service key or a session")


def _asked(deed: Any, given: Mapping[str, Any]) -> Any:
    """The deed that a body says. What we make is empty in it."""
    ours = filled_by_us(deed) - given.keys()
    try:
        data = msgspec.convert({**given, **dict.fromkeys(ours, _PLACEHOLDER)}, shape_of(deed))
    except msgspec.ValidationError as error:
        raise ApiProblem(400, "invalid_schema", f"the body: {error}") from error
    return replace(deed_of(deed, data), **dict.fromkeys(ours, ""))
