"""Least privilege, read from the roles; `test_deployment.py` runs the functions under them."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.support.cloudformation import Template, listed, referred, senders, under

# Delta's own file removals: nobody else may delete what the lake has taken.
DELETERS = {"MaintenanceRole"}  # of the lake; RedriveRole deletes below aws/lambda/
# Where each flow keeps objects; a prefix that is missing here or in the role shows only on AWS, as a 403.
KEPT = {
    "Webhook": {"claims"},
    "Billing": {"claims", "rejects/billing"},
    "Usage": {"rejects/usage"},
    "Operations": {"rejects/operations"},
    "Hooks": {"rejects/notices"},
    "Changes": {"payloads", "rejects/changes", "aws/lambda"},
    "Limits": {"aws/lambda"},
    "Lake": {"lake", "rejects/lake"},
    "Datasets": {"lake/datasets", "rejects/datasets"},
    "Maintenance": {"lake"},
}
# (role, action): why this action has no narrower resource
WILDCARDS = {
    ("ChangesRole", "dynamodb:ListStreams"): "IAM knows no resource for it, and Lambda asks for it to make a mapping",
    ("LimitsRole", "dynamodb:ListStreams"): "the same",
}


def test_every_function_has_a_role_of_its_own(template: Template) -> None:
    """So that what one may do, no other may."""
    roles = [referred(function["Role"]) for function in template.functions.values()]

    assert len(roles) == len(set(roles))
    assert set(roles) <= set(template.of("AWS::IAM::Role"))


def test_no_managed_policies(template: Template) -> None:
    """AWS's own are wider than any function here needs, and change without us."""
    assert not list(under("ManagedPolicyArns", template.resources))


def test_no_wildcard_in_an_action(template: Template) -> None:
    """Every action is spelled out."""
    wide = [(role, a) for role, s in template.statements for a in listed(s["Action"]) if "*" in a]

    assert wide == []


def test_no_wildcard_as_a_resource(template: Template) -> None:
    """A star may end a name of ours, never stand alone, unless a reason is written above."""
    wide = {
        (role, action)
        for role, statement in template.statements
        if "*" in listed(statement["Resource"])
        for action in listed(statement["Action"])
    }

    assert wide == set(WILDCARDS)


def test_stars_only_end_a_path_of_ours(template: Template) -> None:
    """`bucket/lake/*` and `log-group:*`, not `arn:*`. But for alarms, which CodeDeploy asks for without a name, and
    SES's configuration sets, of which the owner of the domain names one."""
    texts = [
        text
        for _, statement in template.statements
        for resource in listed(statement["Resource"])
        if isinstance(resource, dict)
        for text in listed(resource.get("Fn::Sub", ""))
    ]

    unnamed = r"arn:\$\{AWS::Partition\}:(cloudwatch:[^*]*:alarm:|ses:[^*]*:configuration-set/)\*"
    ours = re.compile(rf"\$\{{\w+\.Arn\}}[:/][^*]*\*|{unnamed}")

    assert [text for text in texts if "*" in text and not ours.fullmatch(text)] == []


def test_only_maintenance_deletes_objects(template: Template) -> None:
    """The writers of the lake are append-only by permission too."""
    deleting = {
        role
        for role, statement in template.statements
        if any(action.startswith("s3:DeleteObject") for action in listed(statement["Action"]))
        and "aws/lambda/*" not in str(statement["Resource"])
    }

    assert deleting <= DELETERS


def test_a_role_writes_where_its_flow_keeps_objects(template: Template) -> None:
    """Below these prefixes of the bucket and nowhere else."""
    written: dict[str, set[str]] = {}
    for role, statement in template.statements:
        if "s3:PutObject" in listed(statement["Action"]):
            texts = [resource["Fn::Sub"] for resource in listed(statement["Resource"])]
            prefixes = {text.removeprefix("${LakeBucket.Arn}/").removesuffix("/*") for text in texts}
            written.setdefault(role.removesuffix("Role"), set()).update(prefixes)

    assert written == KEPT


def test_who_asks_for_what_may_be_missing_may_learn_that_it_is(template: Template) -> None:
    """A broken claim, a batch's object, a table's next version: without s3:ListBucket S3 answers 403 instead of 404.

    Under a condition on the prefix too, which such a request does not name. Policies for people and services too.
    """
    readers, listers = set(), set()
    for role, statement in [*template.statements, *template.statements_of_policies]:
        actions, resources = listed(statement["Action"]), str(statement["Resource"])
        if "s3:GetObject" in actions and any(f"/{prefix}/" in resources for prefix in ("claims", "landing", "lake")):
            readers.add(role)
        if "s3:ListBucket" in actions and "Condition" not in statement:
            listers.add(role)

    assert {"LakeRole", "AnalystPolicy"} <= readers
    assert readers <= listers


def test_publishers_speak_only_under_their_own_name(template: Template) -> None:
    """A function cannot forge another one's source on the bus."""
    for role, statement in template.statements:
        if "events:PutEvents" in listed(statement["Action"]):
            own = "nilometer." + role.removesuffix("Role").lower()
            assert statement["Condition"] == {
                "ForAllValues:StringEquals": {"events:source": own},
                "Null": {"events:source": "false"},
            }


def test_queues_take_messages_only_from_their_rule(template: Template) -> None:
    """No other account's rule may deliver (the confused deputy)."""
    rules = template.of("AWS::Events::Rule")
    for statement in template.queue_permissions:
        assert statement["Principal"] == {"Service": "events.amazonaws.com"}
        assert set(senders(statement)) <= set(rules)


def test_a_rule_may_send_to_its_queue_and_dead_letters(template: Template) -> None:
    """A missing queue policy loses events without any error."""
    allowed = {
        (sender, referred(resource))
        for s in template.queue_permissions
        for sender in senders(s)
        for resource in listed(s["Resource"])
    }
    needed = {
        (name, referred(arn))
        for name, rule in template.of("AWS::Events::Rule").items()
        for target in rule["Targets"]
        for arn in (target["Arn"], target["DeadLetterConfig"]["Arn"])
    }

    assert needed <= allowed


def test_a_role_may_read_every_source_of_its_function(template: Template) -> None:
    """Lambda polls with the function's role; a missing permission shows only after deployment."""
    granted = {
        (role, action, referred(resource))
        for role, statement in template.statements
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
        if "Ref" in resource or "Fn::GetAtt" in resource
    }
    functions = template.functions
    for name, actions in (
        ("queue_mappings", ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")),
        ("stream_mappings", ("dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator")),
    ):
        for mapping in getattr(template, name).values():
            role = referred(functions[referred(mapping["FunctionName"])]["Role"])
            source = referred(mapping["EventSourceArn"])
            assert {(role, action, source) for action in actions} <= granted


def test_buckets_are_private_encrypted_and_speak_tls(template: Template) -> None:
    """Public access blocked four times over, and plain HTTP denied."""
    policies = {referred(p["Bucket"]): p["PolicyDocument"] for p in template.of("AWS::S3::BucketPolicy").values()}
    for name, bucket in template.of("AWS::S3::Bucket").items():
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
        assert len(bucket["PublicAccessBlockConfiguration"]) == 4
        assert bucket["BucketEncryption"]
        [tls] = [s for s in policies[name]["Statement"] if s.get("Sid") == "TlsOnly"]
        assert tls["Effect"] == "Deny"
        assert tls["Condition"] == {"Bool": {"aws:SecureTransport": False}}


def test_no_secret_stands_in_the_template(project: Path) -> None:
    """Signing secrets and keys are put into Secrets Manager by hand."""
    text = (project / "template.yaml").read_text() + (project / "samconfig.toml").read_text()

    assert not re.search(r"whsec_\w{8}|[rs]k_(live|test)_\w{8}|AKIA[A-Z0-9]{16}", text)


def test_a_service_with_the_library_may_use_index_and_attachments(project: Path) -> None:
    """The policy in docs/data.md; test_reach.py compares its actions with the code."""
    text = (project / "docs/data.md").read_text()
    tables, objects = json.loads(re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[0])["Statement"]

    assert "RECORDS_TABLE_ARN/index/gsi1" in tables["Resource"]
    assert objects["Resource"] == ["LAKE_BUCKET_ARN/attachments/*"]


def test_the_lake_is_deleted_by_maintenance_and_who_is_named_alone(template: Template) -> None:
    """`aws s3 rm` of an administrator is denied, and an operator's `tables vacuum` too unless the stack names him."""
    [policy] = template.of("AWS::S3::BucketPolicy").values()
    [[condition, statement, _]] = [s["Fn::If"] for s in policy["PolicyDocument"]["Statement"] if "Fn::If" in s]

    assert condition == "KeepsVersions"
    assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
    assert set(statement["Action"]) == {"s3:DeleteObject", "s3:DeleteObjectVersion"}
    assert statement["Resource"] == {"Fn::Sub": "${LakeBucket.Arn}/lake/*"}
    spared = statement["Condition"]["ArnNotLike"]["aws:PrincipalArn"]
    assert spared == [
        {"Fn::GetAtt": ["MaintenanceRole", "Arn"]},
        {"Fn::If": ["HasOperator", {"Ref": "OperatorArn"}, {"Ref": "AWS::NoValue"}]},
    ]


def test_a_publisher_speaks_as_a_service(template: Template) -> None:
    """And reads the meters and datasets, which belong to no workspace; test_policies.py compares the actions."""
    policy = template.of("AWS::IAM::ManagedPolicy")["PublisherPolicy"]
    by_action = {str(s["Action"]): s for s in policy["PolicyDocument"]["Statement"]}

    for action, key, allowed in (
        ("events:PutEvents", "events:source", "services.*"),
        ("dynamodb:GetItem", "dynamodb:LeadingKeys", ["METER#*", "DATASET#*"]),
    ):
        condition = {"ForAllValues:StringLike": {key: allowed}, "Null": {key: "false"}}
        assert by_action[action]["Condition"] == condition
    assert "*" not in str(by_action["events:PutEvents"]["Resource"])
