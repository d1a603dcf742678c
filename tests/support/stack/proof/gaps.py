"""What an engine cannot show, by its own answers; run as a module it asks the two engines that tests use."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from tests.support.stack.proof.production import client, enforcing_engine

from nilometer.local.plane.engine import engine

Client = Callable[[str], Any]
ALARM = {"Namespace": "n", "Statistic": "Sum", "Period": 10, "EvaluationPeriods": 1, "Threshold": 1.0}
SUM = {"Metric": {"Namespace": "n", "MetricName": "m"}, "Period": 60, "Stat": "Sum"}


def _archives(of: Client) -> bool:
    bus = of("events").create_event_bus(Name="archived")["EventBusArn"]
    of("events").create_archive(ArchiveName="kept", EventSourceArn=bus, RetentionDays=1)
    entry = {"EventBusName": "archived", "Source": "s", "DetailType": "t", "Detail": "{}"}
    of("events").put_events(Entries=[entry])
    time.sleep(1)
    return bool(of("events").describe_archive(ArchiveName="kept")["EventCount"] > 0)


def _bus_policy(of: Client) -> bool:
    bus = of("events").create_event_bus(Name="guarded")["EventBusArn"]
    deny = {"Sid": "d", "Effect": "Deny", "Principal": "*", "Action": "events:PutEvents", "Resource": bus}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    of("events").put_permission(EventBusName="guarded", Policy=policy)
    entry = {"EventBusName": "guarded", "Source": "s", "DetailType": "t", "Detail": "{}"}
    try:
        return of("events").put_events(Entries=[entry])["FailedEntryCount"] == 1
    except ClientError:
        return True


def _canary(of: Client) -> bool:
    return bool(of("codedeploy").create_application(applicationName="a", computePlatform="Lambda"))


def _ratio_alarm(of: Client) -> bool:
    metrics = [{"Id": "a", "MetricStat": SUM, "ReturnData": False}, {"Id": "b", "Expression": "a / 2"}]
    given = {"Threshold": 1.0, "EvaluationPeriods": 1, "ComparisonOperator": "GreaterThanThreshold"}
    of("cloudwatch").put_metric_alarm(AlarmName="ratio", Metrics=metrics, **given)
    [found] = of("cloudwatch").describe_alarms(AlarmNames=["ratio"])["MetricAlarms"]
    return len(found.get("Metrics", ())) == 2


def _ringing_alarm(of: Client) -> bool:
    alarm = {**ALARM, "MetricName": "m", "ComparisonOperator": "GreaterThanThreshold"}
    of("cloudwatch").put_metric_alarm(AlarmName="rings", **alarm)
    of("cloudwatch").put_metric_data(Namespace="n", MetricData=[{"MetricName": "m", "Value": 5.0}])
    time.sleep(3)
    [found] = of("cloudwatch").describe_alarms(AlarmNames=["rings"])["MetricAlarms"]
    return bool(found["StateValue"] == "ALARM")


def _recovery(of: Client) -> bool:
    key = {"AttributeName": "pk"}
    made = {"AttributeDefinitions": [{**key, "AttributeType": "S"}], "KeySchema": [{**key, "KeyType": "HASH"}]}
    of("dynamodb").create_table(TableName="kept", BillingMode="PAY_PER_REQUEST", **made)
    on = {"PointInTimeRecoveryEnabled": True}
    of("dynamodb").update_continuous_backups(TableName="kept", PointInTimeRecoverySpecification=on)
    of("dynamodb").put_item(TableName="kept", Item={"pk": {"S": "a"}})
    again = {"TargetTableName": "restored", "UseLatestRestorableTime": True}
    of("dynamodb").restore_table_to_point_in_time(SourceTableName="kept", **again)
    return bool(of("dynamodb").scan(TableName="restored")["Count"] == 1)


PROBES: dict[str, Callable[[Client], bool]] = {
    "an archive keeps what is published": _archives,
    "the policy of a bus is enforced": _bus_policy,
    "CodeDeploy, for canaries": _canary,
    "alarms over several metrics": _ratio_alarm,
    "alarms go off": _ringing_alarm,
    "restore to a point in time": _recovery,
}


def gaps(endpoint_url: str) -> Iterator[tuple[str, str]]:
    """Each probe with "" when the engine shows it, else what it answers."""
    for name, probe in PROBES.items():
        try:
            yield name, "" if probe(lambda service: client(endpoint_url, service)) else "taken, and without effect"
        except (ClientError, BotoCoreError) as error:
            yield name, str(error).splitlines()[0][:90]


def main() -> None:
    """One table for both engines."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        with enforcing_engine(data) as other, engine(port=0, data=data / "own", log=data / "own.log") as own:
            for engine_name, url in (("MiniStack", other), ("LocalEmu", own.endpoint_url)):
                for name, gap in gaps(url):
                    print(f"{engine_name:10} {name:36} {f'no: {gap}' if gap else 'yes'}", flush=True)


if __name__ == "__main__":
    main()
