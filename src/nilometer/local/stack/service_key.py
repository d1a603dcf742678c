"""A service key of the local stack's API, made when a client of its owner first asks.

The secret of the stack's description keeps web pages out. It gives no more than the stack's AWS endpoint, which any
program on this machine reaches.
"""

from __future__ import annotations

import hmac
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from nilometer.aws.dynamodb import Store
from nilometer.domain.acts.act import operator
from nilometer.local.sources.ingress import Control, Request, Response


def giving_a_key(store: Callable[[], Store], secret: str) -> Control:
    """Answers `{"key": ...}`, the same for every client until the stack stops; 401 without the secret."""
    made: list[str] = []
    lock = threading.Lock()

    def give(request: Request) -> Response:
        sent = {name.lower(): value for name, value in request.headers}.get("authorization", "")
        if not secret or not hmac.compare_digest(sent.encode(), f"Bearer {secret}".encode()):
            return Response.of(401, "Unauthorized")
        with lock:
            if not made:
                made.append(_created(store()))
        return Response.json(200, {"key": made[0]})

    return give


def _created(store: Store) -> str:
    from nilometer.flows.api import keys  # noqa: PLC0415  # most stacks are never asked

    return keys.create(store, operator("local"), name="local client", scopes=["*"], now=datetime.now(UTC)).token
