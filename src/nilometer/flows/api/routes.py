"""The route table: all that the API answers, in one place."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from nilometer.flows.api import deeds, flags, limits, reads
from nilometer.flows.api.description import openapi
from nilometer.flows.api.intake import datasets, events
from nilometer.flows.api.route import ApiCall, ApiRoute
from nilometer.flows.api.shapes import KeyAnswer


def _described(_call: ApiCall) -> Any:
    return openapi.document(ROUTES)


def _described_events(_call: ApiCall) -> Any:
    """Imported at the first request: the other routes do not need what describes the events."""
    return import_module("nilometer.flows.publish.asyncapi").document()


def _whoami(call: ApiCall) -> Any:
    return KeyAnswer(call.actor, call.workspace_id or None)


ROUTES: tuple[ApiRoute, ...] = (
    *events.ROUTES,
    *datasets.ROUTES,
    *reads.ROUTES,
    *limits.ROUTES,
    *flags.ROUTES,
    *deeds.routes(),
    ApiRoute(
        method="GET",
        path="/v1/key",
        name="get_key",
        says="Whose the key is",
        scope="",
        run=_whoami,
        answer=KeyAnswer,
    ),
    ApiRoute(method="GET", path="/v1/openapi.json", name="get_openapi", says="This API", scope=None, run=_described),
    ApiRoute(
        method="GET",
        path="/v1/asyncapi.json",
        name="get_asyncapi",
        says="The events of the bus",
        scope=None,
        run=_described_events,
    ),
)
