"""Every command once on one small stack, in an order in which each has something to show or to do."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
from tests.support.command_line import Answer, CommandLine

from nilometer.local.stripe.server import serve
from nilometer.local.stripe.world import StripeWorld

# A line as it is typed, and where later lines use a part of its answer: the name of that part, and how it is found.
STORY: tuple[str | tuple[str, str, str], ...] = (
    "ls",
    "env",
    "workspace create acme --slug acme --admin ada",
    "workspace create globex",
    "workspace create initech",
    "workspace update initech --name Initech",
    "workspace delete initech --yes",
    "workspace restore initech",
    "workspace delete initech --yes",
    "workspace purge initech --yes",
    "member add acme bob --role Analyst",
    "member add acme carol --role Viewer",
    "member role acme carol --role Manager",
    "member remove acme carol --yes",
    ("invite create acme grace@example.com --role Viewer", "invitation", r"invitation (\w{26})"),
    ("invite create acme heidi@example.com --role Viewer", "token", r"^(\S{30,})$"),
    "security log acme",
    "invite accept --user heidi --email heidi@example.com < {token}",
    "invite list acme",
    "invite resend acme {invitation}",
    "invite revoke acme {invitation} --yes",
    ("session open acme ada", "session", r"^(\S{30,})$"),
    "session check < {session}",
    "session list acme ada",
    "session revoke acme ada --all --yes",
    ("token issue acme ada --purpose password_reset", "reset", r"^(\S{30,})$"),
    "token use --purpose password_reset < {reset}",
    ("key create metering --workspace acme --scope usage.record", "key", r"\b([0-9A-Z]{26})\b"),
    "key list --workspace acme",
    "key rotate {key} --workspace acme",
    "key revoke {key} --workspace acme --yes",
    (
        "webhook create acme https://hooks.example.com/nilometer --type billing.plan_changed.v1",
        "hook",
        r"webhook (\w{26}) of",
    ),
    "webhook list acme",
    "email secret",
    "webhook redeliver acme {hook} --since 2026-01-01 --dry-run",
    "webhook update acme {hook} --off",
    "webhook rotate acme {hook} --overlap 48",
    "webhook delete acme {hook} --yes",
    "security locked acme ada",
    "policy publish terms --url https://example.com/terms/1 --file {folder}/orders.csv --yes",
    "policy list",
    "policy outstanding ada",
    "policy acceptances ada",
    "policy accepted terms 1",
    "flag set new_invoices --description 'Invoices as PDF' --on",
    "flag set old_invoices --off",
    "flag archive old_invoices --yes",
    "flag restore old_invoices",
    "flag override acme new_invoices off",
    "flag list",
    "flag overrides new_invoices",
    "flag explain acme new_invoices",
    "onboarding advance acme bob first_invoice meter_created",
    "onboarding show acme bob",
    "notification send acme bob --topic exports.ready --title 'Your export is ready'",
    "notification list acme bob",
    "notification count acme bob",
    "notification prefer acme bob exports.ready --no-email",
    "notification preferences acme bob",
    "notification explain acme bob exports.ready",
    "notification read acme bob --all",
    "notification archive acme bob --all",
    ("attachment add acme {folder}/orders.csv --type text/csv", "content", r"\b([0-9a-f]{64})\b"),
    "attachment list acme",
    "attachment url acme {content}",
    "attachment upload-url acme {folder}/more.csv --type text/csv",
    "attachment uploaded acme {folder}/more.csv --type text/csv",
    "attachment get acme {content}",
    "attachment remove acme {content}",
    "attachment sweep",
    "meter create tokens --aggregation sum --unit token",
    "meter update tokens --fail-closed",
    "meter list",
    "limit override acme api_calls --included 5000 --hard 8000",
    "limit grant acme api_calls launch 1000 --until 2099-01-01",
    ("trigger customer.subscription.created --workspace acme", "event", r"\b(evt_\w+)"),
    "usage send --workspace acme --meter api_calls --quantity 42 --id call-1",
    "wait",
    "usage send --workspace acme --meter api_calls --quantity 7 --id call-2",
    "usage send --workspace nowhere --meter api_calls --quantity 1 --id call-3",
    "wait",
    "usage void --source /nilometer/cli --id call-2 --workspace acme --reason 'sent in error'",
    "datasets declare orders --mode append --column id:string --column total:int64",
    "datasets send orders {folder}/orders.jsonl",
    "wait",
    "status",
    "billing list",
    "billing show acme",
    "billing history acme",
    ("billing objects", "subscription", r"\b(sub_\w+)"),
    "billing conflicts",
    "billing explain {subscription}",
    "billing link cus_unknown globex --account self --test --yes",
    "billing drop {subscription} {event} --yes --api-base {stripe}",
    "reconcile run --api-base {stripe}",
    "reconcile status",
    "backfill objects --dry-run --api-base {stripe}",
    "backfill events --dry-run --api-base {stripe}",
    "stripe endpoint create --url https://hooks.example.com/stripe --api-base {stripe}",
    "stripe endpoint list --url https://hooks.example.com/stripe --api-base {stripe}",
    "stripe endpoint rotate-secret --url https://hooks.example.com/stripe --api-base {stripe}",
    "usage meters",
    "usage show acme",
    "usage rejects",
    "usage outbox",
    "usage recount acme",
    "limit show acme",
    "workspace list",
    "workspace show acme",
    "member list acme",
    "member workspaces bob",
    "query 'select workspace_id, meter, quantity from usage order by quantity'",
    "metric",
    "metric mrr_daily --from {today} --to {today}",
    "explain mrr {month}",
    "recipes",
    "tables status",
    "tables optimize --dry-run",
    "tables vacuum --dry-run",
    "datasets send orders {folder}/orders.csv",
    "wait",
    "datasets rejects",
    "datasets list",
    "datasets show orders",
    "datasets give orders /services/shop",
    "datasets deprecate orders --note 'orders_v2 from March on'",
    "datasets drop orders --yes",
    "datasets restore orders",
    "trace call-1",
    "resend call-1",
    "history show workspace acme",
    "history show membership bob --diff",
    "history void 00000000000000000000000000000000 --yes",
    "verify",
    "doctor",
    "waiting",
    ("rejects list", "reject", r"\b([0-9a-f]{12})\b"),
    "rejects show {reject}",
    "rejects resend {reject} --yes",
    "rejects dismiss {reject} --yes",
    ("dlq list", "letter", r"\b([0-9a-f-]{36})\b"),
    "dlq show {letter}",
    "dlq redrive --dry-run",
    "dlq purge --yes",
    "replay file {folder}/events.jsonl",
    "replay archive --since 2026-01-01 --dry-run",
    "replay lake usage --since 2026-01-01 --dry-run",
    "rebuild --as-of 2026-01-01T00:00:01Z",
    "restore --records {copy} --events {copy} --dry-run",
    "completion bash",
)


FILES = {
    "orders.jsonl": '{"id": "a", "total": 1}\n{"id": "b", "total": 2}\n',
    "orders.csv": "id,total\na,1\nb,2\n",
    "more.csv": "id,total\nc,3\n",
    "events.jsonl": "",
}
LETTER = {"detail-type": "customer.created", "detail": {"id": "evt_1", "type": "customer.created"}}


@dataclass
class StoryTeller:
    """Types lines of `STORY` on one stack: `{name}` in a line is a part of an earlier answer, `< {name}` its stdin.

    `started` is what `nilometer local` printed.
    """

    line: CommandLine
    width: int
    started: str
    known: dict[str, str]

    def answer(self, told: str | tuple[str, str, str]) -> Answer:
        """Of one line; the part that later lines need is kept."""
        line, name, pattern = (told, "", "") if isinstance(told, str) else told
        typed, _, stdin = line.format(**self.known).partition(" < ")
        for _ in range(20):
            answer = self.line(*words(typed), text=stdin or None, env=self.environment)
            if line != "status" or answer.out.endswith("idle\n"):  # a schedule calls its function now and then
                break
        if name:
            found = re.search(pattern, answer.out + answer.err, re.MULTILINE)
            assert found, f"{line}: {answer.out}{answer.err}"
            self.known[name] = found[1]
        if line.startswith("attachment upload-url"):
            _upload(answer.out)
        return answer

    @property
    def environment(self) -> Mapping[str, str]:
        """Of each command."""
        return {"COLUMNS": str(self.width), "STRIPE_API_KEY": "sk_test_fake"}


@contextmanager
def story_teller(folder: Path, width: int) -> Iterator[StoryTeller]:
    """On a new stack with one dead letter and an empty table more; Stripe is a simulation that has nothing."""
    for name, content in FILES.items():
        (folder / name).write_text(content)
    line = CommandLine(folder / "run")
    line.runtime.mkdir()
    environment = {**line.environment, "COLUMNS": str(width)}
    command = [sys.executable, "-m", "nilometer", "local", "--port", "0", "--aws-port", "0", "--quiet", "--webhooks"]
    with (
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        ) as local,
        serve(StripeWorld(datetime(2026, 1, 1, tzinfo=UTC), seed=1)) as (stripe, _),
    ):
        try:
            assert local.stdout
            started = "".join(_until(local.stdout, "Ctrl-C stops"))
            _leave_a_letter(line)
            today = f"{datetime.now(UTC):%Y-%m-%d}"
            known = {"folder": str(folder), "stripe": stripe, "copy": "copy", "today": today, "month": today[:7]}
            yield StoryTeller(line, width, started, known)
        finally:
            local.terminate()


def words(line: str) -> list[str]:
    """As a shell splits them."""
    return [quoted or plain for quoted, plain in re.findall(r"'([^']*)'|(\S+)", line)]


def _until(lines: Iterable[str], part: str) -> Iterator[str]:
    """Up to the line with that part."""
    for line in lines:
        yield line
        if part in line:
            return


def _leave_a_letter(line: CommandLine) -> None:
    """What `nilometer dlq` and `nilometer restore` find."""
    about = line("env", "--json").json["environment"]
    queues, tables = (_client(service, about) for service in ("sqs", "dynamodb"))
    [url] = [url for url in queues.list_queues()["QueueUrls"] if "BillingDeadLetters" in url]
    queues.send_message(QueueUrl=url, MessageBody=json.dumps(LETTER))
    tables.create_table(
        TableName="copy",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in ("pk", "sk")],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    )


def _client(service: str, about: Mapping[str, Any]) -> Any:
    session = boto3.session.Session(aws_access_key_id="test", aws_secret_access_key="test")
    return session.client(service, endpoint_url=about["AWS_ENDPOINT_URL"], region_name=about["AWS_REGION"])  # type: ignore[call-overload]


def _upload(curl: str) -> None:
    """As the printed command does."""
    typed = shlex.split(curl)
    headers = dict(typed[at + 1].split(": ", 1) for at, word in enumerate(typed) if word == "--header")
    content = Path(typed[typed.index("--upload-file") + 1]).read_bytes()
    urllib.request.urlopen(urllib.request.Request(typed[-1], content, headers, method="PUT"))  # noqa: S310  # the stack's
