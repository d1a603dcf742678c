"""Clients that are made when they are needed."""

from __future__ import annotations

import pytest

from nilometer.aws import clients


def test_a_later_client_is_made_at_its_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, and it is the process' own."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    clients.client.cache_clear()
    objects = clients.later("s3")
    assert clients.client.cache_info().currsize == 0

    assert objects.meta is clients.client("s3").meta
    assert clients.client.cache_info().misses == 1
