"""`nilometer policy`: privacy policy, terms and cookies, and who accepted them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, BinaryIO

import click

import nilometer
from nilometer.cli.terminal.caller import confirmed, perform_for_all, yes_option
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.groups import SectionedGroup
from nilometer.cli.terminal.output import json_option, note, out, print_json, print_json_lines, table
from nilometer.domain.people import policy as rules
from nilometer.domain.people.policy import Policy
from nilometer.domain.store.times import parse_rfc3339
from nilometer.flows.people import policies

POLICIES = click.Choice(["privacy", "terms", "cookies"])
_VERSION = ("policy", "policy_version", "effective_at", "material", "url", "content_sha256")
_ACCEPTANCE = ("user_id", "policy", "policy_version", "accepted_at", "workspace_id", "ip_hash", "user_agent")


@click.group(cls=SectionedGroup)
def policy() -> None:
    """Publish policies, and list who accepted which version."""


@policy.command()
@click.argument("which", metavar="POLICY", type=POLICIES)
@click.option("--url", required=True, help="The address of its text (https://).")
@click.option("--file", "text", type=click.File("rb"), required=True, help="The text; its hash is stored.")
@click.option("--version", "number", type=click.IntRange(1), help="The next one unless given.")
@click.option("--effective", metavar="TIME", help="RFC 3339; now unless given.")
@click.option("--editorial", is_flag=True, help="An editorial change: no new acceptance is required.")
@yes_option
@stack_options
@json_option
def publish(
    *,
    connection: Connection,
    which: str,
    url: str,
    text: BinaryIO,
    number: int | None,
    effective: str | None,
    editorial: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Publish a version of POLICY (privacy, terms, cookies). A published version never changes.

    \b
    Example:
      nilometer policy publish terms --url https://example.com/terms/2 --file terms-2.html --yes
    """
    store, now = connection.store(), connection.now
    deed = nilometer.PublishPolicy(
        policy=Policy(which),
        version=number or _next(policies.versions(store, Policy(which))),
        url=url,
        content_sha256=hashlib.sha256(text.read()).hexdigest(),
        effective_at=parse_rfc3339(effective) if effective else now,
        material=not editorial,
    )
    confirmed(f"Publish version {deed.version} of {which} for good?", yes)
    new = perform_for_all(connection, deed)
    note(f"version {deed.version} of {which} {'is published' if new else 'was published before'}")
    if as_json:
        print_json({"policy": which, "policy_version": deed.version, "published": new})


@policy.command(name="list")
@click.argument("which", metavar="[POLICY]", type=POLICIES, required=False)
@stack_options
@json_option
def list_versions(connection: Connection, which: str | None, as_json: bool) -> None:
    """Published versions, the newest first, and which is in force.

    \b
    Example:
      nilometer policy list terms
    """
    store, now = connection.store(), connection.now
    found = []
    for one in [rules.Policy(which)] if which else rules.Policy:
        versions = policies.versions(store, one)
        current = rules.in_force(versions, now)
        found += [{**_named(item, _VERSION), "in_force": item is current} for item in versions]
    if not found and not as_json:
        note("nothing is published")
        return
    _show(found, ("policy", ">version", "effective_at", "material", "in_force", "~url"), as_json)


@policy.command()
@click.argument("user_id", metavar="USER")
@stack_options
@json_option
def outstanding(connection: Connection, user_id: str, as_json: bool) -> None:
    """Versions in force that USER has not accepted yet.

    \b
    Example:
      nilometer policy outstanding user_ada
    """
    missing = policies.outstanding_of(connection.store(), user_id, now=connection.now)
    found = [_named(item, _VERSION) for item in missing]
    if not found and not as_json:
        note(f"{user_id} has accepted all that is in force")
        return
    _show(found, ("policy", ">version", "effective_at", "~url"), as_json)


@policy.command()
@click.argument("user_id", metavar="USER")
@stack_options
@json_option
def acceptances(connection: Connection, user_id: str, as_json: bool) -> None:
    """All acceptances of USER. --json also has the hash of the address and the user agent.

    \b
    Example:
      nilometer policy acceptances user_ada --json
    """
    _show_acceptances(policies.acceptances_of(connection.store(), user_id), as_json)


@policy.command()
@click.argument("which", metavar="POLICY", type=POLICIES)
@click.argument("number", metavar="VERSION", type=click.IntRange(1))
@stack_options
@json_option
def accepted(connection: Connection, which: str, number: int, as_json: bool) -> None:
    """Who accepted one version of POLICY, the earliest first.

    \b
    Example:
      nilometer policy accepted terms 2
    """
    _show_acceptances(policies.accepted_by(connection.store(), Policy(which), number), as_json)


def _next(versions: Sequence[Mapping[str, Any]]) -> int:
    return max((int(item["policy_version"]) for item in versions), default=0) + 1


def _show_acceptances(items: Iterable[Mapping[str, Any]], as_json: bool) -> None:
    found = [_named(item, _ACCEPTANCE) for item in items]
    if not found and not as_json:
        note("no acceptance")
        return
    _show(found, ("user", "policy", ">version", "accepted_at", "workspace"), as_json)


def _named(item: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    names = {"policy_version": "version", "user_id": "user", "workspace_id": "workspace"}
    return {names.get(name, name): item[name] for name in fields}


def _show(found: Sequence[Mapping[str, Any]], columns: Sequence[str], as_json: bool) -> None:
    if as_json:
        print_json_lines(found)
        return
    out().print(table(columns, ([one[column.lstrip(">~")] for column in columns] for one in found)))
