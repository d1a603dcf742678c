"""`nilometer notification`: notifications of people, and their preferences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import click

import nilometer
from nilometer.cli.terminal.caller import InWorkspace, in_workspace
from nilometer.cli.terminal.deeds import argument, option, takes
from nilometer.cli.terminal.groups import SectionedGroup
from nilometer.cli.terminal.output import echo, json_option, note, out, print_json, print_json_lines, print_rows, table
from nilometer.flows.notices import notifications

_FIELDS = ("topic", "title", "text", "link", "channels", "unread", "read_at", "created_at")
_user = click.argument("user_id", metavar="USER")


@click.group(cls=SectionedGroup)
def notification() -> None:
    """Notifications of people, and their preferences."""


@notification.command(name="list")
@in_workspace
@_user
@click.option("--unread", is_flag=True, help="Only what is unread.")
@click.option("--archived", is_flag=True, help="Only what was archived.")
@click.option("--after", metavar="ID", default="", help="Continue after this one, the last of the previous page.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
@json_option
def list_notifications(
    at: InWorkspace, *, user_id: str, unread: bool, archived: bool, after: str, limit: int, as_json: bool
) -> None:
    """Notifications of USER in workspace W and of no workspace, the newest first.

    \b
    Example:
      nilometer notification list acme user_ada --unread
    """
    wanted: dict[str, Any] = {"unread": unread, "archived": archived, "after": after, "limit": limit + 1}
    items = notifications.shown(at.store, at.caller, now=at.now, user_id=user_id, **wanted)
    found = [_shown(item) for item in items[:limit]]
    columns = ("id", "created_at", "unread", "topic", "~title")
    print_rows(columns, found, as_json=as_json, empty=f"nothing for {user_id} in {at.caller.workspace_id}")
    if len(items) > limit:
        note(f"more: --after {found[-1]['id']}")


@notification.command()
@in_workspace
@_user
@json_option
def count(at: InWorkspace, user_id: str, as_json: bool) -> None:
    """The exact number of unread notifications.

    \b
    Example:
      nilometer notification count acme user_ada
    """
    unread = notifications.unread(at.store, at.caller, now=at.now, user_id=user_id)
    if as_json:
        here = unread.by_workspace.get(at.caller.workspace_id, 0)
        print_json({"user": user_id, "workspace": at.caller.workspace_id, "unread": unread.total, "of_workspace": here})
        return
    echo(unread.total)


@notification.command()
@in_workspace
@takes(
    nilometer.Notify,
    user_id=argument("USER"),
    topic=option(help="exports.ready"),
    title=option(),
    text=option(),
    link=option(),
)
@json_option
def send(at: InWorkspace, deed: nilometer.Notify, as_json: bool) -> None:
    """Notify USER about workspace W, on the channels of the user's preferences.

    \b
    Example:
      nilometer notification send acme user_ada --topic exports.ready --title "Your export is ready"
    """
    done = at.perform(deed)
    note(f"{deed.user_id} is notified" if done.told else f"{deed.user_id} has all channels off for {deed.topic}")
    if as_json:
        print_json({"id": done.id, "told": done.told})


@notification.command()
@in_workspace
@_user
@click.argument("notification_ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "all_", is_flag=True, help="All that is unread in W.")
def read(at: InWorkspace, user_id: str, notification_ids: tuple[str, ...], all_: bool) -> None:
    """Mark notifications of USER as read.

    \b
    Example:
      nilometer notification read acme user_ada --all
    """
    if all_ == bool(notification_ids):
        raise click.UsageError("give notifications, or --all")
    now = at.now
    if all_:
        number = notifications.mark_all_read(at.store, at.caller, now=now, user_id=user_id)
    else:
        number = notifications.mark_read(at.store, at.caller, notification_ids, now=now, user_id=user_id)
    note(f"{number} marked as read")


@notification.command()
@in_workspace
@_user
@click.argument("notification_ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "all_", is_flag=True, help="All that is read in W.")
def archive(at: InWorkspace, user_id: str, notification_ids: tuple[str, ...], all_: bool) -> None:
    """Archive notifications of USER: lists show them only with --archived. An unread one counts as read.

    \b
    Example:
      nilometer notification archive acme user_ada --all
    """
    if all_ == bool(notification_ids):
        raise click.UsageError("give notifications, or --all")
    given: dict[str, Any] = {"now": at.now, "user_id": user_id}
    if all_:
        number = notifications.archive_all(at.store, at.caller, **given)
    else:
        number = notifications.archive(at.store, at.caller, notification_ids, **given)
    note(f"{number} archived")


@notification.command()
@in_workspace
@_user
@click.argument("topic")
@click.option("--in-app/--no-in-app", default=None)
@click.option("--email/--no-email", default=None)
@click.option("--forget", is_flag=True, help="Remove the preference for this topic.")
@click.option("--everywhere", is_flag=True, help="In every workspace without its own preference.")
def prefer(
    at: InWorkspace,
    user_id: str,
    topic: str,
    in_app: bool | None,
    email: bool | None,
    forget: bool,
    everywhere: bool,
) -> None:
    """Set on which channels USER is notified of TOPIC in workspace W; `*` is every topic.

    \b
    Example:
      nilometer notification prefer acme user_ada usage.threshold_reached --no-email
    """
    said = {
        nilometer.Channel(name): on for name, on in (("in_app", in_app), ("email", email)) if forget or on is not None
    }
    if not said or (forget and (in_app, email) != (None, None)):
        raise click.UsageError("give --email, --no-email, --in-app or --no-in-app; or only --forget")
    at.perform(nilometer.SetPreference(user_id=user_id, topic=topic, channels=said, everywhere=everywhere))
    note(f"noted for {topic} {'everywhere' if everywhere else 'in ' + at.caller.workspace_id}")


@notification.command()
@in_workspace
@_user
@click.argument("topic")
@json_option
def explain(at: InWorkspace, user_id: str, topic: str, as_json: bool) -> None:
    """On which channels USER is notified of TOPIC in workspace W, and which preference decides it.

    \b
    Example:
      nilometer notification explain acme user_ada usage.threshold_reached
    """
    found = [asdict(one) for one in notifications.explain(at.store, at.caller, topic, user_id=user_id)]
    if as_json:
        print_json_lines(found)
        return
    columns = ("channel", "on", "because")
    out().print(table(columns, ([one[column] for column in columns] for one in found)))


@notification.command()
@in_workspace
@_user
@json_option
def preferences(at: InWorkspace, user_id: str, as_json: bool) -> None:
    """Preferences of USER, for all workspaces and for W.

    \b
    Example:
      nilometer notification preferences acme user_ada
    """
    found = [_said(item) for item in notifications.preferences(at.store, at.caller, user_id=user_id)]
    if as_json:
        print_json_lines(found)
        return
    if not found:
        note(f"{user_id} has no preferences: the defaults apply")
        return
    rows = ([one["workspace"] or "everywhere", one["topic"], *map(", ".join, (one["on"], one["off"]))] for one in found)
    out().print(table(("workspace", "topic", "on", "off"), rows))


def _said(item: Mapping[str, Any]) -> dict[str, Any]:
    names = {"workspace_id": "workspace", "topic": "topic", "channels_on": "on", "channels_off": "off"}
    return {said: item[name] for name, said in names.items()}


def _shown(item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": item["notification_id"],
        "workspace": item["workspace_id"],
        **{name: item[name] for name in _FIELDS},
    }
