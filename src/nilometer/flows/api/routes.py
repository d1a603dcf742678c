"""The route table: all that the API answers, in one place."""

from __future__ import annotations

from typing import Any

from nilometer.flows.api import deeds, events, flags, limits, openapi, reads
from nilometer.flows.api.route import ApiCall, ApiRoute


def _described(_call: ApiCall) -> Any:
    return openapi.document(ROUTES)


def _whoami(call: ApiCall) -> Any:
    return {"actor": call.actor, "workspace_id": call.workspace_id or None}


ROUTES: tuple[ApiRoute, ...] = (
    *events.ROUTES,
    *reads.ROUTES,
    *limits.ROUTES,
    *flags.ROUTES,
    *deeds.routes(),
    ApiRoute(method="GET", path="/v1/key", name="get_key", says="Whose the key is", scope="", run=_whoami),
    ApiRoute(method="GET", path="/v1/openapi.json", name="get_openapi", says="This API", scope=None, run=_described),
)
