"""The API fuzzed from its own description: whatever fits it or does not is answered, never by a failure of ours."""

from __future__ import annotations

from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import one_of
from schemathesis import GenerationMode
from tests.support.stack.conformance import in_memory

from nilometer.flows.api.description.openapi import document
from nilometer.flows.api.routes import ROUTES

API = in_memory()
SCHEMA = schemathesis.openapi.from_dict(document(ROUTES))
OPERATIONS = {str(found.ok().label): found.ok() for found in SCHEMA.get_all_operations()}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_request_is_a_failure_of_ours(operation: str) -> None:
    """With a key that may everything: requests that fit the description, and others."""

    @given(case=one_of(*(OPERATIONS[operation].as_strategy(generation_mode=mode) for mode in GenerationMode)))
    @settings(max_examples=24, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def answered(case: Any) -> None:
        prepared = requests.Request(**_plain(case.as_transport_kwargs(base_url="http://nilometer.test"))).prepare()
        path = str(prepared.url).removeprefix("http://nilometer.test")
        content = prepared.body or b""
        status, _ = API.ask(
            str(prepared.method),
            path,
            API.service,
            content if isinstance(content, bytes) else content.encode(errors="replace"),
            headers={"content-type": "application/json"},
        )

        assert status < 500

    answered()


def _plain(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in kwargs.items() if name in {"method", "url", "params", "json", "data"}}


def test_the_description_is_one() -> None:
    """The tool reads every operation of it."""
    assert len(OPERATIONS) == len(ROUTES)
