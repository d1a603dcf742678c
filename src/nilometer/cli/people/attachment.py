"""`nilometer attachment`: large values of a workspace, which rest in S3."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

import nilometer
from nilometer.cli.terminal.caller import InWorkspace, in_workspace, row
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.groups import SectionedGroup
from nilometer.cli.terminal.output import echo, json_option, note, print_json, print_rows
from nilometer.domain.people.attachment import AttachmentPurpose, described
from nilometer.flows.people import attachments, sweeping

_purpose = click.option(
    "--purpose", type=click.Choice(["avatar", "export", "attachment"]), default="attachment", show_default=True
)


_seconds = click.option(
    "--seconds", type=click.IntRange(1, 3600), default=300, show_default=True, help="How long it is valid."
)


def _of_file(command: Callable[..., None]) -> Callable[..., None]:
    """What a command asks for that says an attachment by its content."""
    file = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
    return file(_purpose(click.option("--type", "content_type", required=True, help="image/png")(command)))


@click.group(cls=SectionedGroup)
def attachment() -> None:
    """Avatars, exports and attachments of a workspace, identified by the hash of their content."""


@attachment.command()
@in_workspace
@_of_file
@json_option
def add(at: InWorkspace, file: Path, purpose: str, content_type: str, as_json: bool) -> None:
    """Store FILE, up to 10 MB, in workspace W. Doing it again changes nothing.

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
    """Attachments of workspace W with one purpose.

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
def remove(at: InWorkspace, sha256: str, purpose: str) -> None:
    """Remove an attachment of workspace W. The next sweep deletes its content, unless another purpose uses it.

    \b
    Example:
      nilometer attachment remove acme 5891b5b522d5df08... --purpose avatar
    """
    deed = nilometer.RemoveAttachment(purpose=AttachmentPurpose(purpose), sha256=sha256)
    note(f"{purpose} {sha256[:12]} {'removed' if at.perform(deed) else 'was removed before'}")


@attachment.command()
@in_workspace
@click.argument("sha256")
@_purpose
@_seconds
def url(at: InWorkspace, sha256: str, purpose: str, seconds: int) -> None:
    """A signed address; anyone who has it may download the content for some minutes.

    \b
    Example:
      curl --output logo.png "$(nilometer attachment url acme 5891b5b522d5df08... --purpose avatar)"
    """
    given: dict[str, Any] = {"objects": at.connection.objects(), "purpose": AttachmentPurpose(purpose)}
    echo(attachments.download_url(at.store, at.caller, sha256, seconds=seconds, **given))


@attachment.command()
@in_workspace
@_of_file
@_seconds
@json_option
def upload_url(at: InWorkspace, *, file: Path, purpose: str, content_type: str, seconds: int, as_json: bool) -> None:
    """A signed address to which only FILE may be uploaded; `uploaded` stores it then.

    \b
    Example:
      nilometer attachment upload-url acme logo.png --purpose avatar --type image/png
    """
    deed = described(file.read_bytes(), purpose=AttachmentPurpose(purpose), content_type=content_type)
    made = attachments.upload(at.store, at.caller, deed, objects=at.connection.objects(), seconds=seconds)
    if as_json:
        print_json({"url": made.url, "headers": dict(made.headers), "sha256": deed.sha256})
        return
    headers = " ".join(f"--header '{name}: {value}'" for name, value in made.headers.items())
    note("upload it, then store it with `nilometer attachment uploaded` and the same arguments:")
    echo(f"curl --upload-file {shlex.quote(str(file))} {headers} '{made.url}'")


@attachment.command()
@in_workspace
@_of_file
@json_option
def uploaded(at: InWorkspace, file: Path, purpose: str, content_type: str, as_json: bool) -> None:
    """Store what was uploaded to a signed address, if its content is that of FILE.

    \b
    Example:
      nilometer attachment uploaded acme logo.png --purpose avatar --type image/png
    """
    deed = described(file.read_bytes(), purpose=AttachmentPurpose(purpose), content_type=content_type)
    objects = at.connection.objects()
    kept = attachments.attach_uploaded(at.store, at.caller, deed, objects=objects, now=at.now)
    print_json(row(kept)) if as_json else echo(kept.sha256)


@attachment.command()
@click.option("--dry-run", is_flag=True, help="Only print what would be deleted.")
@stack_options
@json_option
def sweep(connection: Connection, dry_run: bool, as_json: bool) -> None:
    """Delete contents older than a day that no attachment uses. Run it daily.

    \b
    Example:
      nilometer attachment sweep --dry-run
    """
    found = list(sweeping.sweep(connection.store(), connection.objects(), now=connection.now, dry_run=dry_run))
    rows = [{"object": key} for key in found]
    print_rows(("object",), rows, as_json=as_json, empty="every content is named by an attachment")


@attachment.command()
@in_workspace
@click.argument("sha256")
@_purpose
def get(at: InWorkspace, sha256: str, purpose: str) -> None:
    """Write the content with this hash to stdout, after checking it against the hash.

    \b
    Example:
      nilometer attachment get acme 5891b5b522d5df08... --purpose avatar > logo.png
    """
    objects = at.connection.objects()
    content = attachments.fetch(at.store, at.caller, sha256, objects=objects, purpose=AttachmentPurpose(purpose))
    click.echo(content, nl=False)
