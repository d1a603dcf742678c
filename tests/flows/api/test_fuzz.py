"""The API fuzzed from its own description: whatever fits it or does not is answered, never by a failure of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.generation.feedback import FeedbackSources
from schemathesis.pytest._test_builder import build_operation_test  # what `parametrize` calls; the tool is pinned
from schemathesis.python._constants.orchestrator import make_constants_value_source
from tests.support.stack.conformance import in_memory

from nilometer.flows.api.description.openapi import document
from nilometer.flows.api.route import ApiRoute
from nilometer.flows.api.routes import ROUTES

API = in_memory()
SCHEMA = schemathesis.openapi.from_dict(document(ROUTES))


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def ask(case: Any) -> None:
    """With a key that may everything; what is no problem follows the description."""
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


def fuzzed(route: ApiRoute) -> Callable[[], None]:
    """As the tool's `parametrize` makes it, but where the test runs: every worker collects all tests.

    The tool would give the tests of all routes one id, of which workers run one: each is a function of its own.
    """

    def test() -> None:
        [operation] = SCHEMA.include(path=route.path, method=route.method).get_all_operations()
        made = build_operation_test(
            config=SCHEMA.config,
            operation=operation.ok(),
            test_func=ask,
            given_kwargs={},
            feedback=FeedbackSources(constants_value_source=make_constants_value_source(SCHEMA)),
        )
        made()

    return test


globals().update({f"test_no_request_to_{route.name}_is_a_failure_of_ours": fuzzed(route) for route in ROUTES})


def _plain(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in kwargs.items() if name in {"method", "url", "params", "json", "data"}}


def test_the_description_is_one() -> None:
    """The tool reads every operation of it."""
    assert len(list(SCHEMA.get_all_operations())) == len(ROUTES)
