"""Queues, streams and their mappings: nothing is lost, nothing blocks for ever."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tests.support.cloudformation import Template, referred, under

from nilometer.flows.inbox.settle import RECEIVES

STREAM_RETENTION_SECONDS = 86400
AN_OUTAGE_SECONDS = 4 * 3600
FOUR_DAYS = 345600


def longest(value: Any, parameters: Mapping[str, Any]) -> int:
    """The larger branch of an `!If`; of a parameter the largest value."""
    if isinstance(value, Mapping) and "Ref" in value:
        return int(parameters[value["Ref"]]["MaxValue"])
    return max(longest(each, parameters) for each in value["Fn::If"][1:]) if isinstance(value, Mapping) else int(value)


def test_a_message_stays_hidden_while_lambda_retries_it(template: Template) -> None:
    """Six times the function's timeout plus the window: AWS's own rule, else batches run twice at once."""
    queues, functions = template.of("AWS::SQS::Queue"), template.functions

    too_short = {
        name: (queues[referred(mapping["EventSourceArn"])]["VisibilityTimeout"], needed)
        for name, mapping in template.queue_mappings.items()
        for timeout in [functions[referred(mapping["FunctionName"])]["Timeout"]]
        for needed in [6 * timeout + longest(mapping["MaximumBatchingWindowInSeconds"], template.body["Parameters"])]
        if queues[referred(mapping["EventSourceArn"])]["VisibilityTimeout"] < needed
    }

    assert template.queue_mappings
    assert not too_short


def test_every_queue_ends_in_a_dead_letter_queue(template: Template) -> None:
    """Five deliveries, because throttled polls count as deliveries too; the dead are kept 14 days."""
    queues = template.of("AWS::SQS::Queue")
    sources = template.source_queues

    assert set(queues) == set(sources) | template.dead_letter_queues
    assert not set(sources) & template.dead_letter_queues
    assert all(queue["RedrivePolicy"]["maxReceiveCount"] == RECEIVES for queue in sources.values())
    assert {queues[name]["MessageRetentionPeriod"] for name in template.dead_letter_queues} == {1209600}


def test_a_source_queue_has_a_dead_letter_queue_of_its_own(template: Template) -> None:
    """So that a redrive knows where its messages belong."""
    targets = [referred(queue["RedrivePolicy"]["deadLetterTargetArn"]) for queue in template.source_queues.values()]

    assert len(targets) == len(set(targets))


def test_every_source_queue_is_read(template: Template) -> None:
    """A queue without a mapping swallows."""
    read = {referred(mapping["EventSourceArn"]) for mapping in template.queue_mappings.values()}

    assert set(template.source_queues) == read


def test_queues_are_encrypted_and_outlive_a_long_weekend(template: Template) -> None:
    """The default of four days is the least that leaves time to act."""
    for queue in template.of("AWS::SQS::Queue").values():
        assert queue["SqsManagedSseEnabled"] is True
        assert queue["MessageRetentionPeriod"] >= FOUR_DAYS


def test_queue_mappings_bound_their_concurrency(template: Template) -> None:
    """Lambda takes two to a thousand; without a bound a backlog would take every concurrent execution."""
    bounds = [mapping["ScalingConfig"]["MaximumConcurrency"] for mapping in template.queue_mappings.values()]

    assert all(2 <= bound <= 1000 for bound in bounds)


def test_every_mapping_reports_single_failures(template: Template) -> None:
    """One bad record must not bring its neighbours back."""
    assert all(m["FunctionResponseTypes"] == ["ReportBatchItemFailures"] for m in template.mappings.values())


def test_batches_larger_than_ten_have_a_window(template: Template) -> None:
    """SQS refuses the mapping otherwise."""
    for mapping in template.queue_mappings.values():
        assert mapping["BatchSize"] <= 10 or mapping["MaximumBatchingWindowInSeconds"]


def test_a_failed_stream_batch_cannot_block_its_shard(template: Template) -> None:
    """Split batches, given up by age and never by count, and S3: the only destination that keeps the records."""
    assert len(template.stream_mappings) >= 2
    for mapping in template.stream_mappings.values():
        assert mapping["BisectBatchOnFunctionError"] is True
        assert mapping["MaximumRetryAttempts"] == -1
        assert AN_OUTAGE_SECONDS <= mapping["MaximumRecordAgeInSeconds"] < STREAM_RETENTION_SECONDS
        assert referred(mapping["DestinationConfig"]["OnFailure"]["Destination"]) in template.of("AWS::S3::Bucket")
        assert mapping["StartingPosition"] == "TRIM_HORIZON"


def test_mappings_are_asleep_on_one_machine(template: Template) -> None:
    """There the runner of `nilometer local` polls; the engine's own pollers would race it."""
    asleep = {"OnAws", "HasLakeQueues", "HasDatasets", "SendsWebhooks"}

    assert all(m["Enabled"]["Fn::If"][1:] == [True, False] for m in template.mappings.values())
    assert {m["Enabled"]["Fn::If"][0] for m in template.mappings.values()} == asleep
    for condition in asleep - {"OnAws"}:
        assert {"Condition": "OnAws"} in template.body["Conditions"][condition]["Fn::And"]


def test_what_the_relay_sends_to_one_queue_is_read_there(template: Template) -> None:
    """With one queue for all tables the two that are not read get nothing any more."""
    variables = template.of("AWS::Serverless::Function")["ChangesFunction"]["Environment"]["Variables"]
    for name in ("LakeStripeEvents", "LakeUsage"):
        variable = "_".join(re.findall("[A-Z][a-z]+", name)).upper() + "_QUEUE_URL"
        assert variables[variable] == {
            "Fn::If": ["HasOneLakeQueue", {"Ref": "LakeAuditQueue"}, {"Ref": f"{name}Queue"}]
        }
        assert template.mappings[f"{name}Mapping"]["Enabled"]["Fn::If"][0] == "HasLakeQueues"


def test_no_event_source_hides_in_a_function(template: Template) -> None:
    """SAM's `Events` would attach managed policies on every resource."""
    assert not [name for name, function in template.functions.items() if {"Events", "Policies"} & set(function)]


def test_every_rule_target_has_a_dead_letter_queue(template: Template) -> None:
    """EventBridge drops after 24 hours of retries what it could not deliver."""
    for rule in template.of("AWS::Events::Rule").values():
        for target in rule["Targets"]:
            assert referred(target["DeadLetterConfig"]["Arn"]) in template.dead_letter_queues


def test_every_schedule_retries_within_bounds_and_keeps_its_dead(template: Template) -> None:
    """A run that was missed shows in a queue."""
    for schedule in template.of("AWS::Scheduler::Schedule").values():
        assert 0 < schedule["Target"]["RetryPolicy"]["MaximumRetryAttempts"] <= 5
        assert referred(schedule["Target"]["DeadLetterConfig"]["Arn"]) in template.dead_letter_queues


def test_filters_of_mappings_are_json(template: Template) -> None:
    """Lambda takes the pattern as text and refuses the mapping late, at deployment."""
    import json

    patterns = [f["Pattern"] for filters in under("Filters", template.resources) for f in filters]

    assert all(isinstance(json.loads(pattern), dict) for pattern in patterns)
