"""MiniStack's answers: the content type of a service, which it reads from botocore's models, from memory.

It reads the whole model of each service for two words, and makes a session for each: half a second of a start.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from ministack.core import responses  # type: ignore[import-untyped]  # it has no types

# MiniStack's functions have no public names.
# ruff: noqa: SLF001

_JSON_1_0, _JSON_1_1 = ({"protocol": "json", "jsonVersion": version} for version in ("1.0", "1.1"))
PROTOCOLS: Mapping[str, Mapping[str, str]] = {
    "apigateway": {"protocol": "rest-json"},
    "cloudformation": {"protocol": "query"},
    "dynamodb": _JSON_1_0,
    "events": _JSON_1_1,
    "iam": {"protocol": "query"},
    "lambda": {"protocol": "rest-json"},
    "logs": _JSON_1_1,
    "s3": {"protocol": "rest-xml"},
    "scheduler": {"protocol": "rest-json"},
    "secretsmanager": _JSON_1_1,
    "ses": {"protocol": "query"},
    "sqs": _JSON_1_0,
    "sts": {"protocol": "query"},
}
"""By MiniStack's name of the service."""


def use() -> None:
    """From now on. Of other services the model is read."""
    whole = responses._service_model
    known = {name: SimpleNamespace(metadata=metadata) for name, metadata in PROTOCOLS.items()}

    def model(service: str) -> Any:
        return known.get(service) or whole(service)

    responses._service_model = model
