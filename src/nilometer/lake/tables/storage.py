"""The location of the lake: options for delta-rs from the same variables that every AWS client reads.

No lock table: a commit is `PUT If-None-Match: *`, which S3 decides atomically.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


def storage_options(environment: Mapping[str, str]) -> dict[str, str]:
    """Options from `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, `AWS_REGION` and the credentials' variables.

    Absent variables are left to delta-rs (profile, container and instance credentials). Plain HTTP
    is allowed to the loopback only.
    """
    options = {name: environment[name] for name in _PASSED if environment.get(name)}
    if region := environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION"):
        options["AWS_REGION"] = region
    if endpoint := environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL"):
        options["AWS_ENDPOINT_URL"] = endpoint
        options["AWS_VIRTUAL_HOSTED_STYLE_REQUEST"] = "false"
        if urlsplit(endpoint).hostname in _LOOPBACK:
            options["AWS_ALLOW_HTTP"] = "true"
    return options | _PATIENCE


_PASSED = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE")
# Shorter than the function's time (by default a request is retried for three minutes): a dead connection must leave
# time for another attempt, or to say that there is none.
_PATIENCE = {"timeout": "20s", "connect_timeout": "5s", "max_retries": "5", "retry_timeout": "20s"}
