"""A deployed stack: identity and clock, tables, secrets, queues, streams, mappings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

from nilometer.aws.secrets import SigningSecrets, api_key
from nilometer.cli.stack.finding import Finding, fail, ok, skip, warn
from nilometer.cli.stack.status import reader
from nilometer.cli.terminal.connection import Connection
from nilometer.errors import Misconfigured, NilometerError
from nilometer.local.plane.deployed import logical

SKEW_SECONDS = 30
REFUSED_SKEW_SECONDS = 240  # signatures are refused at 300, by AWS and of Stripe
DEEP_QUEUE = 10_000
SECRETS = 2  # the current one and, while it is rotated, the one before
LAG = 1_000  # records

Look = Callable[[], Iterator[Finding]]


def checks(connection: Connection, api_base: str | None) -> Iterator[tuple[str, Look]]:
    """The checks by name, in the order in which one needs the other."""
    about = connection.description
    yield "identity", lambda: identity(connection)
    yield "deployment", lambda: deployment(connection)
    yield "records table", lambda: table(connection, "records", about.records_table, "NEW_AND_OLD_IMAGES")
    yield "events table", lambda: table(connection, "events", about.events_table, "NEW_IMAGE")
    yield "signing secrets", lambda: signing_secrets(connection)
    yield "Stripe API key", lambda: stripe_api_key(connection, api_base)
    yield "queues", lambda: flow(connection)
    yield "mappings", lambda: mappings(connection)


def identity(connection: Connection) -> Iterator[Finding]:
    """Who asks, and the clock that the answer was dated by."""
    answer = connection.client("sts").get_caller_identity()
    yield ok("identity", answer["Arn"])
    date = answer["ResponseMetadata"]["HTTPHeaders"]["date"]
    yield clock(parsedate_to_datetime(date), datetime.now(UTC))


def clock(theirs: datetime, ours: datetime) -> Finding:
    """This machine's clock compared with AWS's, which refuses signatures of another time."""
    skew = round(abs((ours - theirs).total_seconds()))
    judge = fail if skew >= REFUSED_SKEW_SECONDS else warn
    if skew <= SKEW_SECONDS:
        return ok("clock", f"{skew} s from AWS's")
    return judge("clock", f"{skew} s from AWS's", "Synchronise it: signatures are refused at 300 s.")


def deployment(connection: Connection) -> Iterator[Finding]:
    """The state of the CloudFormation stack."""
    answer = connection.client("cloudformation").describe_stacks(StackName=connection.description.stack_name)
    [stack] = answer["Stacks"]
    if "ROLLBACK" in stack["StackStatus"] or "FAILED" in stack["StackStatus"]:
        yield warn("deployment", stack["StackStatus"], "Read the stack's events and deploy again.")
    else:
        yield ok("deployment", stack["StackStatus"])
    parameters = _parameters(stack)
    if not connection.is_local and not parameters.get("AlarmEmail"):
        yield warn("alarms", "nobody is notified", "Deploy with AlarmEmail, or subscribe to the alarm topic.")


def table(connection: Connection, name: str, physical: str, view: str) -> Iterator[Finding]:
    """What the template sets, and somebody may have changed by hand."""
    dynamodb, check = connection.client("dynamodb"), f"{name} table"
    wrong = list(_lacking(dynamodb.describe_table(TableName=physical)["Table"], view))
    if not connection.is_local:
        wrong += _unkept(dynamodb, physical)
    if wrong:
        yield fail(check, ", ".join(wrong), "Deploy the template again; it sets all of it.")
    elif connection.is_local:
        yield ok(check, f"active, on demand, stream {view}; TTL and point-in-time recovery are AWS's")
    else:
        yield ok(check, f"active, on demand, stream {view}, TTL, point-in-time recovery")


def _lacking(described: Mapping[str, Any], view: str) -> Iterator[str]:
    if described["TableStatus"] not in {"ACTIVE", "UPDATING"}:
        yield f"is {described['TableStatus']}"
    if described.get("BillingModeSummary", {}).get("BillingMode") != "PAY_PER_REQUEST":
        yield "not on demand"
    if described.get("StreamSpecification", {}).get("StreamViewType") != view:
        yield f"no stream of {view}"
    for index in described.get("GlobalSecondaryIndexes", ()):
        status = index.get("IndexStatus", "ACTIVE")  # the local engine does not say
        if status != "ACTIVE":
            yield f"index {index['IndexName']} is {status}"


def _unkept(dynamodb: Any, physical: str) -> Iterator[str]:
    ttl = dynamodb.describe_time_to_live(TableName=physical)["TimeToLiveDescription"]
    if (ttl["TimeToLiveStatus"], ttl.get("AttributeName")) != ("ENABLED", "expires_at"):
        yield "no TTL on expires_at"
    backups = dynamodb.describe_continuous_backups(TableName=physical)["ContinuousBackupsDescription"]
    if backups.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus") != "ENABLED":
        yield "no point-in-time recovery"


def signing_secrets(connection: Connection) -> Iterator[Finding]:
    """Whether Stripe's signing secrets are there and readable; never what they are."""
    check, arn = "signing secrets", connection.description.stripe_secret_arn
    try:
        count = len(SigningSecrets(connection.client("secretsmanager"), arn=arn).current())
    except Misconfigured as error:
        yield fail(check, str(error), "Until then every webhook answers 500 and Stripe tries again for three days.")
        return
    if count > SECRETS:
        yield warn(check, f"{count} secrets", "Store those alone whose endpoints exist: a leaked old one still signs.")
    else:
        yield ok(check, f"{count} stored")


def stripe_api_key(connection: Connection, api_base: str | None) -> Iterator[Finding]:
    """Asks Stripe for one customer, when the stack has a key."""
    from nilometer.stripe_api.client import StripeApi, is_live

    check = "Stripe API key"
    key = api_key(connection.client("secretsmanager"), arn=connection.description.stripe_api_key_arn)
    if key is None:
        judge = partial(skip, check) if connection.is_local else partial(warn, check, advice=_STORE_A_KEY)
        yield judge(found="none stored: nothing is refetched or reconciled")
        return
    try:
        next(StripeApi(key, base_url=api_base).pages("customer", limit=1))
    except NilometerError as error:
        yield fail(check, str(error), _STORE_A_KEY)
    else:
        yield ok(check, f"Stripe answers, {'live' if is_live(key) else 'test'} mode")


_STORE_A_KEY = "Store a restricted key that may read, with put-secret-value."


def flow(connection: Connection) -> Iterator[Finding]:
    """What waits in queues, dead letters and streams."""
    status = reader(connection)()
    yield from map(_queue, status["queues"].items())
    dead = {name: count for name, count in status["dead_letters"].items() if count}
    if dead:
        said = ", ".join(f"{count} in {_logical(name)}" for name, count in dead.items())
        yield fail("dead letters", said, "Read them with nilometer dlq list; nothing of them is applied yet.")
    else:
        yield ok("dead letters", "none")
    if not connection.is_local:
        yield skip("ages", "of queues and streams are in CloudWatch; the alarms look at them")
        return
    yield from map(_stream, status["streams"].items())
    yield from (_discarded(name, count) for name, count in status["discarded"].items() if count)
    yield from (_function(name, seen) for name, seen in status["functions"].items() if seen["errors"])


def _queue(found: tuple[str, Mapping[str, int]]) -> Finding:
    name, counts = found
    check, depth = _logical(name), counts["visible"]
    if depth > DEEP_QUEUE:
        return warn(check, f"{depth:,} messages wait", "If it does not fall, read docs/runbook.md#queue-age.")
    return ok(check, f"{depth:,} wait, {counts['in_flight']:,} in flight")


def _stream(found: tuple[str, int]) -> Finding:
    name, lag = found
    check = f"stream of {_logical(name)}"
    if lag >= LAG:
        return warn(check, f"{lag:,} records behind or more", "If it does not fall, read docs/runbook.md#iterator-age.")
    return ok(check, f"{lag:,} records behind")


def _discarded(name: str, count: int) -> Finding:
    advice = "They are in the lake's bucket below aws/lambda/; docs/runbook.md#stream-failures."
    return fail(f"stream of {_logical(name)}", f"{count:,} records were given up", advice)


def _function(name: str, seen: Mapping[str, Any]) -> Finding:
    return warn(_logical(name), f"{seen['errors']} invocations failed", "Its log, in the data folder, says why.")


def mappings(connection: Connection) -> Iterator[Finding]:
    """On one machine the runner polls in their place."""
    if connection.is_local:
        return
    lambda_, ids = connection.client("lambda"), connection.resources("AWS::Lambda::EventSourceMapping")
    states = {name: lambda_.get_event_source_mapping(UUID=id_)["State"] for name, id_ in ids.items()}
    idle = {name for name, state in states.items() if state not in {"Enabled", "Enabling", "Updating"}}
    if not idle:
        yield ok("mappings", f"{len(states)} enabled")
    elif idle <= _meant(connection):
        yield ok("mappings", f"{len(states) - len(idle)} enabled, {len(idle)} off by a parameter of the stack")
    else:
        yield fail("mappings", f"disabled: {', '.join(sorted(idle))}", "Enable them: nothing is read there until then.")


_OFF = {
    ("LakeQueues", "one"): {"LakeStripeEventsMapping", "LakeUsageMapping"},
    ("Datasets", "false"): {"DatasetsMapping"},
}


def _meant(connection: Connection) -> set[str]:
    """Mappings that a parameter switches off."""
    answer = connection.client("cloudformation").describe_stacks(StackName=connection.description.stack_name)
    given = _parameters(answer["Stacks"][0]).items()
    return {name for said, names in _OFF.items() if said in given for name in names}


def _parameters(stack: Mapping[str, Any]) -> dict[str, str | None]:
    return {one["ParameterKey"]: one.get("ParameterValue") for one in stack.get("Parameters", ())}


def _logical(name: str) -> str:
    return logical(name)
