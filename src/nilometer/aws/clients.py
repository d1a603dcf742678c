"""boto3 clients, built once per process and service."""

from __future__ import annotations

import os
import threading
from functools import cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

AWS_ERRORS = (BotoCoreError, ClientError)
"""What a call of AWS that nobody translated ends with: no answer, no credentials, or a refusal."""

# Seconds to connect and to wait for an answer, and attempts. A connection that stalls is given up early enough that
# three attempts fit into every function (30 s; the webhook answers within 8), and a healthy answer is never cut:
# DynamoDB, the bus and Secrets Manager take milliseconds, S3 up to a second, a long poll of SQS is one of a second.
PATIENCE = {
    "dynamodb": (1.0, 3.0, 4),
    "events": (1.0, 1.5, 3),
    "secretsmanager": (1.0, 1.5, 3),
    "sqs": (1.0, 4.0, 4),
    "s3": (1.0, 5.0, 3),
}
"""By service; the others are the command line's alone."""
ONCE = {"sesv2": (1.0, 5.0, 1)}
"""What knows no repetition of a request: a second attempt would be a second mail."""

_OTHERS = (3.0, 60.0, 3)  # a function that is invoked answers after up to 30 s
_LONGEST_PAUSE = 20.0


def longest_seconds(service: str) -> float:
    """That a call may take when each attempt stalls: standard retries wait up to 1, 2, 4, ... s between them."""
    connect, read, attempts = PATIENCE.get(service, _OTHERS)
    return attempts * max(connect, read) + sum(min(2.0**n, _LONGEST_PAUSE) for n in range(attempts - 1))


def _config(service: str) -> Config:
    """Ten connections are boto3's default, and standard retries add jitter.

    Our requests are typed: botocore's own check of every parameter is half of its CPU in a large transaction
    (`benchmarks/usage.py`), and the service checks them again.
    """
    connect, read, attempts = {**PATIENCE, **ONCE}.get(service, _OTHERS)
    return Config(
        retries={"mode": "standard", "total_max_attempts": attempts},
        connect_timeout=connect,
        read_timeout=read,
        tcp_keepalive=True,
        parameter_validation=False,
        user_agent=_agent(),
        # Signed addresses of version 2 bind neither size nor hash of what is uploaded, and are boto3's default for S3.
        signature_version="s3v4" if service == "s3" else None,
    )


def _agent() -> str:
    """Who asks, with the application's id. botocore would make a long one anew for each request, which is a tenth of
    the CPU of a small one."""
    application = os.environ.get("AWS_SDK_UA_APP_ID")
    return f"nilometer app/{application}" if application else "nilometer"


# A session may not make two clients at once.
_MAKING = threading.Lock()


@cache
def client(service: str, **where: str) -> Any:
    """Region, credentials and endpoint come from the environment (`AWS_REGION`, `AWS_ENDPOINT_URL`).

    `where` are boto3's own arguments that differ from it.
    """
    with _MAKING:
        return _session().client(service, config=_config(service), **where)  # type: ignore[call-overload]  # a name, no literal


@cache
def _session() -> boto3.session.Session:
    """One for all clients: a second one reads AWS's endpoints again (`benchmarks/cold_start.py`)."""
    return boto3.session.Session(region_name=os.environ.get("AWS_REGION"))  # boto3 itself reads AWS_DEFAULT_REGION only


class _Later:
    """A client that is made at its first use: what most calls never need must not cost every cold start."""

    def __init__(self, service: str) -> None:
        self._service = service

    def __getattr__(self, name: str) -> Any:
        return getattr(client(self._service), name)


def later(service: str) -> Any:
    """As `client`, but its endpoint and model are read when it is first used (`benchmarks/cold_start.py`)."""
    return _Later(service)
