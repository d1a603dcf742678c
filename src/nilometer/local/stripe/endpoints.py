"""Webhook endpoints as Stripe's API has them: the secret is sent once, and metadata is merged.

Source: https://docs.stripe.com/api/webhook_endpoints and https://docs.stripe.com/api/idempotent_requests.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Mapping
from typing import Any

from nilometer.local.stripe.event_types import EVENT_TYPES
from nilometer.local.stripe.shapes import Object


class WebhookEndpoints:
    """`by_id` holds what Stripe would show; `secrets` what it would sign with."""

    def __init__(self, seed: int = 1) -> None:
        self.by_id: dict[str, Object] = {}
        self.secrets: dict[str, str] = {}
        self._answers: dict[str, Object] = {}
        self._random = random.Random(seed)

    def listed(self) -> list[Object]:
        """The newest first, as Stripe lists."""
        return [self.by_id[id_] for id_ in reversed(self.by_id)]

    def create(self, form: Mapping[str, str], *, key: str | None, created: int) -> tuple[int, Object]:
        """Status and body. The secret is in this answer only; one `key` makes one endpoint, however often it comes."""
        if key in self._answers:
            return 200, self._answers[key]
        given = fields(form)
        unknown = [one for one in given["enabled_events"] if one != "*" and one not in EVENT_TYPES]
        if unknown or not given["url"].startswith("https://"):
            return 400, {"error": {"type": "invalid_request_error", "code": "url_invalid", "message": "Invalid"}}
        id_ = f"we_1{self._letters(23)}"
        self.secrets[id_] = f"whsec_{self._letters(32)}"
        self.by_id[id_] = {
            "id": id_,
            "object": "webhook_endpoint",
            "api_version": given.get("api_version"),
            "application": "ca_platform" if given.get("connect") == "true" else None,
            "created": created,
            "description": given.get("description"),
            "enabled_events": given["enabled_events"],
            "livemode": False,
            "metadata": given.get("metadata", {}),
            "status": "enabled",
            "url": given["url"],
        }
        answer = {**self.by_id[id_], "secret": self.secrets[id_]}
        if key:
            self._answers[key] = answer
        return 200, answer

    def update(self, id_: str, form: Mapping[str, str]) -> Object:
        """An empty value removes a key of the metadata."""
        given, known = fields(form), self.by_id[id_]
        metadata = {**known["metadata"], **given.pop("metadata", {})}
        self.by_id[id_] = {**known, **given, "metadata": {name: value for name, value in metadata.items() if value}}
        return self.by_id[id_]

    def delete(self, id_: str) -> Object:
        """Removes the endpoint and its secret; the answer is Stripe's. `KeyError` for an unknown id."""
        del self.by_id[id_], self.secrets[id_]
        return {"id": id_, "object": "webhook_endpoint", "deleted": True}

    def _letters(self, count: int) -> str:
        return "".join(self._random.choices(string.ascii_letters + string.digits, k=count))


def fields(form: Mapping[str, str]) -> dict[str, Any]:
    """`metadata[a]=b` and `enabled_events[0]=c` as objects and lists."""
    found: dict[str, Any] = {}
    for name, value in form.items():
        outer, _, inner = name.partition("[")
        if not inner:
            found[name] = value
        elif re.fullmatch(r"\d*\]", inner):
            found.setdefault(outer, []).append(value)
        else:
            found.setdefault(outer, {})[inner.rstrip("]")] = value
    return found
