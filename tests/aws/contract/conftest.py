"""DynamoDB's promises, held against every engine that can be had here: one suite, several engines.

One of them is the simulation's model of DynamoDB, so that what is tried under it is tried under what real engines do.
"""

from __future__ import annotations

import contextlib
import http.client
import platform
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from tests.support.simulation.services.dynamodb import SimDynamoDB, SimTables

from nilometer.aws.dynamodb import Store
from nilometer.local.plane.engine import REGION, free_port

MODEL = "simulation"
ENGINES = ("ministack", "dynoxide", MODEL)
START_SECONDS = 60
# One attempt: a retry of botocore's would hide what the engine answered.
_CONFIG = Config(retries={"total_max_attempts": 1}, max_pool_connections=16)


@pytest.fixture(scope="session", params=ENGINES)
def engine_url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == MODEL:
        yield MODEL
        return
    if request.param == "ministack":
        yield request.getfixturevalue("aws").endpoint_url
        return
    with dynoxide() as url:
        yield url


@pytest.fixture(scope="session")
def client(engine_url: str) -> Any:
    if engine_url == MODEL:
        return SimDynamoDB(SimTables())
    return boto3.client(
        "dynamodb",
        endpoint_url=engine_url,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=_CONFIG,
    )


@pytest.fixture
def tables(client: Any) -> dict[str, str]:
    """Fresh, empty tables by their name in `Store`."""
    suffix = uuid.uuid4().hex[:12]
    names = {name: f"{name}-{suffix}" for name in ("records", "events")}
    for name in names.values():
        client.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("pk", "sk")],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        )
    return names


@pytest.fixture
def store(client: Any, tables: dict[str, str]) -> Store:
    return Store(client, **tables)


@contextlib.contextmanager
def dynoxide() -> Iterator[str]:
    """The second engine: SQLite behind DynamoDB's interface, in memory, on loopback."""
    system = f"{platform.system()} {platform.machine()}"
    if system != "Linux x86_64":
        pytest.skip(f"Dynoxide is packaged for Linux on x86-64, not for {system}")
    binary = Path(sys.prefix, "dynoxide/node_modules/@dynoxide/linux-x64/dynoxide")
    if not binary.exists():
        pytest.skip("Dynoxide is not installed; `make test` does it where there is npm")
    binary.chmod(0o755)
    port = free_port()
    process = subprocess.Popen(
        [str(binary), "serve", "--host", "127.0.0.1", "--port", str(port)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _await_answer(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _await_answer(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as probe:
            probe.request("GET", "/")
            probe.getresponse()
            return
        time.sleep(0.02)
    raise TimeoutError(f"Dynoxide did not answer on port {port}")
