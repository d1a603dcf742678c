"""Clients that are made when they are needed."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import boto3
import pytest
from botocore.exceptions import BotoCoreError
from tests.support.project import least

from nilometer.aws import clients


def test_a_later_client_is_made_at_its_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, and it is the process' own."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    clients.client.cache_clear()
    objects = clients.later("s3")
    assert clients.client.cache_info().currsize == 0

    assert objects.meta is clients.client("s3").meta
    assert clients.client.cache_info().misses == 1


@pytest.fixture
def stalled() -> Iterator[tuple[str, list[float]]]:
    """A service that takes each connection and never answers; and when each came."""
    listening = socket.create_server(("127.0.0.1", 0))
    came: list[float] = []
    kept = []

    def take() -> None:
        while True:
            try:
                kept.append(listening.accept()[0])
            except OSError:
                return
            came.append(time.monotonic())

    threading.Thread(target=take, daemon=True).start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}", came
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()


def test_a_stalled_bus_is_asked_three_times_within_the_webhooks_eight_seconds(
    stalled: tuple[str, list[float]],
) -> None:
    """A connection that hangs is not the end: the next one may pass, and Stripe gets an answer in time either way."""
    url, came = stalled
    bus = boto3.client(
        "events",
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=clients._config("events"),
    )
    longest = clients.longest_seconds("events") + 0.5

    def asked() -> float:
        came.clear()
        begun = time.monotonic()
        with pytest.raises(BotoCoreError):
            bus.put_events(Entries=[{"Source": "a", "DetailType": "b", "Detail": "{}"}])
        took = time.monotonic() - begun
        assert len(came) == 3
        return took

    assert least(asked, wanted=longest, tries=3) <= longest < 8.1


@pytest.mark.parametrize("service", clients.PATIENCE)
def test_three_attempts_fit_into_every_function(service: str) -> None:
    """30 seconds are the least that a function has which asks DynamoDB, SQS or S3; the webhook has eight."""
    _, _, attempts = clients.PATIENCE[service]

    assert attempts >= 3
    assert clients.longest_seconds(service) <= (8 if service in {"events", "secretsmanager"} else 25)
