"""Whom an alarm notifies, about what, and where to read on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.support.cloudformation import Properties, Template, referred

from nilometer.domain.events.outcome import Outcome
from nilometer.lambdas import ATTENTION, METRICS


@pytest.fixture(scope="session")
def alarms(template: Template) -> dict[str, Properties]:
    return template.of("AWS::CloudWatch::Alarm")


def metrics(alarm: Properties) -> Iterator[Mapping[str, Any]]:
    """What an alarm looks at: its own metric, or those of its expression."""
    yield from (
        [alarm] if "MetricName" in alarm else [m["MetricStat"]["Metric"] for m in alarm["Metrics"] if "MetricStat" in m]
    )


def dimensions(metric: Mapping[str, Any]) -> dict[str, Any]:
    return {dimension["Name"]: dimension["Value"] for dimension in metric.get("Dimensions", ())}


def watched(alarms: Mapping[str, Properties], metric: str) -> set[str]:
    """The logical ids, or literal values, that alarms on this metric alone look at."""
    values = [v for a in alarms.values() if a.get("MetricName") == metric for v in dimensions(a).values()]
    return {value if isinstance(value, str) else referred(value) for value in values}


def test_every_dead_letter_queue_has_an_alarm(template: Template, alarms: dict[str, Properties]) -> None:
    """At the first message: each is an event that somebody waits for."""
    assert watched(alarms, "ApproximateNumberOfMessagesVisible") == template.dead_letter_queues
    thresholds = [
        a["Threshold"] for a in alarms.values() if a.get("MetricName") == "ApproximateNumberOfMessagesVisible"
    ]
    assert set(thresholds) == {0}


def test_every_source_queue_has_an_alarm_on_its_age(template: Template, alarms: dict[str, Properties]) -> None:
    """A queue that nobody empties looks healthy by every other number."""
    assert watched(alarms, "ApproximateAgeOfOldestMessage") == set(template.source_queues)


@pytest.mark.parametrize("metric", ["Errors", "Throttles", "Duration"])
def test_every_function_has_its_alarms(template: Template, alarms: dict[str, Properties], metric: str) -> None:
    """Ends with an error, is not started, comes near its timeout."""
    assert watched(alarms, metric) == set(template.functions)


def test_the_duration_alarm_knows_the_timeout(template: Template, alarms: dict[str, Properties]) -> None:
    """At 80 % of it; a timeout that was raised raises the alarm too."""
    for alarm in alarms.values():
        if alarm.get("MetricName") == "Duration":
            [function] = [referred(dimension["Value"]) for dimension in alarm["Dimensions"]]
            assert alarm["Threshold"] == 0.8 * 1000 * template.functions[function]["Timeout"]
            assert alarm["ExtendedStatistic"] == "p99"


def test_every_stream_is_watched(template: Template, alarms: dict[str, Properties]) -> None:
    """How far behind, and whether records were given up."""
    readers = {referred(mapping["FunctionName"]) for mapping in template.stream_mappings.values()}

    assert watched(alarms, "IteratorAge") == readers
    assert watched(alarms, "OnFailureDestinationDeliveredEventCount") == set(template.stream_mappings)
    assert all(m["MetricsConfig"] == {"Metrics": ["EventCount"]} for m in template.stream_mappings.values())


def test_an_alarm_on_our_own_numbers_uses_names_that_are_counted(alarms: dict[str, Properties], project: Path) -> None:
    """A metric that nobody writes never alarms."""
    source = "".join(path.read_text() for path in (project / "src/nilometer").rglob("*.py"))
    ours = [m for alarm in alarms.values() for m in metrics(alarm) if m["Namespace"] == {"Ref": "AWS::StackName"}]

    assert ours
    for metric in ours:
        name, flow = metric["MetricName"], dimensions(metric).get("flow", "__init__")
        assert name in set(Outcome) or f'"{name}"' in source
        assert list((project / "src/nilometer/lambdas").rglob(f"{flow}.py"))


def test_what_nobody_reads_is_no_metric(template: Template, alarms: dict[str, Properties]) -> None:
    """CloudWatch bills each; and what an alarm or the dashboard reads is one."""
    [dashboard] = template.of("AWS::CloudWatch::Dashboard").values()
    widgets = json.loads(dashboard["DashboardBody"]["Fn::Sub"])["widgets"]
    shown = {m[1] for one in widgets for m in one["properties"]["metrics"] if m[0] == "${AWS::StackName}"}
    read = {m["MetricName"] for a in alarms.values() for m in metrics(a) if m["Namespace"] == {"Ref": "AWS::StackName"}}

    assert shown | read == METRICS | {"Attention"}


def test_every_flow_that_rejects_has_an_alarm(alarms: dict[str, Properties], project: Path) -> None:
    """Without an alarm nobody would look at a reject."""
    lambdas = {path.stem: path.read_text() for path in (project / "src/nilometer/lambdas").glob("*.py")}
    keeping = re.compile(r"Outcome\.REJECTED|from nilometer\.flows\.inbox\.(settle|records) import")
    called = re.compile(r"from nilometer\.flows\.(\w+) import (\w+)|from nilometer\.flows\.(\w+)\.(\w+) import")
    rejecting = {
        flow
        for flow, source in lambdas.items()
        for subject, module in (tuple(filter(None, found)) for found in called.findall(source))
        if keeping.search((project / f"src/nilometer/flows/{subject}/{module}.py").read_text())
    }

    assert rejecting
    assert watched(alarms, "rejected") == rejecting


def test_silence_is_that_of_every_way_from_stripe(template: Template, alarms: dict[str, Properties]) -> None:
    """Webhook or partner bus: whichever is used ends in the queue that is watched."""
    watched_queue = referred(dimensions(alarms["StripeSilenceAlarm"])["QueueName"])
    from_stripe = [
        rule
        for rule in template.of("AWS::Events::Rule").values()
        if {"prefix": "aws.partner/stripe.com/"} in rule["EventPattern"].get("source", ())
    ]

    assert len(from_stripe) == 2
    assert {referred(target["Arn"]) for rule in from_stripe for target in rule["Targets"]} == {watched_queue}


def test_silence_alarms_where_somebody_said_after_how_long(template: Template, alarms: dict[str, Properties]) -> None:
    """Missing data counts as silence too; a new stack, a test stage and a small customer send nothing for nights."""
    silence = alarms["StripeSilenceAlarm"]

    assert silence["TreatMissingData"] == "breaching"
    assert silence["ComparisonOperator"] == "LessThanThreshold"
    assert silence["EvaluationPeriods"] == silence["DatapointsToAlarm"] == {"Ref": "SilenceHours"}
    assert template.resources["StripeSilenceAlarm"]["Condition"] == "HasSilence"
    assert template.body["Parameters"]["SilenceHours"]["Default"] == 0


def test_a_new_stack_without_secrets_rings_for_nobody(alarms: dict[str, Properties]) -> None:
    """What is missing is no alarm, but for silence, which is asked for; and each threshold is above what nothing is."""
    missing = {name for name, alarm in alarms.items() if alarm["TreatMissingData"] != "notBreaching"}

    assert missing == {"StripeSilenceAlarm"}
    for name, alarm in alarms.items():
        assert name in missing or (alarm["ComparisonOperator"], alarm["Threshold"] >= 0) == (
            "GreaterThanThreshold",
            True,
        )


QUEUES = {"HasLakeQueuesAlarms", "HasDatasetsAlarms", "SendsWebhooksAlarms"}
LEAN = {"HasAlarms", "HasRatios", "IsLean", *QUEUES}
DETAILED = {"HasDetail", "HasConsoleDetail", "HasWebhooksDetail", "HasDetailedRatios"}
DETAIL = re.compile(
    r"(Throttles|Duration|DeadLetters|StreamFailures|Rejects|Drift|NotCompared|MeterEvents|MeterErrors)Alarm$"
    r"|^(Webhook|Api|Console|Billing|Operations|Hooks|Changes|Lake|Datasets)ErrorsAlarm$"
)


def test_lean_leaves_out_what_another_alarm_says_too(template: Template, alarms: dict[str, Properties]) -> None:
    """Of every function something still tells that it fails: its queue, its stream, the API, or its errors."""
    detail = {name for name in alarms if template.resources[name]["Condition"] in DETAILED}
    lean = {name: a for name, a in alarms.items() if template.resources[name]["Condition"] in LEAN}

    found = {n for n in alarms if DETAIL.search(n)} - {"DeadLettersAlarm"}
    assert detail == found | {"WebhookFailedAlarm", "ApiRefusalsAlarm"}
    assert watched(lean, "Errors") == {
        f"{one}Function" for one in ("Usage", "Limits", "Maintenance", "Reconcile", "Redrive")
    }
    assert watched(lean, "ApproximateAgeOfOldestMessage") == set(template.source_queues)
    assert watched(lean, "IteratorAge") == {"ChangesFunction", "LimitsFunction"}
    assert "ApiFailuresAlarm" in lean


def test_one_alarm_of_lean_stands_for_what_waits_for_a_person(alarms: dict[str, Properties]) -> None:
    """Dead letters and given-up batches in one metric; rejects, drift and meters in another: none rings for less."""
    together = {n for n in alarms if re.search(r"(Rejects|Drift|NotCompared|MeterEvents|MeterErrors)Alarm$", n)}

    assert {alarms[name]["MetricName"] for name in together} == ATTENTION
    assert all(alarms[name]["Threshold"] == alarms["AttentionAlarm"]["Threshold"] == 0 for name in together)
    assert alarms["DeadLettersAlarm"]["MetricName"] == "DeadLettersFound"


def test_the_dashboard_stays_within_the_free_metrics(template: Template) -> None:
    """Fifty are free; one more costs three dollars a month for each stage."""
    [dashboard] = template.of("AWS::CloudWatch::Dashboard").values()
    widgets = json.loads(dashboard["DashboardBody"]["Fn::Sub"])["widgets"]

    assert sum(len(widget["properties"]["metrics"]) for widget in widgets) <= 50


def test_every_alarm_tells_somebody(template: Template, alarms: dict[str, Properties]) -> None:
    """And says when it is over. No alarm is made on one machine."""
    for name, alarm in alarms.items():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": "AlarmTopic"}]
        assert template.resources[name]["Condition"] in {*LEAN, *DETAILED, "HasSilence", "HasCanary"}


def test_every_alarm_has_a_paragraph_in_the_runbook(alarms: dict[str, Properties], project: Path) -> None:
    """Meaning, check, act; no paragraph without its alarm."""
    headings = re.findall(r"^## (.+)$", (project / "docs/runbook.md").read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
    named = {re.search(r"\(docs/runbook\.md#([\w-]+)\)$", a["AlarmDescription"]) for a in alarms.values()}

    assert {match[1] for match in named if match} == anchors
    assert None not in named


def test_a_paragraph_says_what_it_means_and_what_to_do(project: Path) -> None:
    """The reader was asleep a minute ago."""
    sections = (project / "docs/runbook.md").read_text().split("\n## ")[1:]

    for section in sections:
        for part in ("**Meaning.**", "**Check.**", "**Act.**"):
            assert part in section, section.splitlines()[0]


def test_the_dashboard_is_json_over_what_exists(template: Template) -> None:
    """CloudWatch refuses it at deployment otherwise."""
    [dashboard] = template.of("AWS::CloudWatch::Dashboard").values()
    body = dashboard["DashboardBody"]["Fn::Sub"]
    named: list[str] = re.findall(r"\$\{(\w+)(?:\.\w+)?\}", body)

    assert json.loads(body)["widgets"]
    assert set(named) <= set(template.resources)
    # Console and webhooks are not in every stack, and the dashboard is one text.
    assert set(template.functions) - set(named) == {"ConsoleFunction", "HooksFunction"}
    assert set(template.of("AWS::SQS::Queue")) - set(named) == {"HooksQueue", "HooksDeadLetters"}


def test_metrics_have_the_dimensions_that_aws_gives_them(alarms: dict[str, Properties]) -> None:
    """A wrong dimension is a metric that does not exist, and an alarm that stays silent."""
    expected = {
        "AWS/SQS": [{"QueueName"}],
        "AWS/ApiGateway": [{"ApiId"}],
        "AWS/Lambda": [{"FunctionName"}, {"EventSourceMappingUUID"}, {"FunctionName", "Resource", "ExecutedVersion"}],
        "ours": [{"flow"}, {"flow", "version"}, set()],
    }

    for alarm in alarms.values():
        for metric in metrics(alarm):
            namespace = metric["Namespace"] if isinstance(metric["Namespace"], str) else "ours"
            assert set(dimensions(metric)) in expected[namespace]
