"""The service plane: MiniStack, one subprocess on loopback, reached through boto3 like AWS itself.

It is young, so: pinned exactly, used through documented AWS calls only, and judged by `tests/contract` on every bump.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import boto3
import botocore.loaders
import botocore.session

from nilometer.errors import Misconfigured, Unavailable
from nilometer.local.plane.guard import AT_ONCE

REGION = "us-east-1"
START_SECONDS = 120
_FIRST_PORT, _PORTS = 20_000, 12_000  # below those that Linux (32768) and macOS (49152) give
_TRIES = 100
# -P: nothing in the current folder may stand in for a module.
_PYTHON = (sys.executable, "-P", "-m")
_COMMAND = (*_PYTHON, "nilometer.local.plane.guard", *_PYTHON, "nilometer.local.plane.plane")
_LEFT_OUT = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "PYTHONDONTWRITEBYTECODE")
"""Of the environment: profiles are not the engine's, and to compile 200 modules takes longer than all the rest."""
_SERVICES = (
    "apigatewayv2,cloudformation,dynamodb,dynamodbstreams,events,iam,lambda,logs,s3,"
    "scheduler,secretsmanager,ses,sqs,sts"
)


@dataclass(frozen=True, slots=True)
class Engine:
    """A running engine. What it has acknowledged is on the disk (`local.plane.journal`), so it may end in any way."""

    endpoint_url: str
    process: subprocess.Popen[bytes]

    @property
    def environment(self) -> dict[str, str]:
        """What any AWS client needs to talk to it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }


@contextlib.contextmanager
def engine(*, port: int, data: Path, log: Path, keep_open: Sequence[int] = (), saved: bool = True) -> Iterator[Engine]:
    """Starts the engine with its state below `data` and stops it at the end, at once unless its state is to be `saved`.

    The file descriptors in `keep_open` (a lock on `data`) stay open until the engine has gone, even when
    this process is killed.
    """
    port = port or free_port()
    process = _start(port, data, log, keep_open)
    running = Engine(f"http://127.0.0.1:{port}", process)
    try:
        _await_ready(running, log)
        yield running
    finally:
        _stop(process, b"" if saved else AT_ONCE)


def session() -> boto3.session.Session:
    """For clients of an engine: no profile of the user counts, also one that cannot be read. The environment stays."""
    core = botocore.session.Session(session_vars={"profile": (None, None, None, None)})
    core.register_component("data_loader", _models())
    return boto3.session.Session(
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106  # the engine takes any
        region_name=REGION,
        botocore_session=core,
    )


@cache
def _models() -> botocore.loaders.Loader:
    """What a session has read of AWS's services the next one need not read again."""
    return botocore.loaders.create_loader()


def free_port() -> int:
    """A TCP port of loopback that was free a moment ago, and that no system gives to who asks for any port.

    Another process that was given it would be in the way before the caller listens.
    """
    for _ in range(_TRIES):
        port = _FIRST_PORT + secrets.randbelow(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise Unavailable(f"no port of {_FIRST_PORT} to {_FIRST_PORT + _PORTS - 1} is free")


def _start(port: int, data: Path, log: Path, keep_open: Sequence[int]) -> subprocess.Popen[bytes]:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise Misconfigured(f"port {port} is taken; choose another or 0 for a free one") from error
    environment = {
        **{name: value for name, value in os.environ.items() if name not in _LEFT_OUT},
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_HOST": "127.0.0.1",
        "IOT_MTLS_ENABLED": "0",
        "SERVICES": _SERVICES,
        "PERSIST_STATE": "1",
        "STATE_DIR": str(data / "state"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(data / "s3"),
    }
    with log.open("ab") as output:
        return subprocess.Popen(
            (*_COMMAND, str(data)),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=environment,
            pass_fds=keep_open,
            start_new_session=True,
        )


def _await_ready(running: Engine, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if running.process.poll() is not None:
            break
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            urllib.request.urlopen(f"{running.endpoint_url}/_ministack/health", timeout=1).close()  # noqa: S310  # our own loopback URL
            return
        time.sleep(0.05)
    raise Unavailable(f"the local engine did not start; see {log}")


def _stop(process: subprocess.Popen[bytes], last: bytes) -> None:
    assert process.stdin  # noqa: S101  # opened above
    with contextlib.suppress(BrokenPipeError):  # it has ended by itself
        process.stdin.write(last)
        process.stdin.flush()
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    process.wait()
