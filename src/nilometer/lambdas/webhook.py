"""HTTP API payload 2.0 → the webhook flow → a status code that Stripe understands."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from functools import cache
from typing import Any

from nilometer.aws.clients import client, later
from nilometer.aws.eventbridge import Bus
from nilometer.aws.s3 import Objects
from nilometer.aws.secrets import SigningSecrets
from nilometer.errors import Misconfigured, Rejected, Unavailable
from nilometer.flows.billing import webhook
from nilometer.lambdas import count, handling, logger, variables

_STATUS = {"too_large": 413}


@handling
def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """200 when the bus has it; 400 or 413 for what can never pass; 500 to have it delivered again."""
    try:
        secrets, bus, objects = _dependencies()
        published = webhook.receive(
            _body(event), _signature(event), secrets=secrets, bus=bus, objects=objects, now=datetime.now(UTC)
        )
    except Rejected as error:
        count("webhook", [error.reason], "rejected", reason=error.reason)
        return _answer(_STATUS.get(error.reason, 400), {"error": error.reason, "message": str(error)})
    except (Unavailable, Misconfigured) as error:
        logger.error("webhook.failed", extra={"reason": str(error)})
        count("webhook", ["failed"])
        return _answer(500, {"error": "unavailable", "message": "not taken; deliver it again"})
    count("webhook", ["accepted"], "accepted", event_id=published.event_id, type=published.type)
    return _answer(200, {"received": published.event_id})


@cache
def _dependencies() -> tuple[SigningSecrets, Bus, Objects]:
    name, secret, bucket = variables("BUS_NAME", "STRIPE_SECRET_ARN", "LAKE_BUCKET")
    secrets = SigningSecrets(client("secretsmanager"), arn=secret)
    return secrets, Bus(client("events"), name=name), Objects(later("s3"), bucket=bucket)


def _body(event: dict[str, Any]) -> bytes:
    body = event.get("body") or ""
    return base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()


def _signature(event: dict[str, Any]) -> str:
    """HTTP API hands header names over in lower case."""
    return str(event.get("headers", {}).get("stripe-signature", ""))


def _answer(status: int, body: dict[str, str]) -> dict[str, Any]:
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(body)}
