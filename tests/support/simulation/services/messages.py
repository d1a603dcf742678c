"""EventBridge and SQS in memory under the clients that `aws.eventbridge.Bus` and `aws.sqs.Queue` call.

Both take a part of a batch, take it and lose the answer, and so take one thing twice. What they took is in `taken`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from botocore.exceptions import ClientError
from tests.support.simulation.kernel.world import SimRequest, World

TROUBLES = ("refused", "dies", "lost")


class SimTaker:
    """What takes things in batches. `sink`, if given, gets each thing that was taken."""

    def __init__(self, world: World, sink: Callable[[Any], None] | None = None) -> None:
        self.world = world
        self.taken: list[Any] = []
        self.sink = sink
        self.digest = 0

    def take(self, operation: str, entries: Sequence[Any]) -> int:
        """How many of `entries` were taken, from the first."""
        troubles = (*TROUBLES, "part") if len(entries) > 1 else TROUBLES

        def perform(trouble: str) -> int:
            if trouble == "refused":
                raise refused()
            count = len(entries) // 2 if trouble == "part" else len(entries)
            for entry in entries[:count]:
                self.taken.append(entry)
                self.digest += hash(entry if isinstance(entry, str) else (entry["DetailType"], entry["Detail"]))
                if self.sink:
                    self.sink(entry)
            if trouble == "lost":
                raise refused()
            return count

        said = f"{operation}s {len(entries)}"
        found: int = self.world.request(SimRequest(operation, troubles, lambda: said), perform, lambda count: count)
        return found


class SimEventBridge(SimTaker):
    """boto3's client of the bus."""

    def put_events(self, *, Entries: Sequence[Any]) -> dict[str, Any]:  # noqa: N803
        taken = self.take("publish", Entries)
        answers = [{"EventId": "1"} if n < taken else {"ErrorCode": "ThrottlingException"} for n in range(len(Entries))]
        return {"FailedEntryCount": len(Entries) - taken, "Entries": answers}


class SimSqs(SimTaker):
    """boto3's client of queues."""

    def send_message_batch(self, *, QueueUrl: str, Entries: Sequence[Any]) -> dict[str, Any]:  # noqa: N803
        taken = self.take("send", [entry["MessageBody"] for entry in Entries])
        return {"Failed": [{"Id": entry["Id"]} for entry in Entries[taken:]]}


def refused() -> ClientError:
    return ClientError({"Error": {"Code": "InternalException", "Message": "no answer"}}, "simulated")
