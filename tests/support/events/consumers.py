"""The consumers of queues, each with a message that it accepts."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.flows import sample_world
from tests.support.flows.operations import envelope, event
from tests.support.flows.usage import cloud
from tests.support.flows.usage import prepare as prepare_usage
from tests.support.project import EVENTS

from nilometer.aws.dynamodb import Store
from nilometer.domain.events.outcome import Result
from nilometer.flows.notices import batch as notices
from nilometer.flows.operations import batch as operations
from nilometer.flows.usage import batch as usage

SAMPLES = {path.stem: json.loads(path.read_text()) for path in sorted((EVENTS / "stripe").glob("*.json"))}
HERE = {"id": "here", "type": "here"}


@dataclass(frozen=True)
class Flow:
    """A consumer, its samples, a message that it accepts, and what that needs."""

    samples: str
    handle: Callable[..., Sequence[Result]]
    good: Callable[[int], str]
    prepare: Callable[[Store, Any], object]


def new_workspace(number: int) -> str:
    return event("workspace.created.v1", {"name": "A"}, id_=f"good {number}", subject=f"ws_good_{number}")


def call(number: int) -> str:
    return envelope(cloud(f"good {number}"))


def new_role(number: int) -> str:
    """A change that its member is notified of."""
    sample = json.loads((EVENTS / "changes/record.changed.v1.membership-modified.json").read_text())
    data = sample["detail"]["data"]
    for image in (data["old_image"], data["new_image"]):
        image["user_id"] = "user_max"
    data["new_image"]["version"] = 100 + number
    return json.dumps(sample)


FLOWS = {
    "operations": Flow("operations", operations.handle, new_workspace, sample_world.prepare),
    "usage": Flow("usage", usage.handle, call, lambda store, _objects: prepare_usage(store)),
    "notices": Flow("changes", notices.handle, new_role, sample_world.prepare),
}


def around(event: str) -> str:
    """The bus's envelope around the text of an event, which may be no JSON."""
    return envelope(HERE, source="nilometer.webhook").replace(json.dumps(HERE), event)


def new_customer(number: int) -> str:
    """A customer of a workspace of his own."""
    event = json.loads(json.dumps(SAMPLES["customer.created"]))
    event["id"] = f"evt_good{number}"
    event["data"]["object"] |= {"id": f"cus_good{number}", "metadata": {"workspace_id": f"ws_good{number}"}}
    return around(json.dumps(event))
