"""What the console may ask of a stack: each answer as the command of the same name gives it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nilometer.cli.lake.ledger import ledger_of
from nilometer.cli.lake.tables import dataset_names, lake_of
from nilometer.cli.recovery.dlq_queues import letter_boxes, reasons
from nilometer.cli.recovery.refused import lane_of
from nilometer.cli.stack.doctor_lake import lake as look_at_lake
from nilometer.cli.stack.doctor_stack import checks
from nilometer.cli.stack.finding import guarded
from nilometer.cli.stack.status import reader
from nilometer.cli.terminal.connection import Connection
from nilometer.console.events.feed import CloudLogs, LogFolder
from nilometer.console.place import CheckFound, LineFeed, Place, Timer
from nilometer.errors import Rejected, Unavailable
from nilometer.flows.publish.usage import publish
from nilometer.local.plane.deployed import logical
from nilometer.local.sources.schedules import next_time
from nilometer.local.stripe.event_types import EVENT_TYPES

BILL_SECONDS = 240
_COSTS = (
    "Stage",
    "Monitoring",
    "RatioAlarms",
    "ArchiveDays",
    "Upkeep",
    "ChangesOnBus",
    "LakeQueues",
    "Datasets",
    "LakeWindow",
)
"""Parameters of template.yaml that a bill depends on."""


def place(connection: Connection) -> Place:
    """Of this stack, with this process's rights."""
    about = connection.description
    where = "this machine" if connection.is_local else f"AWS {about.region}"
    return Place(
        name=about.stack_name,
        where=where,
        store=connection.store(),
        objects=connection.objects(),
        ledger=ledger_of(connection),
        lake=lake_of(connection),
        feed=feed(connection),
        status=reader(connection),
        boxes=lambda: letter_boxes(_now(connection)),
        reasons=reasons(connection),
        lane=lambda: lane_of(_now(connection)),
        datasets=lambda: dataset_names(connection),
        timers=lambda: list(_timers(connection)),
        checks=lambda: _checks(_now(connection)),
        again=lambda event: publish(connection.bus(), [event]),
        trigger=lambda event_type, workspace_id: trigger(connection, event_type, workspace_id),
        event_types=sorted(EVENT_TYPES),
        bill=lambda stripe, usage: bill(stripe, usage, costly(connection)),
    )


def feed(connection: Connection) -> LineFeed:
    """The log lines of the stack's functions."""
    if connection.description.logs:
        return LogFolder(Path(connection.description.logs))
    return CloudLogs(connection.client("logs"), list(connection.resources("AWS::Logs::LogGroup").values()))


def trigger(connection: Connection, event_type: str, workspace_id: str | None) -> Mapping[str, Any]:
    """The sample event, once the webhook has taken it. `Unavailable` when it did not."""
    from nilometer.local.stripe.samples import sample

    try:
        event = sample(event_type, workspace_id, datetime.now(UTC))
    except ValueError as error:
        raise Rejected("unknown_type", f"{error}; `nilometer trigger --list` names all") from error
    delivery = connection.endpoint().deliver(1, json.dumps(event).encode())
    if not delivery.taken:
        raise Unavailable(f"the webhook answered {delivery.status or 'nothing'}: {delivery.reason}")
    return event


def bill(stripe: str, usage: str, parameters: Mapping[str, str]) -> Mapping[str, Any]:
    """What the command says, which counts the requests of a stack of its own: no other command finds it.

    `parameters` of template.yaml are given to it, and stand beside its answer.
    """
    rates = ("--stripe", stripe, "--usage", usage)
    given = [f"--parameter={name}={value}" for name, value in parameters.items()]
    command = (sys.executable, "-m", "nilometer", "cost", *rates, *given, "--json")
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "NILOMETER_"))}
    with tempfile.TemporaryDirectory(prefix="nilometer-cost-") as folder:
        try:
            done = subprocess.run(
                command,
                env={**own, "NILOMETER_RUNTIME_DIR": folder},
                capture_output=True,
                text=True,
                timeout=BILL_SECONDS,
                check=True,
            )
        except subprocess.SubprocessError as error:
            raise Unavailable("the cost could not be counted; `nilometer cost` says why") from error
    return {**json.loads(done.stdout), "parameters": dict(parameters)}


def costly(connection: Connection) -> Mapping[str, str]:
    """Of a stack on AWS, as it was deployed; a local one is billed as production by default."""
    if connection.is_local:
        return {}
    answer = connection.client("cloudformation").describe_stacks(StackName=connection.description.stack_name)
    told = {one["ParameterKey"]: one["ParameterValue"] for one in answer["Stacks"][0].get("Parameters", ())}
    return {name: told[name] for name in _COSTS if name in told}


def _now(connection: Connection) -> Connection:
    """The console runs longer than a command: each question has its own time."""
    return Connection(connection.description)


def _checks(connection: Connection) -> Iterator[CheckFound]:
    for name, look in (*checks(connection, None), ("lake", lambda: look_at_lake(connection))):
        for one in guarded(name, look):
            yield CheckFound(check=one.check, verdict=one.verdict, found=one.found, advice=one.advice)


def _timers(connection: Connection) -> Iterator[Timer]:
    """The schedules of the stack and when each is due next."""
    scheduler = connection.client("scheduler")
    for name, physical in sorted(connection.resources("AWS::Scheduler::Schedule").items()):
        group, _, schedule = physical.rpartition("|")
        found = scheduler.get_schedule(Name=schedule, **({"GroupName": group} if group else {}))
        expression, zone = found["ScheduleExpression"], found.get("ScheduleExpressionTimezone", "UTC")
        yield Timer(
            name=name,
            expression=expression,
            function=logical(found["Target"]["Arn"].split(":")[6]),
            next=None
            if expression.startswith("rate")
            else next_time(expression, after=datetime.now(UTC), timezone=zone),
        )
