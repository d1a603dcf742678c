"""Publishing to the bus: every entry is accepted, or the error says which were not. Replays of its archives.

Source: EventBridge User Guide, "Archiving and replaying events".
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from nilometer.domain.events.carried import carried
from nilometer.errors import Rejected, Unavailable

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

ENTRY_BYTES = 1_000_000  # EventBridge takes 1 MB an entry (source, detail type and detail); emulators take any
ENTRIES = 10  # in one PutEvents
_ENDED = {"COMPLETED", "FAILED", "CANCELLED"}


@dataclass(frozen=True, kw_only=True)
class BusEntry:
    """One event for the bus; `detail` is a JSON object as text, in a form that queues behind the bus take too."""

    source: str
    detail_type: str
    detail: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "detail", carried(self.detail))

    @cached_property
    def size(self) -> int:
        """In bytes, as EventBridge counts an entry without time and resources: source, detail type, detail (UTF-8)."""
        return len(self.source) + len(self.detail_type) + len(self.detail.encode())


class Bus:
    """One custom event bus."""

    def __init__(self, client: EventBridgeClient, *, name: str) -> None:
        self._client = client
        self._name = name
        self.requests = 0

    def publish(self, entries: Sequence[BusEntry], *, attempts: int = 4) -> None:
        """Returns only when the bus has taken every entry.

        Retries the failed entries alone, so an entry that was taken is not sent twice by us.
        `Rejected("too_large")` before anything is sent; `Unavailable` when entries are still refused.
        """
        for entry in entries:
            if entry.size > ENTRY_BYTES:
                raise Rejected("too_large", f"{entry.detail_type}: {entry.size} bytes; the bus takes {ENTRY_BYTES}")
        for start in range(0, len(entries), ENTRIES):
            self._publish(list(entries[start : start + ENTRIES]), attempts)

    def _publish(self, pending: list[BusEntry], attempts: int) -> None:
        for attempt in range(attempts):
            if attempt:
                time.sleep(random.uniform(0, 0.1 * 2**attempt))
            pending = self._put(pending)
            if not pending:
                return
        raise Unavailable(f"the bus did not take {len(pending)} of the events; send them again")

    def _put(self, entries: list[BusEntry]) -> list[BusEntry]:
        """The entries that were not taken. One request at most 1 MB in all, so large ones go alone."""
        if sum(entry.size for entry in entries) > ENTRY_BYTES:
            return [left for entry in entries for left in self._put([entry])]
        self.requests += 1
        try:
            response = self._client.put_events(Entries=[self._request(entry) for entry in entries])
        except (ClientError, BotoCoreError) as error:
            raise Unavailable(f"the bus did not answer: {error}") from error
        if not response["FailedEntryCount"]:
            return []
        return [entry for entry, answer in zip(entries, response["Entries"], strict=True) if "ErrorCode" in answer]

    def _request(self, entry: BusEntry) -> Any:
        return {
            "EventBusName": self._name,
            "Source": entry.source,
            "DetailType": entry.detail_type,
            "Detail": entry.detail,
        }


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
