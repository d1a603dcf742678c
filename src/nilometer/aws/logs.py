"""What functions wrote to CloudWatch Logs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from nilometer.domain.store.times import epoch
from nilometer.errors import Unavailable


def lines(client: Any, group: str, *, pattern: str, since: datetime) -> Iterator[str]:
    """The lines of a log group that match CloudWatch's filter pattern. An emulator may give others too."""
    pages = client.get_paginator("filter_log_events")
    try:
        for page in pages.paginate(logGroupName=group, filterPattern=pattern, startTime=epoch(since) * 1000):
            yield from (event["message"] for event in page["events"])
    except (ClientError, BotoCoreError) as error:
        raise Unavailable(f"the log {group} cannot be read: {error}") from error
