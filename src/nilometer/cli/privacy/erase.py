"""`nilometer erase`: take a person out of everything that a stack keeps."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from nilometer.cli.terminal.caller import confirmed, yes_option
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.output import json_option, note, print_json, print_rows
from nilometer.domain.recovery.erasure import Fate, Person
from nilometer.errors import Cancelled

if TYPE_CHECKING:
    from nilometer.flows.privacy.found import Found, Places

OUT_OF_REACH = {
    "archives of the buses": "each event as it arrived; cannot be edited: they expire after ArchiveDays (90)",
    "queues and dead letters": "undelivered events: 14 days; nilometer dlq list shows them",
    "point-in-time recovery": "the tables as they were: 35 days",
    "versions of the bucket, files of datasets": "until upkeep and the bucket's rules remove them: 7 to 37 days",
    "Stripe, and services that publish": "erase the person there first, or new events bring the name back",
}
"""What the command cannot change, and when it is gone."""
_ROUNDS = 5  # a search and its steps, while others write


@click.command()
@click.argument("identifiers", metavar="PERSON...", nargs=-1, required=True)
@click.option(
    "--dry-run", is_flag=True, help="Print what contains the person's data and what would be done; change nothing."
)
@yes_option
@stack_options
@json_option
def erase(connection: Connection, identifiers: Sequence[str], *, dry_run: bool, yes: bool, as_json: bool) -> int:
    """Erase a person from tables, bucket and lake, and prove it by a second search.

    PERSON is all identifiers of the person: user ids, Stripe customer ids, e-mail addresses. An address also finds
    customers whose events contain it. Ids, amounts and states stay, so that counters, bills and the audit can still be
    verified. Reads both tables and all text columns of the lake. Exit code 1 when something could not be erased yet.

    \b
    Examples:
      nilometer erase ada@example.com user_ada --dry-run
      nilometer erase ada@example.com user_ada cus_NffrFeUfNV2Hib --yes --json > report.json
    """
    from nilometer.flows.privacy.in_tables import identified

    places = _places(connection)
    person = identified(places, Person.of(identifiers))
    note(f"known by {len(person.addresses)} addresses and as {', '.join(sorted(person.ids)) or 'no id'}")
    found = _searched(places, person)
    asked = [one for one in found if one.fate is Fate.ERASE]
    if asked and not dry_run:
        confirmed(f"Erase {len(asked)} things for good?", yes)
        found = _erased(places, person, found)
    _report(found, len(asked), sorted(person.ids), dry_run=dry_run, as_json=as_json)
    return int(not dry_run and any(one.fate is not Fate.KEEP for one in found))


def _erased(places: Places, person: Person, found: Sequence[Found]) -> Sequence[Found]:
    """What a search finds afterwards. A record that changed meanwhile is found again and erased then."""
    for _ in range(_ROUNDS):
        for one in found:
            _erase(one)
        found = _searched(places, person)
        if all(one.erase is None for one in found):
            break
    return found


def _erase(one: Found) -> None:
    try:
        if one.erase:
            one.erase()
    except Cancelled:
        note(f"{one.place}: {one.name} changed meanwhile and is searched again")


def _searched(places: Places, person: Person) -> Sequence[Found]:
    from nilometer.flows.privacy.erasing import search

    return list(search(places, person))


def _places(connection: Connection) -> Places:
    from nilometer.flows.privacy.found import Places
    from nilometer.lake.tables.storage import storage_options

    return Places(
        store=connection.store(),
        objects=connection.objects(),
        lake_uri=connection.description.lake_uri,
        storage_options=storage_options(os.environ),
        now=connection.now,
        progress=lambda place: note(f"searching: {place}"),
    )


def _report(found: Sequence[Found], asked: int, ids: Sequence[str], *, dry_run: bool, as_json: bool) -> None:
    """One line for each place, kind and fate; with JSON each thing."""
    if as_json:
        things = [{"place": one.place, "kind": one.kind, "name": one.name, **_fate(one)} for one in found]
        erased = 0 if dry_run else asked - sum(one.fate is Fate.ERASE for one in found)
        print_json({"ids": ids, "dry_run": dry_run, "erased": erased, "left": things, "out_of_reach": OUT_OF_REACH})
        return
    if asked and not dry_run:
        note(f"{asked} things erased; what the second search finds:")
    print_rows((">count", "place", "kind", "fate", "~why"), _grouped(found), as_json=False, empty="nothing names them")
    note("Out of reach of this command:")
    for place, why in OUT_OF_REACH.items():
        note(f"  {place}: {why}")


def _grouped(found: Iterable[Found]) -> list[dict[str, Any]]:
    counted = Counter((one.place, one.kind, one.fate, one.why) for one in found)
    names = ("place", "kind", "fate", "why")
    return [{"count": count, **dict(zip(names, group, strict=True))} for group, count in counted.items()]


def _fate(one: Found) -> dict[str, str]:
    return {"fate": str(one.fate), "why": one.why}
