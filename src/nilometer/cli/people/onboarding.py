"""`nilometer onboarding`: how far people are with the tutorials of a workspace."""

from __future__ import annotations

import click

import nilometer
from nilometer.cli.terminal.caller import InWorkspace, in_workspace, row
from nilometer.cli.terminal.groups import SectionedGroup
from nilometer.cli.terminal.output import json_option, note, out, print_json_lines, table
from nilometer.flows.people import onboarding as flow

_user = click.argument("user_id", metavar="USER")


@click.group(cls=SectionedGroup)
def onboarding() -> None:
    """Progress of users in tutorials. Deleted 180 days after the last step."""


@onboarding.command()
@in_workspace
@_user
@click.argument("tutorial")
@click.argument("step", required=False)
@click.option("--mark", type=click.Choice(["restarted", "dismissed", "completed"]), help="Instead of a step.")
def advance(at: InWorkspace, user_id: str, tutorial: str, step: str | None, mark: str | None) -> None:
    """Record that USER did STEP of TUTORIAL in W, or restarted, dismissed or completed it.

    \b
    Example:
      nilometer onboarding advance acme user_ada first_invoice meter_created
      nilometer onboarding advance acme user_ada first_invoice --mark completed
    """
    if bool(step) == bool(mark):
        raise click.UsageError("give a step, or --mark")
    wanted = nilometer.Mark(mark) if mark else None
    at.perform(nilometer.AdvanceOnboarding(user_id=user_id, tutorial=tutorial, step=step, mark=wanted))
    note(f"{user_id}: {tutorial} {step or mark}")


@onboarding.command()
@in_workspace
@_user
@json_option
def show(at: InWorkspace, user_id: str, as_json: bool) -> None:
    """Tutorials that USER began in W, each with its steps in the order in which they were done.

    \b
    Example:
      nilometer onboarding show acme user_ada
    """
    found = [row(one) for one in flow.progress(at.store, at.caller, user_id=user_id, now=at.now)]
    if as_json:
        print_json_lines(found)
        return
    if not found:
        note(f"{user_id} began no tutorial in {at.caller.workspace_id}")
        return
    columns = ("tutorial", "status", "~steps")
    out().print(table(columns, ([one["tutorial"], one["status"], ", ".join(one["steps"])] for one in found)))
