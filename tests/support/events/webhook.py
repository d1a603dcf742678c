"""Events of Stripe that are posted to a running stack."""

# ruff: noqa: S310  # addresses are the test's own

from __future__ import annotations

import time
import urllib.error
import urllib.request
import uuid
from typing import Any

from nilometer.domain.stripe.signature import sign


def post(stack: Any, body: bytes, *, secret: str | None = None) -> int:
    """The status of a webhook that is signed with the secret of the stack."""
    signature = sign(body, secret=secret or stack.about["stripe_secret"], timestamp=int(time.time()))
    request = urllib.request.Request(stack.about["webhook_url"], body, {"stripe-signature": signature})
    try:
        with urllib.request.urlopen(request, timeout=120) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def event(event_type: str, **more: object) -> dict[str, object]:
    """An event of now, about a thing that nobody handles."""
    made = {"id": f"evt_{uuid.uuid4().hex[:20]}", "object": "event", "type": event_type, "created": int(time.time())}
    return {**made, "livemode": False, "data": {"object": {"id": "thing_1", "object": "thing"}}, **more}
