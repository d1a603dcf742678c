"""`nilometer attachment`: large values of a workspace, which rest in S3."""

from __future__ import annotations

from pathlib import Path

import click

from nilometer.cli.terminal.caller import InWorkspace, in_workspace, row
from nilometer.cli.terminal.groups import SectionedGroup
from nilometer.cli.terminal.output import echo, json_option, note, print_json, print_rows
from nilometer.domain.people.attachment import AttachmentPurpose
from nilometer.flows.people import attachments

_purpose = click.option(
    "--purpose", type=click.Choice(["avatar", "export", "attachment"]), default="attachment", show_default=True
)


@click.group(cls=SectionedGroup)
def attachment() -> None:
    """Avatars, exports and attachments of a workspace, each known by the hash of its content."""


@attachment.command()
@in_workspace
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_purpose
@click.option("--type", "content_type", required=True, help="image/png")
@json_option
def add(at: InWorkspace, file: Path, purpose: str, content_type: str, as_json: bool) -> None:
    """Keep FILE, up to 10 MB, in workspace W. Doing it again changes nothing.

    \b
    Example:
      nilometer attachment add acme logo.png --purpose avatar --type image/png
    """
    kept = attachments.attach(
        at.store,
        at.caller,
        file.read_bytes(),
        objects=at.connection.objects(),
        purpose=AttachmentPurpose(purpose),
        content_type=content_type,
        now=at.now,
    )
    if as_json:
        print_json(row(kept))
        return
    note(f"{kept.size} bytes are kept as {kept.purpose}, by their hash:")
    echo(kept.sha256)


@attachment.command(name="list")
@in_workspace
@_purpose
@json_option
def list_attachments(at: InWorkspace, purpose: str, as_json: bool) -> None:
    """What workspace W keeps of one purpose.

    \b
    Example:
      nilometer attachment list acme --purpose export
    """
    rows = [row(one) for one in attachments.attached(at.store, at.caller, purpose=AttachmentPurpose(purpose))]
    columns = ("sha256", "size", "content_type", "added_at", "added_by")
    print_rows(columns, rows, as_json=as_json, empty=f"no {purpose} in {at.caller.workspace_id}")


@attachment.command()
@in_workspace
@click.argument("sha256")
@_purpose
def get(at: InWorkspace, sha256: str, purpose: str) -> None:
    """The content with this hash, to stdout, once it is what its hash says.

    \b
    Example:
      nilometer attachment get acme 5891b5b522d5df08... --purpose avatar > logo.png
    """
    objects = at.connection.objects()
    content = attachments.fetch(at.store, at.caller, sha256, objects=objects, purpose=AttachmentPurpose(purpose))
    click.echo(content, nl=False)
