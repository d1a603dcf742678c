"""Each answer has the content type that botocore's model of its service demands."""

from __future__ import annotations

import json
import subprocess
import sys

from nilometer.local.plane.engine import _SERVICES

COMPARED = r"""
import json
from ministack.core import responses
from nilometer.local.patches import envelopes

types = ["application/json", "application/x-amz-json-1.0", "application/x-amz-json-1.1", "application/xml", "text/xml"]
types += ["text/plain", ""]


def expected():
    asked = (responses.expected_error_content_type, responses.expected_success_content_type)
    return {name: [ask(name, one) for ask in asked for one in types] for name in [*envelopes.PROTOCOLS, "kinesis"]}


before = expected()
responses._service_model.cache_clear()
envelopes.use()
print(json.dumps([before, expected()]))
"""


def test_content_types_are_those_of_the_models() -> None:
    """Of every service that runs, and of one that does not."""
    done = subprocess.run([sys.executable, "-c", COMPARED], capture_output=True, text=True, check=True)
    before, after = json.loads(done.stdout.splitlines()[-1])

    assert after == before
    aliases = {"apigatewayv2": "apigateway", "dynamodbstreams": "dynamodb"}
    assert {aliases.get(name, name) for name in _SERVICES.split(",")} <= after.keys()
