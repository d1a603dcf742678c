"""From a stack's name, an environment, or the stack that runs on this machine, the clients of a service."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nilometer.aws.clients import client
from nilometer.aws.dynamodb import Store
from nilometer.aws.eventbridge import Bus
from nilometer.aws.landing import Landing
from nilometer.aws.s3 import Objects
from nilometer.errors import Misconfigured
from nilometer.local.plane import discovery

_VARIABLES = {
    "RecordsTable": "RECORDS_TABLE",
    "EventsTable": "EVENTS_TABLE",
    "LakeBucket": "LAKE_BUCKET",
    "BusName": "BUS_NAME",
}
"""The outputs of a stack that a service needs, and the environment variables that name the same."""


@dataclass(frozen=True, slots=True)
class ServiceStack:
    """The tables, the bus and the bucket of one stack. Nothing is read before the first call."""

    names: Mapping[str, str]
    where: Mapping[str, Any]
    """What its AWS clients need beyond the environment; empty on AWS."""

    def store(self) -> Store:
        """The two tables: reads, and everything that `perform` does."""
        return Store(self._client("dynamodb"), records=self._name("RecordsTable"), events=self._name("EventsTable"))

    def bus(self) -> Bus:
        """Where usage, operations and batches of datasets are published."""
        return Bus(self._client("events"), name=self._name("BusName"))

    def objects(self) -> Objects:
        """The contents of attachments."""
        return Objects(self._client("s3"), bucket=self._name("LakeBucket"))

    def landing(self) -> Landing:
        """Where the files of datasets are put."""
        return Landing(self._client("s3"), bucket=self._name("LakeBucket"))

    def _client(self, service: str) -> Any:
        return client(service, **self.where)

    def _name(self, output: str) -> str:
        if not self.names.get(output):
            raise Misconfigured(f"the stack's {output} is not known; set {_VARIABLES[output]}, or name the stack")
        return self.names[output]


def connect(
    stack: str | None = None, *, port: int | None = None, environment: Mapping[str, str] = os.environ
) -> ServiceStack:
    """The CloudFormation stack of that name; else what `RECORDS_TABLE`, `EVENTS_TABLE`, `LAKE_BUCKET` and `BUS_NAME`
    name; else the newest local stack, or the one whose webhook has `port`.

    `Misconfigured` when there is none. Region and credentials come from the environment, as for every AWS client.
    """
    if stack is not None:
        return ServiceStack(_outputs(stack), {})
    named = {output: environment[name] for output, name in _VARIABLES.items() if environment.get(name)}
    if named and port is None:
        return ServiceStack(named, {})
    found = discovery.find(port=port)
    names = {
        "RecordsTable": found.records_table,
        "EventsTable": found.events_table,
        "LakeBucket": found.lake_bucket,
        "BusName": found.bus,
    }
    return ServiceStack(names, found.client_options)


def _outputs(stack: str) -> dict[str, str]:
    cloudformation = client("cloudformation")
    try:
        [described] = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    except cloudformation.exceptions.ClientError as error:
        raise Misconfigured(
            f"there is no stack {stack} in {cloudformation.meta.region_name}; check name, region, account"
        ) from error
    return {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", ())}
