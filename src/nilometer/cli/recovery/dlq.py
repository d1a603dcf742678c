"""`nilometer dlq`: what could not be processed, why, and what becomes of it."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import click

from nilometer.cli.recovery.dlq_queues import dead_letter_queues, letter_boxes, reasons
from nilometer.cli.terminal.caller import confirmed, yes_option
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.groups import SectionedGroup
from nilometer.cli.terminal.output import echo, json_option, note, out, print_json, print_rows, table
from nilometer.cli.terminal.times import age_option
from nilometer.domain.recovery.dead_letter import DeadLetter, Wanted, shown
from nilometer.domain.store.times import rfc3339
from nilometer.errors import Refused
from nilometer.flows.recovery.dead_letters import LetterBox, LettersMoved, delete, find, look, send_back

SHOWN = 100  # letters on a terminal; --json gives all

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _filters(command: _Command) -> _Command:
    """Hands the command `queues` and `wanted`."""

    @click.option("--queue", metavar="Q", help="Only of this dead-letter queue: BillingDeadLetters.")
    @click.option("--type", "event_type", metavar="TYPE", help="Only of this event type; * matches any text.")
    @click.option("--reason", metavar="TEXT", help="Only where the reason contains this text.")
    @age_option("--older-than", help="Only what was sent longer ago.")
    @stack_options
    @functools.wraps(command)
    def filtered(
        connection: Connection,
        *,
        queue: str | None,
        event_type: str | None,
        reason: str | None,
        older_than: timedelta | None,
        ids: tuple[str, ...] = (),
        **options: Any,
    ) -> Any:
        wanted = Wanted(
            ids=frozenset(ids),
            type=event_type,
            reason=reason,
            sent_before=connection.now - older_than if older_than is not None else None,
        )
        boxes = dead_letter_queues(connection, queue) if queue else letter_boxes(connection)
        return command(connection, queues=boxes, wanted=wanted, **options)

    return filtered  # type: ignore[no-any-return]  # click's decorators forget the type


@click.group(cls=SectionedGroup)
def dlq() -> None:
    """Dead letters: messages that failed each time or could not be delivered."""


@dlq.command("list")
@_filters
@json_option
def list_(connection: Connection, *, queues: Sequence[LetterBox], wanted: Wanted, as_json: bool) -> None:
    """The dead letters, since when and why; the oldest first. `nilometer dlq show` prints their payloads.

    Reasons come from EventBridge or from the functions' logs; a function that was killed or timed out left none. Failed
    batches of the tables' streams are listed too; they are stored in the lake bucket. Listing hides the letters for a
    moment, because SQS shows a message only by delivering it; `receives` counts failed deliveries only.

    \b
    Examples:
      nilometer dlq list --older-than 2h
      nilometer dlq list --json | jq -r .reason | sort | uniq -c
    """
    letters = _look(connection, queues, wanted)
    _print(letters if as_json else letters[:SHOWN], as_json=as_json)
    if len(letters) > SHOWN and not as_json:
        note(f"the first {SHOWN} of {len(letters)}; --json gives all")


@dlq.command()
@click.argument("letter_id", metavar="ID")
@click.option("--raw", is_flag=True, help="Only the body, as it arrived, with personal data.")
@stack_options
@json_option
def show(connection: Connection, letter_id: str, raw: bool, as_json: bool) -> int:
    """One letter with its payload, redacted as in the lake. Exit code 1 when it is not found.

    \b
    Example:
      nilometer dlq show 5a3f9c1e-6b7d-4a2b-8c7e-0f1d2e3a4b5c --json | jq .payload.detail
    """
    letter = find(letter_boxes(connection), letter_id, reasons=reasons(connection))
    if letter is None:
        note(f"no letter {letter_id} is in a queue, or another process is reading it; see nilometer dlq list")
        return 1
    if raw:
        echo(letter.body)
        return 0
    known = {**_row(letter), "attributes": letter.attributes, "payload": shown(letter.body)}
    if as_json:
        print_json(known)
    else:
        payload = known.pop("payload")
        out().print(table(["", "~letter"], [(name, value) for name, value in known.items() if value]))
        out().print_json(data=payload, default=str)
    return 0


def _acting(command: _Command) -> _Command:
    """What both ways to get rid of letters have in common."""
    for option in (
        json_option,
        _filters,
        yes_option,
        click.option("--dry-run", is_flag=True, help="Print what would be done, change nothing."),
        click.argument("ids", metavar="[ID]...", nargs=-1),
    ):
        command = option(command)
    return command


@dlq.command()
@_acting
def redrive(connection: Connection, **options: Any) -> int:
    """Send letters back to the queue in which they failed: all, those with an ID, or those that match the filters.

    A failed batch of a stream is sent to the function that failed on it, and is deleted when that accepts it.

    Remove the cause first. A letter that is sent twice, because this command was interrupted, counts once: every flow
    drops duplicates. A letter that fails again is a new one. Letters are moved one by one: one that cannot be moved
    stays, and the reason is printed. Shows what it will do and asks.

    \b
    Examples:
      nilometer dlq redrive --dry-run
      nilometer dlq redrive --queue UsageDeadLetters --reason "did not answer" --yes
    """
    return _settle(connection, verb="Send", done="sent back", act=send_back, movable=_movable, **options)


@dlq.command()
@_acting
def purge(connection: Connection, **options: Any) -> int:
    """Delete letters permanently: those with an ID, those that match the filters, or all. Only what it has shown.

    Shows what it will do and asks.

    \b
    Example:
      nilometer dlq purge --queue ScheduleDeadLetters --older-than 3d
    """
    return _settle(connection, verb="Delete", done="deleted", act=delete, movable=lambda _, letters: letters, **options)


def _settle(
    connection: Connection,
    *,
    queues: Sequence[LetterBox],
    wanted: Wanted,
    verb: str,
    done: str,
    act: Callable[[LetterBox, frozenset[str]], LettersMoved],
    movable: Callable[[Sequence[LetterBox], list[DeadLetter]], list[DeadLetter]],
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """The exit code: 1 when a letter was not there, or not there any more."""
    letters = movable(queues, _look(connection, queues, wanted))
    if not as_json:
        _print(letters, as_json=False)
    if letters and not dry_run:
        confirmed(f"{verb} {len(letters)} dead letters{' back' if verb == 'Send' else ' for good'}?", yes)
    moved = [] if dry_run else [act(queue, ids) for queue in queues if (ids := _ids(queue, letters))]
    count, failed = sum(one.count for one in moved), {id_: why for one in moved for id_, why in one.failed.items()}
    if as_json:
        told = {done.replace(" ", "_"): count, "ids": [letter.id for letter in letters], "dry_run": dry_run}
        print_json({**told, "failed": failed} if failed else told)
    elif letters and not dry_run:
        note(f"{count} {done}")
    for letter_id, why in failed.items():
        note(f"{letter_id} stays: {why}")
    absent = len(wanted.ids - {letter.id for letter in letters})
    absent += 0 if dry_run else len(letters) - count - len(failed)
    if absent:
        note(f"{absent} letters are not there, or another process is reading them; try again in two minutes")
    return 1 if absent or failed else 0


def _movable(queues: Sequence[LetterBox], letters: list[DeadLetter]) -> list[DeadLetter]:
    """Those whose queue has a source. `Refused` when there are others only."""
    sourceless = {queue.name for queue in queues if not queue.is_movable}
    stuck = Counter(letter.queue for letter in letters if letter.queue in sourceless)
    for name, count in stuck.items():
        why = f"{name} has no queue to send its letters ({count}) back to: invoke the function once, then purge them"
        if stuck.total() == len(letters):
            raise Refused(why)
        note(why)
    return [letter for letter in letters if letter.queue not in sourceless]


def _ids(queue: LetterBox, letters: Sequence[DeadLetter]) -> frozenset[str]:
    return frozenset(letter.id for letter in letters if letter.queue == queue.name)


def _look(connection: Connection, queues: Sequence[LetterBox], wanted: Wanted) -> list[DeadLetter]:
    return look(queues, wanted, reasons=reasons(connection))


def _print(letters: Sequence[DeadLetter], *, as_json: bool) -> None:
    columns = ("queue", "id", "type", "sent_at", "last_failed_at", ">receives", "~reason")
    print_rows(columns, [_row(letter) for letter in letters], as_json=as_json, empty="no dead letters")


def _row(letter: DeadLetter) -> dict[str, Any]:
    times = {name: getattr(letter, name) for name in ("sent_at", "first_failed_at", "last_failed_at")}
    return {
        "queue": letter.queue,
        "id": letter.id,
        "type": letter.type,
        "event_id": letter.event_id,
        **{name: rfc3339(time) if time else None for name, time in times.items()},
        "receives": letter.receives,
        "reason": letter.reason,
    }
