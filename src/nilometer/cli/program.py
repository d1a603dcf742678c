"""The commands by purpose, each loaded when it is named, and what became of a run: exit code, error, interruption."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module

import click
from click.exceptions import NoSuchCommand

from nilometer.cli.terminal.groups import SectionedGroup
from nilometer.cli.terminal.interruption import INTERRUPTED, interrupts_at_once
from nilometer.cli.terminal.visible import visible
from nilometer.errors import NilometerError

# Section, then name, summary, and where the command is: a module below nilometer.cli and a name in it.
SECTIONS = {
    "Start here": (
        (
            "demo",
            "Send a company's month through a new stack, with copies and in disorder, and compare the result.",
            "stack.demo:demo",
        ),
        ("local", "Run the whole stack on this machine; no AWS account, no Docker.", "stack.local:local"),
        (
            "console",
            "Serve the web console of a stack: events, workspaces, money, operations, SQL.",
            "console.serve:console",
        ),
        (
            "listen",
            "Print a line per event as the functions decide on it: when, where, outcome and reason.",
            "console.listen:listen",
        ),
        ("ls", "The local stacks that are running.", "stack.stacks:ls"),
        (
            "env",
            "Print what other programs need to use a stack: endpoint, region, tables, bus, lake.",
            "stack.stacks:env",
        ),
        (
            "status",
            "Messages per queue, dead letters, lag of the streams, and whether all is idle.",
            "stack.status:status",
        ),
        (
            "wait",
            "Return when all sent events are in the tables and in the lake.",
            "stack.status:wait",
        ),
        (
            "doctor",
            "Check a stack from identity to clock, and say how to repair what is wrong.",
            "stack.doctor:doctor",
        ),
        (
            "cost",
            "Dollars per million events of each kind on AWS, or the bill of a month.",
            "stack.cost:cost",
        ),
    ),
    "Stripe and billing": (
        ("trigger", "Post a signed, realistic event of EVENT_TYPE to the webhook.", "stack.trigger:trigger"),
        ("stripe", "The webhook endpoint at Stripe that this stack needs.", "billing.endpoint:stripe"),
        ("billing", "The billing state of each workspace, made from Stripe's events.", "billing.commands:billing"),
        (
            "reconcile",
            "Compare all objects at Stripe with the stored ones, and merge the differences.",
            "billing.reconcile:reconcile",
        ),
        ("backfill", "Load existing Stripe objects and events into a stack.", "billing.backfill:backfill"),
    ),
    "Usage and limits": (
        ("usage", "Publish usage events, see what was counted, correct it.", "usage.commands:usage"),
        ("meter", "Define what is counted, and how events are aggregated.", "usage.meter:meter"),
        ("limit", "A workspace's limits: overrides and grants beside its plan.", "usage.limit:limit"),
    ),
    "Workspaces and people": (
        ("workspace", "Create, rename, close and list workspaces.", "people.workspace:workspace"),
        ("member", "Members of a workspace and their roles.", "people.member:member"),
        ("invite", "Invite people into a workspace, by a token that is shown once.", "people.invite:invite"),
        ("session", "Open, check, list and revoke sessions.", "people.session:session"),
        (
            "token",
            "Issue and use one-time tokens: verification of an address, reset of a password.",
            "people.token:token",
        ),
        ("key", "Create, list, rotate and revoke keys of the HTTP API.", "people.key:key"),
        ("security", "The security log: logins, roles, invitations, tokens, keys.", "people.security:security"),
        ("policy", "Publish policies, and list who accepted which version.", "people.policy:policy"),
        ("flag", "Feature flags: on for all workspaces, for a share of them, or for one.", "people.flag:flag"),
        ("onboarding", "Progress of users in tutorials.", "people.onboarding:onboarding"),
        ("webhook", "Post the events of a workspace to HTTPS addresses, signed.", "notices.webhook:webhook"),
        ("email", "Mail notifications to people, whose addresses another service keeps.", "notices.email:email"),
        ("notification", "Notifications of people, and their preferences.", "people.notification:notification"),
        (
            "attachment",
            "Avatars, exports and attachments of a workspace, identified by the hash of their content.",
            "people.attachment:attachment",
        ),
        (
            "erase",
            "Erase a person from tables, bucket and lake, and prove it by a second search.",
            "privacy.erase:erase",
        ),
    ),
    "Data lake": (
        ("query", "Query the Delta tables in SQL (DuckDB's dialect).", "lake.query:query"),
        (
            "metric",
            "Figures of the business: recurring revenue, churn, cohorts, revenue, receivables.",
            "lake.metric:metric",
        ),
        ("explain", "The events behind a figure.", "lake.metric:explain"),
        (
            "mcp",
            "Let an assistant query the lake, by the Model Context Protocol on stdio.",
            "assistant.mcp_server:mcp",
        ),
        ("recipes", "The prepared queries of `nilometer query --recipe NAME`.", "lake.query:recipes"),
        ("tables", "The Delta tables: their state and their maintenance.", "lake.tables:tables"),
        (
            "datasets",
            "Tables of the lake that internal services write in batches, by append or merge.",
            "lake.datasets:datasets",
        ),
    ),
    "Find and repair": (
        ("trace", "Follow one event through every step, from its arrival to the lake.", "recovery.trace:trace"),
        ("history", "The history of a record: its values, when, by whom and why.", "recovery.history:history"),
        ("verify", "Compare the lake with the tables.", "recovery.verify:verify"),
        ("dlq", "Dead letters: messages that failed each time or could not be delivered.", "recovery.dlq:dlq"),
        (
            "waiting",
            "Events that wait for a workspace, a meter or something else that does not exist yet.",
            "recovery.refused:waiting_",
        ),
        ("rejects", "Rejected events and changes of every flow, and what to try.", "recovery.refused:rejects"),
        (
            "reproduce",
            "Deliver an event of a stack again in an empty local stack, and compare the changes.",
            "console.reproduce:reproduce",
        ),
        ("resend", "Send one stored event again; the flow drops it as a duplicate.", "recovery.resend:resend"),
        ("replay", "Send events again; duplicates are dropped.", "recovery.replay:replay"),
        (
            "rebuild",
            "Write the records as they were at a time into a table, from the audit; without --into, count them.",
            "recovery.rebuild:rebuild",
        ),
        (
            "restore",
            "Copy two tables from point-in-time recovery into the tables of a running stack.",
            "recovery.rebuild:restore",
        ),
    ),
    "Shell": (
        (
            "completion",
            "Print the script that completes commands and their values in bash, zsh or fish.",
            "stack.completion:completion",
        ),
    ),
}


class _ReaderIsGone(Exception):
    """Who read stdout (`| head`) has seen enough."""


class _Program(SectionedGroup):
    """Finds a command in `SECTIONS` and imports its module then; `--help` imports none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for section in SECTIONS.values() for name, _, _ in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for name, _, place in (entry for section in SECTIONS.values() for entry in section):
            if name == cmd_name:
                module, _, attribute = place.partition(":")
                command: click.Command = getattr(import_module(f"nilometer.cli.{module}"), attribute)
                return command
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, which offers near names of loaded commands only."""
        try:
            return super().resolve_command(ctx, args)
        except NoSuchCommand as error:
            raise NoSuchCommand(error.command_name, possibilities=self.list_commands(ctx), ctx=ctx) from None

    def sections(self, ctx: click.Context) -> Iterator[tuple[str, list[tuple[str, str]]]]:
        for title, entries in SECTIONS.items():
            yield title, [(name, summary) for name, summary, _ in entries]

    def invoke(self, ctx: click.Context) -> object:
        """Before click sees that the reader is gone: for click that is a failure."""
        try:
            answer = super().invoke(ctx)
            sys.stdout.flush()
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise _ReaderIsGone from None
            raise
        return answer


@click.group(cls=_Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="nilometer", message="%(prog)s %(version)s")
def cli() -> None:
    """Stripe webhooks and usage events into billing state, counters and an audit lake, exactly once.

    \b
    nilometer demo                 see all of it in half a minute
    nilometer local                run the stack on this machine; the commands below talk to it
    nilometer COMMAND -h           options and an example of every command
    """


def run(arguments: Sequence[str]) -> int:
    """The exit code. Expected errors are one sentence on stderr, with `--json` one object; a traceback is a defect."""
    as_json = "--json" in arguments
    try:
        with interrupts_at_once():
            code = cli.main(list(arguments), prog_name="nilometer", standalone_mode=False)
    except click.ClickException as error:
        return _failed(error, as_json)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except _ReaderIsGone:
        _leave_stdout()
        return 0
    except Exception as error:
        sentence = _sentence(error)
        if sentence is None:
            raise
        return _failed(click.ClickException(sentence), as_json, getattr(error, "reason", type(error).__name__.lower()))
    return code if isinstance(code, int) else 0


def _sentence(error: Exception) -> str | None:
    """None for a defect of ours."""
    if isinstance(error, NilometerError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and not (error.name or "nilometer").startswith("nilometer"):
        return f"{error.name} is not installed; pip install 'nilometer[local]'"
    return f"AWS: {error}" if type(error).__module__.startswith("botocore.") else None


def _failed(error: click.ClickException, as_json: bool, reason: str = "failed") -> int:
    if as_json:
        said = {"error": "usage" if isinstance(error, click.UsageError) else reason, "message": error.format_message()}
        click.echo(json.dumps(said), err=True)
    elif isinstance(error, click.UsageError):
        error.show()
    else:
        message = error.format_message()
        # DuckDB points at a place of the SQL in lines of their own.
        lines = filter(str.strip, message.split("\n")) if reason == "invalid_sql" else [message]
        click.echo("Error: " + "\n  ".join(map(visible, lines)), err=True)
    return error.exit_code


def _leave_stdout() -> None:
    """Python flushes it once more while it exits, and must not complain."""
    if sys.stdout is sys.__stdout__:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
