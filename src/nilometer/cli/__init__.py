"""What an operator or analyst types.

Exit codes: 0 ok, 1 failed, 2 wrong usage, 3 a check found a difference, 130 interrupted.
Data goes to stdout, commentary and progress to stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from nilometer.cli.billing.backfill import backfill
from nilometer.cli.billing.commands import billing
from nilometer.cli.billing.endpoint import stripe
from nilometer.cli.billing.reconcile import reconcile
from nilometer.cli.lake.datasets import datasets
from nilometer.cli.lake.query import query, recipes, tables
from nilometer.cli.people.attachment import attachment
from nilometer.cli.people.flag import flag
from nilometer.cli.people.invite import invite
from nilometer.cli.people.member import member
from nilometer.cli.people.notification import notification
from nilometer.cli.people.onboarding import onboarding
from nilometer.cli.people.policy import policy
from nilometer.cli.people.security import security
from nilometer.cli.people.session import session
from nilometer.cli.people.token import token
from nilometer.cli.people.workspace import workspace
from nilometer.cli.recovery.dlq import dlq
from nilometer.cli.recovery.history import history
from nilometer.cli.recovery.rebuild import rebuild
from nilometer.cli.recovery.replay import replay
from nilometer.cli.recovery.trace import trace
from nilometer.cli.recovery.verify import verify
from nilometer.cli.stack.cost import cost
from nilometer.cli.stack.demo import demo
from nilometer.cli.stack.doctor import doctor
from nilometer.cli.stack.local import local
from nilometer.cli.stack.status import status, wait
from nilometer.cli.stack.trigger import trigger
from nilometer.cli.usage.commands import usage
from nilometer.cli.usage.limit import limit
from nilometer.cli.usage.meter import meter
from nilometer.errors import NilometerError

INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="nilometer", message="%(prog)s %(version)s")
def cli() -> None:
    """Stripe webhooks and usage events into billing state, counters and an audit lake, exactly once.

    \b
    nilometer demo                 see all of it in half a minute
    nilometer local                run the stack on this machine; the commands below talk to it
    nilometer --help, COMMAND -h   options and an example of every command
    """


_COMMANDS: tuple[click.Command, ...] = (
    *(local, demo, status, wait, trigger, replay, usage, billing, meter, limit),
    *(query, recipes, tables, datasets, history, verify, rebuild),
    *(dlq, trace, reconcile, backfill, stripe),
    *(cost, doctor),
    *(workspace, member, invite, session, token, security),
    *(onboarding, notification, policy, flag, attachment),
)
for command in _COMMANDS:
    cli.add_command(command)


def main() -> None:
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """The exit code. Expected errors are one sentence on stderr; a traceback is a defect of ours."""
    try:
        code = cli.main(list(arguments), prog_name="nilometer", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has seen enough; Python must not complain about it while it exits.
        sys.stdout = None
        return 0
    except NilometerError as error:
        return _failed(str(error))
    except ModuleNotFoundError as error:
        if (error.name or "nilometer").startswith("nilometer"):
            raise
        return _failed(f"{error.name} is not installed; pip install 'nilometer[local]'")
    except Exception as error:
        if not type(error).__module__.startswith("botocore."):
            raise
        return _failed(f"AWS: {error}")
    return code if isinstance(code, int) else 0


def _failed(message: str) -> int:
    click.echo(f"Error: {message}", err=True)
    return 1
