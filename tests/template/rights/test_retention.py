"""What is kept, protected and shown."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

from tests.support.cloudformation import Template, referred

from nilometer.aws.landing import PREFIX
from nilometer.aws.secrets import REFRESH_SECONDS
from nilometer.domain.events.reject import KEPT
from nilometer.domain.stripe import event
from nilometer.domain.stripe.signature import TOLERANCE_SECONDS
from nilometer.flows.billing.webhook import BODY_BYTES
from nilometer.local.demo.stage import STAGES


def test_tables_can_be_restored_and_watched(template: Template) -> None:
    """Point-in-time recovery, a stream, TTL on one attribute, encryption."""
    tables = template.of("AWS::DynamoDB::Table")

    assert set(tables) == {"RecordsTable", "EventsTable"}
    for table in tables.values():
        assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
        assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
        assert table["SSESpecification"] == {"SSEEnabled": True}
        assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert tables["RecordsTable"]["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}
    assert tables["EventsTable"]["StreamSpecification"] == {"StreamViewType": "NEW_IMAGE"}


def test_production_tables_cannot_be_deleted_by_mistake(template: Template) -> None:
    """Neither with the stack nor by hand."""
    for name, table in template.of("AWS::DynamoDB::Table").items():
        assert table["DeletionProtectionEnabled"] == {"Fn::If": ["IsProduction", True, False]}
        assert template.resources[name]["DeletionPolicy"] == "RetainExceptOnCreate"
        assert template.resources[name]["UpdateReplacePolicy"] == "Retain"


def test_the_lake_outlives_the_stack(template: Template) -> None:
    """The bucket holds what can be had nowhere else."""
    for name in template.of("AWS::S3::Bucket"):
        assert template.resources[name]["DeletionPolicy"] == "RetainExceptOnCreate"
        assert template.resources[name]["UpdateReplacePolicy"] == "Retain"


def test_nothing_below_the_lake_expires(template: Template) -> None:
    """A lifecycle rule over lake/ would remove files that the tables still name."""
    for bucket in template.of("AWS::S3::Bucket").values():
        for rule in bucket["LifecycleConfiguration"]["Rules"]:
            if "ExpirationInDays" in rule:
                assert rule["Prefix"]
                assert not rule["Prefix"].startswith("lake")


def test_claims_outlive_facts_and_archive(template: Template) -> None:
    """A reference must not outlast what it refers to: facts 40 days, the archive as long as it says."""
    archives = template.of("AWS::Events::Archive").values()
    days = template.body["Parameters"]["ArchiveDays"]
    [bucket] = template.of("AWS::S3::Bucket").values()
    [claims] = [r for r in bucket["LifecycleConfiguration"]["Rules"] if r.get("Prefix") == "claims/"]

    assert all(archive["RetentionDays"] == {"Ref": "ArchiveDays"} for archive in archives)
    assert 40 <= days["Default"] <= days["MaxValue"] <= claims["ExpirationInDays"]


def test_a_landed_object_outlives_who_may_ask_for_it(template: Template) -> None:
    """Its event in the queue, then as a dead letter; and the reject that refers to it."""
    [bucket] = template.of("AWS::S3::Bucket").values()
    [landing] = [r for r in bucket["LifecycleConfiguration"]["Rules"] if r.get("Prefix") == PREFIX]
    queues = template.of("AWS::SQS::Queue")
    waits = sum(queues[name]["MessageRetentionPeriod"] for name in ("DatasetsQueue", "DatasetsDeadLetters"))

    assert landing["ExpirationInDays"] > KEPT.days
    assert landing["ExpirationInDays"] * 86_400 > waits


def test_every_bus_is_archived_whole(template: Template) -> None:
    """Without a pattern, everything; on one machine there is none, because the engine has none."""
    archives = template.of("AWS::Events::Archive")

    assert {referred(archive["SourceArn"]) for archive in archives.values()} == set(
        template.of("AWS::Events::EventBus")
    )
    assert not any("EventPattern" in archive for archive in archives.values())
    assert {template.resources[name]["Condition"] for name in archives} == {"HasArchive", "HasPartnerArchive"}


def test_the_door_is_throttled(template: Template) -> None:
    """Anybody may knock; only a signature opens."""
    for stage in template.of("AWS::ApiGatewayV2::Stage").values():
        assert stage["DefaultRouteSettings"]["ThrottlingRateLimit"]
        assert stage["DefaultRouteSettings"]["ThrottlingBurstLimit"]


def test_outputs_name_what_a_client_needs(template: Template) -> None:
    """The command line finds everything by these, on AWS and on one machine."""
    assert {
        "WebhookUrl",
        "BusName",
        "RecordsTable",
        "EventsTable",
        "LakeBucket",
        "LakeUri",
        "StripeSecretArn",
    } <= set(template.body["Outputs"])
    assert all(output["Description"] for output in template.body["Outputs"].values())


def test_the_stages_of_samconfig_are_the_templates(template: Template, project: Path) -> None:
    """Each deploys a stack of its own, and production asks first."""
    import tomllib

    config = tomllib.loads((project / "samconfig.toml").read_text())
    stages = [stage for stage in template.body["Parameters"]["Stage"]["AllowedValues"] if stage != "local"]

    for stage in stages:
        deploy = config[stage]["deploy"]["parameters"]
        assert deploy["stack_name"] == f"nilometer-{stage}"
        assert re.search(rf"\bStage={stage}\b", deploy["parameter_overrides"])
        assert deploy["confirm_changeset"] is (stage == "prod")


def test_a_small_production_is_the_stack_of_production(project: Path) -> None:
    """So it grows without a move; it asks before it changes anything, too. `nilometer cost` has the same stages."""
    import tomllib

    config = tomllib.loads((project / "samconfig.toml").read_text())
    small, large = (config[name]["deploy"]["parameters"] for name in ("small", "prod"))
    said = {name: config[name]["deploy"]["parameters"]["parameter_overrides"] for name in STAGES}

    assert {**small, "parameter_overrides": ""} == {**large, "parameter_overrides": ""}
    assert {name: dict(pair.split("=") for pair in text.split()) for name, text in said.items()} == STAGES


def test_the_security_page_says_how_long_personal_data_stays(template: Template, project: Path) -> None:
    """Whoever must erase reads the times there."""
    page = (project / "docs/security.md").read_text()
    said = {
        place.strip("`"): int(days) for place, days in re.findall(r"^\| (.+?) \| .+? \| (\d+) days", page, re.MULTILINE)
    }
    [bucket] = template.of("AWS::S3::Bucket").values()
    expiry = {r["Prefix"]: r["ExpirationInDays"] for r in bucket["LifecycleConfiguration"]["Rules"] if "Prefix" in r}
    queues = {queue["MessageRetentionPeriod"] for queue in template.of("AWS::SQS::Queue").values()}

    assert {f"bucket, `{prefix}": days for prefix, days in expiry.items()}.items() <= said.items()
    assert said["archives of the buses"] == template.body["Parameters"]["ArchiveDays"]["Default"]
    assert {said["queues and dead letters"] * 86400} == queues
    assert {group["RetentionInDays"] for group in template.of("AWS::Logs::LogGroup").values()} == {said["logs"]}
    assert timedelta(days=said["events table"]) == event.KEPT == KEPT


def test_the_security_page_says_what_guards_the_door(template: Template, project: Path) -> None:
    """The numbers of code and template."""
    page = (project / "docs/security.md").read_text()
    stage = template.of("AWS::ApiGatewayV2::Stage")["ApiStage"]
    rate = template.body["Parameters"]["WebhookRate"]["Default"]

    assert stage["DefaultRouteSettings"]["ThrottlingRateLimit"] == {"Ref": "WebhookRate"}
    assert f"{rate} requests a second and {stage['DefaultRouteSettings']['ThrottlingBurstLimit']} at once" in page
    assert f"{TOLERANCE_SECONDS} s of tolerance both ways" in page
    assert f"more than {BODY_BYTES // 1_000_000} MB is refused" in page
    assert f"at most one request to Secrets Manager every {REFRESH_SECONDS} s" in page


def test_what_was_deleted_from_the_bucket_can_be_had_back(template: Template) -> None:
    """For thirty days, where the data matter; a stage to play with pays for no versions."""
    [bucket] = template.of("AWS::S3::Bucket").values()
    rules = {rule["Id"]: rule for rule in bucket["LifecycleConfiguration"]["Rules"]}

    assert bucket["VersioningConfiguration"]["Fn::If"][:2] == ["KeepsVersions", {"Status": "Enabled"}]
    assert rules["versions"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    assert "Prefix" not in rules["versions"]


def test_old_versions_of_functions_go(template: Template) -> None:
    """Each release would leave 0.6 GB of ten functions behind."""
    assert template.body["Globals"]["Function"]["VersionDeletionPolicy"] == "Delete"


def test_spending_has_its_bounds_where_somebody_sets_them(template: Template) -> None:
    """A cap of writes on both tables, and a budget of the stack's own tag; neither by default."""
    parameters = template.body["Parameters"]
    caps = [table["OnDemandThroughput"]["Fn::If"] for table in template.of("AWS::DynamoDB::Table").values()]

    assert (parameters["WriteCap"]["Default"], parameters["MonthlyBudget"]["Default"]) == (0, 0)
    assert caps == [["HasWriteCap", {"MaxWriteRequestUnits": {"Ref": "WriteCap"}}, {"Ref": "AWS::NoValue"}]] * 2
    [budget] = template.of("AWS::Budgets::Budget").values()
    assert budget["Budget"]["CostFilters"] == {"TagKeyValue": [{"Fn::Sub": "user:stage$${AWS::StackName}"}]}


def test_every_stage_is_tagged_by_its_stack(project: Path) -> None:
    """The budget and the bill distinguish stages by it."""
    said = (project / "samconfig.toml").read_text()

    for stage in ("dev", "staging", "prod"):
        assert f'tags = "project=nilometer stage=nilometer-{stage}"' in said
