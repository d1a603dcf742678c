"""`nilometer datasets`: tables of the lake that internal services feed in batches."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from typing import IO, Any

import click
import msgspec

import nilometer
from nilometer.cli.terminal.caller import SOURCE, perform_for_all
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.groups import SectionedGroup
from nilometer.cli.terminal.output import json_option, note, print_json, print_rows
from nilometer.cli.terminal.rejects import rejects
from nilometer.cli.terminal.visible import visible_json
from nilometer.domain.lake.dataset import FOLDER, Dataset, DeclaredColumn
from nilometer.errors import Refused
from nilometer.flows.lake import declaring


@click.group(cls=SectionedGroup)
def datasets() -> None:
    """Tables of the lake that internal services write in batches, by append or merge."""


datasets.add_command(rejects("datasets", "Rejected batches"))


@datasets.command()
@click.argument("name", metavar="DATASET")
@click.option("--mode", type=click.Choice(["append", "merge"]), required=True, help="merge keeps one row per key.")
@click.option(
    "--column",
    "columns",
    multiple=True,
    required=True,
    metavar="NAME:TYPE[:null]",
    help="string, json, int64, timestamp, date, decimal, bool or double; repeatable.",
)
@click.option("--key", multiple=True, metavar="NAME", help="A key column, which identifies a row; repeatable.")
@click.option(
    "--order-by",
    metavar="NAME",
    help="Of the rows with the same key, the one with the highest value in this column stays.",
)
@click.option("--owner", metavar="SOURCE", help="The only source that may write it; without it, any source may.")
@click.option(
    "--partition-by", metavar="NAME", help="A date or string column with few values that most queries filter by."
)
@click.option("--description", help="Stays unless given, like the descriptions of columns.")
@stack_options
@json_option
def declare(
    connection: Connection,
    *,
    name: str,
    mode: str,
    columns: tuple[str, ...],
    key: tuple[str, ...],
    order_by: str | None,
    owner: str | None,
    partition_by: str | None,
    description: str | None,
    as_json: bool,
) -> None:
    """Declare DATASET, or further columns of it, which are nullable. Doing it again changes nothing.

    A column is never dropped, renamed or changed in type: give all columns each time.

    \b
    Example:
      nilometer datasets declare crm_contacts --mode merge --key contact_id --order-by updated_at \\
        --column contact_id:string --column updated_at:timestamp --column stage:string:null
    """
    store = connection.store()
    known = declaring.declared(store, name)
    wanted: Any = mode  # click has checked it
    deed = nilometer.DeclareDataset(
        dataset=name,
        mode=wanted,
        columns=[_described(_column(one), known) for one in columns],
        key=key,
        order_by=order_by,
        owner=owner,
        partition_by=partition_by,
        description=description if description is not None else known.description if known else "",
    )
    changed = perform_for_all(connection, deed)
    note(f"dataset {name} {'declared' if changed else 'is declared so already'}")
    if as_json:
        print_json({**_shown(deed.said()), "changed": changed})


@datasets.command()
@click.argument("name", metavar="DATASET")
@click.option("--note", "instead", help="What to use instead, and from when.")
@stack_options
def deprecate(connection: Connection, name: str, instead: str | None) -> None:
    """Mark DATASET as deprecated: it is written and read as before, and lists show the mark.

    \b
    Example:
      nilometer datasets deprecate crm_contacts --note "crm_people has them from 2027 on"
    """
    _change(connection, nilometer.ChangeDataset(dataset=name, status="deprecated", note=instead or nilometer.UNSAID))


@datasets.command()
@click.argument("name", metavar="DATASET")
@click.option("--yes", is_flag=True, help="Do not ask.")
@stack_options
def drop(connection: Connection, name: str, yes: bool) -> None:
    """Accept no more batches of DATASET. Its files stay readable until you delete them; its name stays reserved.
    `restore` undoes it.

    \b
    Example:
      nilometer datasets drop crm_contacts
    """
    if not yes:
        click.confirm(f"Drop dataset {name}: batches of it are refused from now on?", abort=True, err=True)
    _change(connection, nilometer.ChangeDataset(dataset=name, status="dropped"))
    lake = connection.description.lake_uri
    note(f"to delete its files: aws s3 rm {lake}/{FOLDER}/{name}/ --recursive")


@datasets.command()
@click.argument("name", metavar="DATASET")
@stack_options
def restore(connection: Connection, name: str) -> None:
    """Restore DATASET: it is neither dropped nor deprecated then.

    \b
    Example:
      nilometer datasets restore crm_contacts
    """
    _change(connection, nilometer.ChangeDataset(dataset=name, status="active", note=""))


@datasets.command()
@click.argument("name", metavar="DATASET")
@click.argument("owner", metavar="SOURCE", required=False)
@click.option("--anybody", is_flag=True, help="Any source may write it.")
@stack_options
def give(connection: Connection, name: str, owner: str | None, anybody: bool) -> None:
    """Let only SOURCE write DATASET from now on.

    \b
    Example:
      nilometer datasets give crm_contacts /services/crm2
    """
    if anybody is (owner is not None):
        raise click.UsageError("give a source, or --anybody")
    _change(connection, nilometer.ChangeDataset(dataset=name, owner=owner))


@datasets.command(name="list")
@stack_options
@json_option
def list_datasets(connection: Connection, as_json: bool) -> None:
    """Every dataset.

    \b
    Example:
      nilometer datasets list --json | jq -r .dataset
    """
    rows = [_shown(one) for one in declaring.all_datasets(connection.store())]
    shown = rows if as_json else [{**row, "key": ", ".join(row["key"]), "columns": len(row["columns"])} for row in rows]
    empty = "no dataset yet; declare one with `nilometer datasets declare`"
    columns = ("dataset", "status", "mode", "key", "order_by", "owner", ">columns", "~description")
    print_rows(columns, shown, as_json=as_json, empty=empty)


@datasets.command()
@click.argument("name", metavar="DATASET")
@stack_options
@json_option
def show(connection: Connection, name: str, as_json: bool) -> None:
    """The declared columns of DATASET.

    \b
    Example:
      nilometer datasets show crm_contacts
    """
    found = _declared(connection, name)
    if as_json:
        print_json(_shown(found))
        return
    key = f", key {', '.join(found.key)}" if found.key else ""
    order = f", the highest {found.order_by} stays" if found.order_by else ""
    rest = "".join(
        f", {what} {value}"
        for what, value in (("partitioned by", found.partition_by), ("fed by", found.owner))
        if value is not None
    )
    ends = "" if found.status == "active" else f"; {found.status}{': ' if found.note else ''}{found.note}"
    note(f"{found.name}: {found.mode}{key}{order}{rest}{ends}")
    print_rows(("name", "type", "nullable", "~description"), _shown(found)["columns"], as_json=False, empty="")


@datasets.command()
@click.argument("name", metavar="DATASET")
@click.argument("file", type=click.File("rb"))
@click.option(
    "--id",
    "batch_id",
    metavar="ID",
    help="The batch's id: the same id is written once. The file's SHA-256 unless given.",
)
@click.option("--source", default=SOURCE, show_default=True, help="The sender; source and id identify the batch.")
@click.option("--inline", is_flag=True, help="For few rows: put them in the event itself, without an S3 object.")
@stack_options
@json_option
def send(
    connection: Connection,
    *,
    name: str,
    file: IO[bytes],
    batch_id: str | None,
    source: str,
    inline: bool,
    as_json: bool,
) -> None:
    """Send the rows of FILE (- is stdin), Parquet or one JSON object per line, to DATASET as one batch.

    \b
    Examples:
      nilometer datasets send crm_contacts contacts.parquet --id 2026-11-23
      echo '{"contact_id": "1", "updated_at": "2026-11-23T04:00:00Z"}' | nilometer datasets send crm_contacts - --inline
    """
    from nilometer.flows.publish import datasets as feeding

    _declared(connection, name)
    content = file.read()
    given: dict[str, Any] = {
        "dataset": name,
        "batch_id": batch_id or hashlib.sha256(content).hexdigest(),
        "source": source,
        "now": connection.now,
    }
    is_parquet = content.startswith(b"PAR1")
    if inline and is_parquet:
        raise click.UsageError("--inline is for JSON; a Parquet file goes through the landing prefix")
    if inline:
        event = feeding.send_rows(connection.bus(), feeding.lines(content), **given)
    else:
        format_ = "parquet" if is_parquet else "ndjson"
        event = feeding.send_file(connection.bus(), connection.landing(), content, format_=format_, **given)
    note(f"batch {event['id']} announced to {name}")
    if as_json:
        click.echo(visible_json(msgspec.json.encode(event).decode()))


def _change(connection: Connection, deed: nilometer.ChangeDataset) -> None:
    _declared(connection, deed.dataset)
    changed = perform_for_all(connection, deed)
    note(f"dataset {deed.dataset} {'changed' if changed else 'is so already'}")


def _column(text: str) -> DeclaredColumn:
    name, _, rest = text.partition(":")
    type_, _, null = rest.partition(":")
    if null not in {"", "null"}:
        raise click.UsageError(f"--column {text}: write NAME:TYPE, or NAME:TYPE:null for one that may be empty")
    wanted: Any = type_  # whether there is such a type is the deed's question
    return nilometer.DeclaredColumn(name=name, type=wanted, nullable=bool(null))


def _described(column: DeclaredColumn, known: Dataset | None) -> DeclaredColumn:
    descriptions = {one.name: one.description for one in known.columns} if known else {}
    return replace(column, description=descriptions.get(column.name, ""))


def _declared(connection: Connection, name: str) -> Dataset:
    found = declaring.declared(connection.store(), name)
    if found is None:
        raise Refused(f"there is no dataset {name}; `nilometer datasets list` shows them")
    return found


def _shown(dataset: Dataset) -> dict[str, Any]:
    found = asdict(dataset)
    return {"dataset": found.pop("name"), **found}
