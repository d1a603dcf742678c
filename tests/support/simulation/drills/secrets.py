"""Secrets Manager in played time, under the client that `aws.secrets` calls."""

from __future__ import annotations

from typing import Any

from tests.support.simulation.drills.outages import TroubledService
from tests.support.simulation.kernel.world import SimRequest
from tests.support.simulation.services.messages import refused


class SimSecret:
    """boto3's client of Secrets Manager with one secret."""

    def __init__(self, service: TroubledService, value: str) -> None:
        self._service = service
        self._value = value

    def get_secret_value(self, *, SecretId: str) -> dict[str, Any]:  # noqa: N803
        def perform(trouble: str) -> dict[str, Any]:
            if trouble:
                raise refused()
            return {"SecretString": self._value}

        found: dict[str, Any] = self._service.request(
            SimRequest("get secret", ("refused",), lambda: SecretId), perform, lambda _: ""
        )
        return found
