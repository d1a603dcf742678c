"""`nilometer doctor` finds what is wrong, says what to do, and shows no secret."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cfnlint.decode import cfn_yaml
from tests.support.cloudformation import Template
from tests.support.project import ROOT

from nilometer.cli.stack.doctor_lake import protected, verdict
from nilometer.cli.stack.doctor_stack import clock
from nilometer.cli.stack.finding import Verdict
from nilometer.lake.write.soundness import Soundness
from nilometer.local.plane.engine import Engine
from nilometer.local.stripe.month import random_month
from nilometer.local.stripe.server import serve

SECRET = "whsec_of_the_doctors_own_stack"
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def template() -> Template:
    """template.yaml."""
    return Template(cfn_yaml.load(str(ROOT / "template.yaml")))


@pytest.fixture(scope="module", autouse=True)
def kept(deployed: Any) -> None:
    """A signing secret, and what the engine's CloudFormation leaves out: TTL and recovery."""
    deployed.store("StripeSecretArn", SECRET)
    for output in ("RecordsTable", "EventsTable"):
        keep(deployed, output)


def keep(deployed: Any, output: str, *, ttl: bool = True) -> None:
    table, dynamodb = deployed.outputs[output], deployed.client("dynamodb")
    dynamodb.update_time_to_live(
        TableName=table, TimeToLiveSpecification={"Enabled": ttl, "AttributeName": "expires_at"}
    )
    dynamodb.update_continuous_backups(
        TableName=table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )


def examined(alone: Any, deployed: Any, *arguments: str) -> tuple[int, Mapping[str, Any], str]:
    """Exit code, the findings by check, and all that was printed."""
    answer = alone("doctor", "--stack", deployed.name, "--json", *arguments, env=deployed.environment)
    return answer.code, {line["check"]: line for line in answer.lines}, answer.out + answer.err


def test_a_running_local_stack_is_well(alone: Any) -> None:
    """Every check of it passes, for machines and for people; no secret is in what it prints."""
    running = alone.local()
    answer, shown = alone("doctor", "--json"), alone("doctor")
    running.stop()
    found = {line["check"]: line for line in answer.lines}

    assert (answer.code, shown.code) == (0, 0), answer.out
    assert {found[check]["verdict"] for check in ("identity", "clock", "records table", "events table")} == {"ok"}
    assert found["signing secrets"]["found"] == "1 stored"
    assert {"BillingQueue", "dead letters", "stream of RecordsTable", "lake audit"} <= found.keys()
    assert any(line.split()[:3] == ["records", "table", "ok"] for line in shown.out.splitlines())
    assert running.about["stripe_secret"] not in answer.out + answer.err + shown.out


DENY = {
    "Effect": "Deny",
    "Principal": "*",
    "Action": ["s3:DeleteObject", "s3:DeleteObjectVersion"],
    "Resource": "arn:aws:s3:::lake/lake/*",
}


@pytest.mark.parametrize(
    ("stage", "versions", "statements", "said"),
    [
        ("prod", "Enabled", [DENY], Verdict.OK),
        ("prod", "Suspended", [DENY], Verdict.FAIL),
        ("staging", "Enabled", [], Verdict.FAIL),
        ("prod", "Enabled", [{**DENY, "Resource": "arn:aws:s3:::lake/claims/*"}], Verdict.FAIL),
        ("dev", None, [], Verdict.OK),
    ],
)
def test_a_bucket_without_its_protection_is_found(
    stage: str, versions: str | None, statements: list[Any], said: Verdict
) -> None:
    """Versions and the denial of deletes, in the stages that have them."""
    assert protected(stage, versions, statements).verdict is said


def test_the_protection_of_the_template_is_what_the_doctor_looks_for(template: Any) -> None:
    """Its policy, as it is in template.yaml."""
    [policy] = template.of("AWS::S3::BucketPolicy").values()
    conditional = [one["Fn::If"] for one in policy["PolicyDocument"]["Statement"] if "Fn::If" in one]
    [[_, denied, _]] = [one for one in conditional if one[0] == "KeepsVersions"]

    assert protected("prod", "Enabled", [{**denied, "Resource": denied["Resource"]["Fn::Sub"]}]).verdict is Verdict.OK


def test_without_a_stack_the_machine_is_checked(alone: Any) -> None:
    """And the exit code says that the rest was not."""
    answer = alone("doctor", "--json")
    found = {line["check"]: line for line in answer.lines}

    assert answer.code == 1
    assert found["python"]["verdict"] == found["extra local"]["verdict"] == "ok"
    assert found["stack"]["found"].startswith("no local stack is running; start one with `nilometer local`")


def test_a_stack_on_aws_is_examined_with_its_own_promises(alone: Any, deployed: Any) -> None:
    """A missing key and mail warn; nothing fails."""
    code, found, said = examined(alone, deployed)

    assert code == 0, said
    assert found["records table"]["found"].endswith("stream NEW_AND_OLD_IMAGES, TTL, point-in-time recovery")
    assert found["alarms"]["verdict"] == found["Stripe API key"]["verdict"] == "warn"
    assert found["mappings"]["found"].endswith(" enabled")
    assert found["ages"]["verdict"] == "not checked"
    assert SECRET not in said


def test_connector_datasets_are_tables_too(alone: Any, deployed: Any) -> None:
    """As they were declared."""
    columns = ("--column", "contact_id:string")
    stack = ("--stack", deployed.name)
    declared = alone("datasets", "declare", "crm", "--mode", "append", *columns, *stack, env=deployed.environment)

    _, found, _ = examined(alone, deployed)

    assert declared.code == 0, declared.err
    assert found["lake datasets/crm"]["found"] == "not written yet"


def test_what_somebody_switched_off_fails(alone: Any, deployed: Any) -> None:
    """TTL by hand, and a message that nothing will ever take."""
    keep(deployed, "RecordsTable", ttl=False)
    deployed.client("sqs").send_message(QueueUrl=deployed.queue("BillingDeadLetters"), MessageBody="{}")

    code, found, _ = examined(alone, deployed)
    keep(deployed, "RecordsTable")
    deployed.client("sqs").purge_queue(QueueUrl=deployed.queue("BillingDeadLetters"))

    assert code == 1
    assert (found["records table"]["verdict"], found["records table"]["found"]) == ("fail", "no TTL on expires_at")
    assert (found["dead letters"]["verdict"], found["dead letters"]["found"]) == ("fail", "1 in BillingDeadLetters")


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ("unset", ("fail", "the signing secret contains no whsec_... value; see nilometer stripe endpoint create")),
        (json.dumps(["whsec_a1", "whsec_b2"]), ("ok", "2 stored")),
        ("whsec_a1 whsec_b2 whsec_c3", ("warn", "3 secrets")),
    ],
)
def test_signing_secrets_are_counted(alone: Any, deployed: Any, stored: str, expected: tuple[str, str]) -> None:
    """And never shown."""
    deployed.store("StripeSecretArn", stored)

    _, found, said = examined(alone, deployed)
    deployed.store("StripeSecretArn", SECRET)

    assert (found["signing secrets"]["verdict"], found["signing secrets"]["found"]) == expected
    assert "whsec_a1" not in said


def test_the_api_key_is_tried(alone: Any, deployed: Any) -> None:
    """One request; a key that Stripe refuses fails, and neither is shown."""
    deployed.store("StripeApiKeyArn", "rk_test_doctor")
    with serve(random_month(1, customers=1)) as (url, fake):
        _, taken, said = examined(alone, deployed, "--api-base", url)
        fake.forbidden.add("customers")
        code, refused, _ = examined(alone, deployed, "--api-base", url)
    deployed.store("StripeApiKeyArn", "unset")

    assert (taken["Stripe API key"]["verdict"], taken["Stripe API key"]["found"]) == ("ok", "Stripe answers, test mode")
    assert (code, refused["Stripe API key"]["verdict"]) == (1, "fail")
    assert "rk_test_doctor" not in said


def test_an_unknown_stack_is_a_finding(alone: Any, aws: Engine) -> None:
    """No traceback, and the machine was looked at."""
    answer = alone("doctor", "--stack", "nowhere", "--json", env=aws.environment)

    assert answer.code == 1
    assert answer.lines[-1]["found"].startswith("there is no stack nowhere in ")


@pytest.mark.parametrize(("seconds", "expected"), [(2, "ok"), (-90, "warn"), (240, "fail")])
def test_a_wrong_clock_is_told_before_signatures_are_refused(seconds: int, expected: str) -> None:
    assert clock(NOW, NOW + timedelta(seconds=seconds)).verdict == expected


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (Soundness(name="usage", version=None), Verdict.OK),
        (Soundness(name="usage", version=7), Verdict.OK),
        (Soundness(name="usage", version=7, reader_version=3, features=("deletionVectors",)), Verdict.FAIL),
        (Soundness(name="usage", version=7, retyped=("quantity",)), Verdict.FAIL),
        (Soundness(name="usage", version=7, strange=("new",)), Verdict.WARN),
        (Soundness(name="usage", version=7, missing=("new",)), Verdict.WARN),
        (Soundness(name="usage", version=7, append_only=False), Verdict.WARN),
    ],
)
def test_a_table_of_the_lake_is_judged(seen: Soundness, expected: Verdict) -> None:
    """What is not well says what to do."""
    found = verdict(seen)

    assert found.verdict is expected
    assert bool(found.advice) is (expected is not Verdict.OK)
