"""boto3 clients, built once per process and service."""

from __future__ import annotations

import threading
from functools import cache
from typing import Any

import boto3
from botocore.config import Config

# Ten connections are boto3's default; standard retries add jitter, and five attempts fit in a function's timeout.
# Our requests are typed: botocore's own check of every parameter is half of its CPU in a large transaction
# (`benchmarks/usage.py`), and the service checks them again.
_CONFIG = Config(
    retries={"mode": "standard", "max_attempts": 5},
    connect_timeout=3,
    read_timeout=20,
    tcp_keepalive=True,
    parameter_validation=False,
)


# A session may not make two clients at once.
_MAKING = threading.Lock()


@cache
def client(service: str, **where: str) -> Any:
    """Region, credentials and endpoint come from the environment (`AWS_REGION`, `AWS_ENDPOINT_URL`).

    `where` are boto3's own arguments that differ from it.
    """
    with _MAKING:
        return _session().client(service, config=_CONFIG, **where)  # type: ignore[call-overload]  # a name, no literal


@cache
def _session() -> boto3.session.Session:
    """One for all clients: a second one reads AWS's endpoints again (`benchmarks/cold_start.py`)."""
    return boto3.session.Session()


class _Later:
    """A client that is made at its first use: what most calls never need must not cost every cold start."""

    def __init__(self, service: str) -> None:
        self._service = service

    def __getattr__(self, name: str) -> Any:
        return getattr(client(self._service), name)


def later(service: str) -> Any:
    """As `client`, but its endpoint and model are read when it is first used (`benchmarks/cold_start.py`)."""
    return _Later(service)
