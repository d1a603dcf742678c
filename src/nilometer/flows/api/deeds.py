"""One route a deed, made from its fields: `POST /v1/workspaces/{workspace_id}/actions/add_member`.

What concerns all workspaces, or a person in none, is `POST /v1/actions/create_meter`, for service keys. The body is the
event's data without hashes and without what we make; the answer is the deed's, with the `token` that it created.

What if the answer is lost? The same request again: a deed finds its own effect and changes nothing. One that creates a
secret creates another, unless both requests have the same `Idempotency-Key`: ids and secrets are then derived from it,
from the bearer's own secret and from the body, so nothing of them is stored and nobody else can derive them.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from functools import cache, partial
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec

from nilometer.domain.access.token import UseToken
from nilometer.domain.acts.act import Caller, operator
from nilometer.domain.acts.deed import Actor, Deed, Issuing, Reach
from nilometer.domain.acts.roles import MATRIX, Permission, Role
from nilometer.domain.billing.linking import LinkCustomer
from nilometer.domain.notices.webhook import CreateWebhook, Signing, UpdateWebhook
from nilometer.domain.people.flag import SetFlag
from nilometer.domain.people.invitation import AcceptInvitation, DeclineInvitation
from nilometer.domain.people.policy import AcceptPolicy
from nilometer.domain.people.workspace import CreateWorkspace, UpdateWorkspace
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
_IN_PERSON = frozenset({AcceptPolicy})
"""What no service may do for a person. Outside of a workspace nobody is one: there an event reports it."""
_ADMINS = MATRIX[Role.ADMIN]
KEY_LENGTH = 255  # of an Idempotency-Key
_Admin = Annotated[str, msgspec.Meta(pattern="^[^@]+$", max_length=256, description="The first Admin's user id")]
_PLACEHOLDER = "0" * 64  # valid as an id and as a hash; replaced before the deed is decided


def routes() -> Iterator[ApiRoute]:
    """Of every deed that an event can report."""
    for deed in TYPES.values():
        if deed.reach is not Reach.EVERYBODY:
            yield _route(deed, "/v1/workspaces/{workspace_id}/actions/")
        if deed.reach in {Reach.EVERYBODY, Reach.PERSON} and deed not in _IN_PERSON:
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
        answer=answer_of(deed),
        of_services=not confined,
    )


def answer_of(deed: Any) -> Any:
    """What the deed answers: the `T` of its `Deed[T]`; `None` where it is nothing, or a record whose fields vary."""
    bases = (base for one in deed.__mro__ for base in getattr(one, "__orig_bases__", ()))
    [found, *_] = [named for base in bases for named in get_args(base) if not isinstance(named, TypeVar)]
    return None if found is type(None) or get_origin(found) is Mapping else found


@cache
def shape_of(deed: Any) -> Any:
    """What decodes the body: the event's data, and what the library alone takes but a service needs."""
    shape = data_type(f"{deed.__name__}Body", deed)
    if deed is not CreateWorkspace:
        return shape
    more = ("admin", _Admin | None, None)
    return msgspec.defstruct(shape.__name__, [more], bases=(shape,), namespace={"__doc__": shape.__doc__}, kw_only=True)


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
    chance = _chance(deed, call)
    asked = _asked(deed, given, chance)
    caller = _caller(deed, given, call)
    if isinstance(asked, Issuing):
        made: Issued[Any] = issue(call.store, caller, asked, now=call.now, chance=chance)
        return {**msgspec.to_builtins(made.of), "token": made.token}
    if isinstance(asked, CreateWebhook | UpdateWebhook):
        asked = replace(asked, loopback=call.means.webhooks.loopback)
    if isinstance(asked, Signing):
        call.means.webhooks.key()  # without it nothing is written
        signed = perform(call.store, caller, asked, now=call.now, chance=chance)
        return {**msgspec.to_builtins(signed), "secret": call.means.webhooks.secret(signed)}
    return perform(call.store, caller, asked, now=call.now, chance=chance)


def _caller(deed: Any, given: Mapping[str, Any], call: ApiCall) -> Caller:
    if not call.where:
        return operator(call.actor)
    if deed.actor is not Actor.PERSON:
        return call.caller
    return call.person(given.get("user_id"), in_person=deed in _IN_PERSON)


def _chance(deed: Any, call: ApiCall) -> bytes | None:
    """Of the request's `Idempotency-Key`; `None` without one."""
    key = call.request.headers.get("idempotency-key", "")
    if not key:
        return None
    if len(key) > KEY_LENGTH:
        raise ApiProblem(400, "invalid_schema", f"an Idempotency-Key has at most {KEY_LENGTH} characters")
    said = f"{deed.__name__}\n{call.where}\n{key}\n".encode() + call.request.body
    return hmac.digest(call.request.headers["authorization"].encode(), said, "sha256")


def _check(deed: Any, given: Mapping[str, Any], call: ApiCall) -> None:
    for name in hidden(deed) & given.keys():
        raise ApiProblem(400, "invalid_schema", f"{name} is no field of this action")
    if deed is UpdateWorkspace and call.workspace_id and not call.member and given.keys() & {"status", "shards"}:
        raise ApiProblem(403, "scope_missing", "status and shards need a service key or a session")


def _asked(deed: Any, given: Mapping[str, Any], chance: bytes | None) -> Any:
    """The deed that a body says. What we make is empty in it, and an id that is derived from `chance`."""
    ours = filled_by_us(deed) - given.keys()
    try:
        data = msgspec.convert({**given, **dict.fromkeys(ours, _PLACEHOLDER)}, shape_of(deed))
    except msgspec.ValidationError as error:
        raise ApiProblem(400, "invalid_schema", f"the body: {error}") from error
    ids = {name: chance.hex() for name in ours if chance and name.endswith("_id") and name != "user_id"}
    more = {"admin": data.admin} if deed is CreateWorkspace else {}
    return replace(deed_of(deed, data), **{**dict.fromkeys(ours, ""), **ids, **more})
