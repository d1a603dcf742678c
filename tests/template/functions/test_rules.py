"""Which events reach which queue, judged by the engine's own pattern matching."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import boto3
import pytest
import yaml
from tests.support.cloudformation import Template, under
from tests.support.project import ROOT

from nilometer.domain.notices.webhook import WEBHOOK_TYPES
from nilometer.flows.billing.webhook import SOURCE
from nilometer.flows.lake.kinds import TOLD
from nilometer.local.plane.engine import Engine

# The folder below events/ whose samples a rule is for, where it is not the rule's own word.
FOLDERS = {
    "Billing": "stripe",
    "StripePartner": "partner",
    "LakeAudit": "changes",
    "Notices": "changes",
    "Mail": "changes",
}
# A change that another flow waits for too; and the partner's rule is on a bus of its own, so the two never meet.
ALSO = {"changes": {"Usage"}, "partner": {"Billing"}}


@pytest.fixture(scope="session")
def events(aws: Engine) -> Any:
    return boto3.client("events", endpoint_url=aws.endpoint_url)


@pytest.fixture(scope="session")
def matched(events: Any, template: Template, samples: Mapping[str, Any]) -> dict[str, set[str]]:
    """The rules that take each sample."""
    patterns = {
        name.removesuffix("Rule"): json.dumps(rule["EventPattern"])
        for name, rule in template.of("AWS::Events::Rule").items()
    }
    return {
        path: {
            name
            for name, pattern in patterns.items()
            if events.test_event_pattern(EventPattern=pattern, Event=json.dumps(envelope(path, sample)))["Result"]
        }
        for path, sample in samples.items()
        if folder_of(path) in {folder(name) for name in patterns}
    }


def folder(rule: str) -> str:
    return FOLDERS.get(rule, rule.lower())


def folder_of(path: str) -> str:
    return path.partition("/")[0]


def envelope(path: str, sample: Mapping[str, Any]) -> Mapping[str, Any]:
    """Samples are as the bus delivers them; a bare Stripe event travels in the webhook's envelope."""
    if "detail-type" in sample:
        return sample
    return {
        "version": "0",
        "id": path,
        "detail-type": sample["type"],
        "source": SOURCE,
        "account": "123456789012",
        "time": "2026-11-23T04:14:05Z",
        "region": "us-east-1",
        "resources": [],
        "detail": sample,
    }


def test_every_rule_has_a_sample_that_it_takes(matched: dict[str, set[str]], template: Template) -> None:
    """A pattern with a typing error takes nothing and says nothing."""
    taken = {rule for path, rules in matched.items() for rule in rules if folder(rule) == folder_of(path)}

    assert taken == {name.removesuffix("Rule") for name in template.of("AWS::Events::Rule")} - {"Hooks"}


def test_every_sample_reaches_its_own_queue_and_no_other(matched: dict[str, set[str]]) -> None:
    """An event in two queues would be handled twice by flows that do not know each other."""
    astray = {}
    for path, rules in matched.items():
        own = {rule for rule in rules if folder(rule) == folder_of(path)}
        if not own or rules - own - ALSO.get(folder_of(path), set()):
            astray[path] = rules

    assert matched
    assert astray == {}


def test_every_rule_says_whose_events_it_takes(template: Template) -> None:
    """Without `source` a rule takes what anybody made of a type, the webhook's senders too."""
    for name, rule in template.of("AWS::Events::Rule").items():
        patterns = rule["EventPattern"].get("$or", [rule["EventPattern"]])
        assert all("source" in pattern for pattern in patterns), name


def test_what_the_stack_announces_reaches_no_queue_of_its_own(
    events: Any, template: Template, samples: Mapping[str, Any]
) -> None:
    """It is for others. A type may begin as one that services publish, and would be taken for theirs. Webhooks carry
    on exactly what a workspace may know."""
    rules = {name: json.dumps(rule["EventPattern"]) for name, rule in template.of("AWS::Events::Rule").items()}
    announced = [sample for path, sample in samples.items() if folder_of(path) == "announced"]

    taken = {
        (name, sample["detail-type"])
        for sample in announced
        for name, pattern in rules.items()
        if events.test_event_pattern(EventPattern=pattern, Event=json.dumps(sample))["Result"]
    }
    assert announced
    assert taken == {("HooksRule", name) for name in WEBHOOK_TYPES}


def test_the_rule_of_the_guide_takes_what_it_names(events: Any, samples: Mapping[str, Any]) -> None:
    """The types in its pattern, and no others of the samples."""
    rule = (ROOT / "docs" / "subscribe.md").read_text().split("```yaml\n")[1].partition("```")[0]
    pattern = yaml.safe_load(rule.replace("!GetAtt ", ""))["PlanChanged"]["Properties"]["EventPattern"]
    announced = [sample for path, sample in samples.items() if folder_of(path) in {"announced", "changes"}]

    taken = [
        sample["detail-type"]
        for sample in announced
        if events.test_event_pattern(EventPattern=json.dumps(pattern), Event=json.dumps(sample))["Result"]
    ]
    assert sorted(taken) == sorted(pattern["detail-type"])


OURS = ("usage.recorded.v1", "usage.batch.v1", "usage.voided.v1", "usage.snapshot.v1", "dataset.batch_ready.v1")


def test_the_bus_hears_of_every_change_that_a_rule_waits_for(template: Template) -> None:
    """With `ChangesOnBus=needed` the relay tells of these kinds alone."""
    waited = {
        kind
        for rule in template.of("AWS::Events::Rule").values()
        for kinds in under("kind", rule["EventPattern"])
        for kind in kinds
    }

    assert waited == TOLD


@pytest.mark.parametrize("detail_type", OURS)
def test_what_the_api_sends_reaches_its_flow_alone(events: Any, template: Template, detail_type: str) -> None:
    """Usage is counted, rows go to their dataset; nothing else hears of them."""
    sent = {**envelope("sent", {"type": detail_type}), "source": "nilometer.api"}
    taking = {
        name
        for name, rule in template.of("AWS::Events::Rule").items()
        if events.test_event_pattern(EventPattern=json.dumps(rule["EventPattern"]), Event=json.dumps(sent))["Result"]
    }

    assert taking == {"DatasetsRule" if detail_type.startswith("dataset.") else "UsageRule"}


FORGED = (*OURS, "workspace.created.v1", "record.changed.v1", "limit.set.v1", "billing.linked.v1")


@pytest.mark.parametrize("detail_type", FORGED)
def test_what_a_webhook_brings_reaches_billing_alone(events: Any, template: Template, detail_type: str) -> None:
    """Whoever has Stripe's signing secret chooses the type, and must not count usage or open a workspace with it."""
    forged = {**envelope("forged", {"type": detail_type}), "detail": {"data": {"kind": "billing", "action": "INSERT"}}}
    taking = {
        name
        for name, rule in template.of("AWS::Events::Rule").items()
        if events.test_event_pattern(EventPattern=json.dumps(rule["EventPattern"]), Event=json.dumps(forged))["Result"]
    }

    assert taking == {"BillingRule"}


def test_samples_are_whole_envelopes(samples: Mapping[str, Any]) -> None:
    """They can be sent to the bus, or replayed, as they are."""
    for path, sample in samples.items():
        if "detail-type" in sample:
            assert {"version", "id", "source", "account", "time", "region", "resources", "detail"} <= set(sample), path
