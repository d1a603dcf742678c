"""OpenAPI 3.1 of the route table. Served at /v1/openapi.json, and kept in docs/openapi.json by docs/generate.py."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from nilometer.domain.acts.deed import Deed, Issuing
from nilometer.domain.notices.webhook import Signing
from nilometer.flows.api import deeds
from nilometer.flows.api.description.examples import BODIES, PARAMETERS
from nilometer.flows.api.problem import MEDIA_TYPE
from nilometer.flows.api.route import ApiRoute

_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "reason"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "reason": {"type": "string", "description": "A stable snake_case code"},
    },
}
_EVENT = {
    "type": "object",
    "description": "A usage event as a CloudEvent; events/schemas has the whole schema",
    "required": ["specversion", "id", "source", "type", "subject", "time", "data"],
    "properties": {
        "specversion": {"const": "1.0"},
        **{name: {"type": "string", "minLength": 1, "maxLength": 256} for name in ("id", "source", "subject")},
        "type": {"enum": ["usage.recorded.v1", "usage.snapshot.v1", "usage.voided.v1"]},
        "time": {"type": "string", "format": "date-time"},
        "data": {"type": "object"},
    },
}


def document(routes: Sequence[ApiRoute]) -> dict[str, Any]:
    """The whole description, the same for the same table."""
    schemas: dict[str, Any] = {"Problem": _PROBLEM, "UsageEvent": _EVENT}
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "nilometer", "version": "1", "description": "Usage, limits, billing, flags and people."},
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key, or a session"}},
            "schemas": schemas,
        },
    }


def _operation(route: ApiRoute, schemas: dict[str, Any]) -> dict[str, Any]:
    names = re.findall(r"{(\w+)}", route.path)
    parameters = [
        _parameter(name, "path", required=True, schema={"type": "string", "minLength": 1}) for name in names
    ] + [_parameter(name, "query", schema={"type": "string"}) for name in route.query]
    made: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.says.rstrip("."),
        "parameters": parameters,
        "responses": {
            "200": {"description": "Done", "content": {"application/json": {"schema": _answer(route, schemas)}}},
            "default": {
                "description": "A problem (RFC 9457)",
                "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
            },
        },
    }
    if route.scope is None:
        made["security"] = []
    elif route.scope:
        made["description"] = f"Needs the scope `{route.scope}`" + (" of a service key." if route.of_services else ".")
    if route.body is not None:
        content = {"schema": _body(route, schemas), "example": BODIES[route.name]}
        made["requestBody"] = {"content": {"application/json": content}}
    return made


def _parameter(name: str, place: str, **said: Any) -> dict[str, Any]:
    example = {"example": PARAMETERS[name]} if name in PARAMETERS else {}
    return {"name": name, "in": place, **said, **example}


def _answer(route: ApiRoute, schemas: dict[str, Any]) -> dict[str, Any]:
    if route.answer is None:
        return {"type": "object"}
    (found,), definitions = msgspec.json.schema_components([route.answer], ref_template="#/components/schemas/{name}")
    schemas |= definitions
    if {"type": "null"} in found.get("anyOf", ()):
        # What there is nothing to say of is answered as an empty object.
        found = {"anyOf": [one if one != {"type": "null"} else {"type": "object"} for one in found["anyOf"]]}
    if isinstance(route.body, type) and issubclass(route.body, Issuing | Signing):
        name = "token" if issubclass(route.body, Issuing) else "secret"
        return {"allOf": [found, {"type": "object", "required": [name], "properties": {name: {"type": "string"}}}]}
    return found


def _body(route: ApiRoute, schemas: dict[str, Any]) -> dict[str, Any]:
    if route.body is list:
        event = {"$ref": "#/components/schemas/UsageEvent"}
        return {"oneOf": [event, {"type": "array", "items": event, "minItems": 1, "maxItems": 1000}]}
    is_deed = issubclass(route.body, Deed)
    shape = deeds.shape_of(route.body) if is_deed else route.body
    (found,), definitions = msgspec.json.schema_components([shape], ref_template="#/components/schemas/{name}")
    if is_deed:
        own = definitions[shape.__name__]
        hidden, made = deeds.hidden(route.body), deeds.filled_by_us(route.body)
        own["properties"] = {name: one for name, one in own["properties"].items() if name not in hidden}
        own["required"] = [name for name in own.get("required", ()) if name not in hidden | made]
    schemas |= definitions
    return found
