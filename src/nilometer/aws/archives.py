"""EventBridge's archives of a bus, and replaying a span of time of one to some of the bus's rules.

Source: EventBridge User Guide, "Archiving and replaying events".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from nilometer.errors import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

_ENDED = {"COMPLETED", "FAILED", "CANCELLED"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """`days` of retention; 0 keeps everything without end. `bus` is the ARN of what it archives."""

    name: str
    arn: str
    bus: str
    days: int
    events: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A replay of a part of an archive to one rule. A name is used once: starting it again changes nothing."""

    name: str
    archive: Archive
    rule: str
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayProgress:
    """`reached` is the time of the last event that was replayed."""

    state: str
    reached: datetime | None
    reason: str | None

    @property
    def ended(self) -> bool:
        """Completed, failed or cancelled: EventBridge does not change the replay any more."""
        return self.state in _ENDED


class Archives:
    """Reads archives and starts replays of one account and region. Safe to share between threads."""

    def __init__(self, client: EventBridgeClient) -> None:
        self._client = client

    def of_bus(self, name: str) -> Iterator[Archive]:
        """All archives of the bus of this name, one request each. `ClientError` when there is no such bus."""
        bus = self._client.describe_event_bus(Name=name)["Arn"]
        for found in self._client.list_archives(EventSourceArn=bus)["Archives"]:
            described = self._client.describe_archive(ArchiveName=found["ArchiveName"])
            yield Archive(
                name=described["ArchiveName"],
                arn=described["ArchiveArn"],
                bus=bus,
                days=described.get("RetentionDays", 0),
                events=described.get("EventCount", 0),
            )

    def rules(self, bus: str) -> dict[str, str]:
        """ARNs by name."""
        pages = self._client.get_paginator("list_rules").paginate(EventBusName=bus)
        return {rule["Name"]: rule["Arn"] for page in pages for rule in page["Rules"]}

    def start(self, replay: Replay) -> None:
        """Also when it has begun already: its answer was lost."""
        try:
            self._client.start_replay(
                ReplayName=replay.name,
                EventSourceArn=replay.archive.arn,
                EventStartTime=replay.since,
                EventEndTime=replay.until,
                Destination={"Arn": replay.archive.bus, "FilterArns": [replay.rule]},
            )
        except self._client.exceptions.ResourceAlreadyExistsException:
            pass
        except (ClientError, BotoCoreError) as error:
            raise Unavailable(f"EventBridge did not start the replay {replay.name}: {error}") from error

    def progress(self, replay: Replay) -> ReplayProgress:
        """As EventBridge reports it now, one request. `ClientError` when no replay has the name."""
        found = self._client.describe_replay(ReplayName=replay.name)
        return ReplayProgress(
            state=found["State"], reached=found.get("EventLastReplayedTime"), reason=found.get("StateReason")
        )
