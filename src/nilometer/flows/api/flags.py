"""Feature flags by OFREP, so that every OpenFeature SDK evaluates them.

The workspace is the key's own, or `workspace_id` (else `targetingKey`) of the context that a service sends.
Source: https://github.com/open-feature/protocol, OFREP 0.2.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from nilometer.domain.acts.act import service
from nilometer.domain.acts.roles import Permission
from nilometer.domain.people.flag import Evaluation
from nilometer.flows.api.problem import ApiProblem
from nilometer.flows.api.route import ApiCall, ApiRoute
from nilometer.flows.api.shapes import FlagAnswer, FlagsAnswer
from nilometer.flows.people import flags

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


class FlagContext(msgspec.Struct):
    """What OpenFeature calls the evaluation context."""

    context: dict[str, Any] = {}


def _one(call: ApiCall) -> Any:
    name = call.request.path["flag"]
    if not _NAME.fullmatch(name):
        raise ApiProblem(404, "flag_not_found", "there is no such flag", error_code="FLAG_NOT_FOUND")
    found = flags.explain(call.store, _caller(call), name)
    return _shown(found)


def _all(call: ApiCall) -> Any:
    return {"flags": [_shown(one) for one in flags.explain_all(call.store, _caller(call))]}


def _caller(call: ApiCall) -> Any:
    """An answer of another workspace is none: who is confined to one may name no other."""
    context = call.decoded(FlagContext).context
    named = context.get("workspace_id") or (None if call.workspace_id else context.get("targetingKey"))
    if not call.workspace_id and not (isinstance(named, str) and named):
        missing = "the context has neither workspace_id nor targetingKey"
        raise ApiProblem(400, "targeting_key_missing", missing, error_code="TARGETING_KEY_MISSING")
    if call.workspace_id and named not in (None, call.workspace_id):  # a list is no element of a set
        raise ApiProblem(403, "other_workspace", "this key is of another workspace")
    return call.member or service(str(named or call.workspace_id), call.actor)


def _shown(found: Evaluation) -> dict[str, Any]:
    return {
        "key": found.flag,
        "value": found.on,
        "variant": "on" if found.on else "off",
        "reason": "TARGETING_MATCH" if found.reason == "override" else "STATIC",
        "metadata": {"reason": str(found.reason), "rollout": found.rollout},
    }


def _route(path: str, name: str, run: Any, answer: type, says: str) -> ApiRoute:
    return ApiRoute(
        method="POST",
        path=path,
        name=name,
        says=says,
        scope=str(Permission.FLAG_VIEW),
        run=run,
        body=FlagContext,
        answer=answer,
    )


ROUTES = (
    _route("/ofrep/v1/evaluate/flags/{flag}", "evaluate_flag", _one, FlagAnswer, "One feature flag, by OFREP"),
    _route("/ofrep/v1/evaluate/flags", "evaluate_flags", _all, FlagsAnswer, "Every feature flag, by OFREP"),
)
