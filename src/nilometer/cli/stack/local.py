"""`nilometer local`: the stack, until Ctrl-C."""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nilometer.cli.terminal.output import err, json_option, note, out
from nilometer.cli.terminal.signals import signals_interrupt
from nilometer.errors import Unavailable

if TYPE_CHECKING:
    from rich.console import Group

    from nilometer.local.stack.stack import Options, Stack
    from nilometer.local.workers.chaos import Chaos


@click.command()
@click.option("--port", default=8787, show_default=True, help="Of the webhook; 0 is a free one.")
@click.option("--aws-port", default=4566, show_default=True, help="Of the AWS endpoint; 0 is a free one.")
@click.option("--name", help="By which `--stack` of the other commands finds it.")
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), help="Keep the state in this folder.")
@click.option("--stripe-secret", multiple=True, metavar="whsec_...", help="Signing secret; repeat it to rotate.")
@click.option("--stripe", is_flag=True, help="Run `stripe listen` beside it, with its signing secret.")
@click.option("--reload", is_flag=True, help="Restart the functions when a file of the sources changes.")
@click.option("--chaos", metavar="KIND=P,...", help="Inject faults, such as duplicate=0.1,kill=0.01.")
@click.option("--chaos-seed", type=int, default=0, show_default=True, help="The same seed gives the same faults.")
@click.option("--webhooks", is_flag=True, help="Send webhooks of workspaces, also to http://127.0.0.1.")
@click.option("--addresses", metavar="URL", help="Mail notifications through SES of this stack; URL has addresses.")
@click.option("--quiet", "-q", is_flag=True, help="Print no line per event.")
@json_option
def local(
    *,
    port: int,
    aws_port: int,
    name: str | None,
    data: Path | None,
    stripe_secret: tuple[str, ...],
    stripe: bool,
    reload: bool,
    chaos: str | None,
    chaos_seed: int,
    webhooks: bool,
    addresses: str | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Run the whole stack on this machine; no AWS account, no Docker.

    Ready when it prints its addresses; then it prints a line for each event and refusal. The console's address opens in
    a browser. Any AWS client can use the endpoint. Ctrl-C stops it.

    --stripe forwards the events of your Stripe sandbox: it starts Stripe's command line (`stripe login` first), uses
    its signing secret and stops it with the stack.

    \b
    Examples:
      nilometer local --data ./state
      nilometer local --name shop --port 0 --aws-port 0
      nilometer local --stripe
      nilometer local --reload --quiet
    """
    from nilometer.local.plane.deploy import LOCAL_MAIL
    from nilometer.local.stack.stack import stack
    from nilometer.local.stack.stripe_cli import listening_secret

    secrets = (listening_secret(), *stripe_secret) if stripe else stripe_secret
    options = _options(port, aws_port, name, data, secrets, chaos, chaos_seed)
    asked = {"EmailDomain": LOCAL_MAIL, "EmailAddresses": addresses} if addresses else {}
    options = replace(options, parameters={"Webhooks": "true", **asked}) if webhooks or addresses else options
    with signals_interrupt():
        try:
            with _starting(as_json), contextlib.ExitStack() as started:
                running = started.enter_context(stack(options))
                held = started.pop_all()
        except KeyboardInterrupt:
            return 0
        with held:
            looks = list(_looks(running, held, stripe=stripe, reload=reload, quiet=quiet or as_json))
            return _serve(running, looks, as_json=as_json)


def _options(
    port: int,
    aws_port: int,
    name: str | None,
    data: Path | None,
    secrets: tuple[str, ...],
    chaos: str | None,
    seed: int,
) -> Options:
    from nilometer.local.plane.deploy import STRIPE_SECRET
    from nilometer.local.stack.stack import Options

    if name and not re.fullmatch("[a-z0-9-]{1,40}", name):
        raise click.BadParameter("small letters, digits and hyphens, at most 40", param_hint="--name")
    for secret in secrets:
        if not secret.startswith("whsec_") or secret.split() != [secret]:
            raise click.BadParameter("a signing secret starts with whsec_", param_hint="--stripe-secret")
    return Options(
        port=port,
        aws_port=aws_port,
        name=name,
        data=data,
        stripe_secrets=secrets or (STRIPE_SECRET,),
        chaos=_chaos(chaos, seed) if chaos else None,
    )


def _looks(
    running: Stack, held: contextlib.ExitStack, *, stripe: bool, reload: bool, quiet: bool
) -> Iterator[Callable[[], None]]:
    """What is looked after again and again while the stack runs; what that needs ends before the stack does."""
    if not quiet:
        yield _events(running)
    if reload:
        yield _sources(running)
    if stripe:
        yield _stripe(running, held)


def _events(running: Stack) -> Callable[[], None]:
    from nilometer.cli.console.listen import echo_line, news
    from nilometer.console.events.feed import LogFolder

    lines = LogFolder(running.runner.logs)
    list(lines.poll())  # what was before is no news

    def look() -> None:
        for one in news(lines):
            echo_line(one)

    return look


def _sources(running: Stack) -> Callable[[], None]:
    from nilometer.local.stack.sources_watch import SourcesWatch

    watch = SourcesWatch()

    def look() -> None:
        if changed := watch.changed():
            running.runner.reload()
            more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
            note(f"{changed[0]}{more} changed: the functions start again")

    return look


def _stripe(running: Stack, held: contextlib.ExitStack) -> Callable[[], None]:
    """Says once when Stripe's command line ends; the stack stays."""
    from nilometer.local.stack.stripe_cli import listening

    url = running.description.webhook_url
    listener = held.enter_context(listening(url))
    said = False

    def look() -> None:
        nonlocal said
        if listener.ended and not said:
            said = True
            note(f"`stripe listen` ended; run `stripe listen --forward-to {url}` in another terminal to see why")

    return look


def _serve(running: Stack, looks: Sequence[Callable[[], None]], *, as_json: bool) -> int:
    """Until a signal, or until the engine is gone."""
    from nilometer.cli.console.beside import ConsoleBeside
    from nilometer.cli.console.listen import LOOK_SECONDS

    beside = ConsoleBeside(running.runner.port)
    running.runner.register("GET /", beside.redirect)
    try:
        _announce(running, as_json)
        while not running.failed:
            time.sleep(LOOK_SECONDS)
            for look in looks:
                look()
    except KeyboardInterrupt:
        note("stopping: letting the last changes reach the lake ...")
        return 0
    finally:
        beside.stop()
    raise Unavailable("the local engine ended; its log is engine.log in the data folder")


def _announce(running: Stack, as_json: bool) -> None:
    for warning in running.warnings:
        note(f"Warning: {warning}")
    if as_json:
        click.echo(running.description.as_json())
        sys.stdout.flush()
    else:
        out().print(_summary(running))


def _summary(running: Stack) -> Group:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    stack = running.description
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    for name, value in (
        *([("name", stack.name)] if stack.name else []),
        ("console", f"{stack.origin}/"),
        ("webhook", stack.webhook_url),
        ("signing secret", stack.stripe_secret),
        ("AWS endpoint", f"{stack.aws_endpoint_url} ({stack.region}, any credentials)"),
        ("bus", stack.bus),
        ("records", stack.records_table),
        ("events", stack.events_table),
        ("lake", stack.lake_uri),
        ("data", stack.data or "a temporary folder, gone at the end; --data DIR keeps it"),
    ):
        grid.add_row(name, value)
    hint = "Try `nilometer trigger customer.subscription.updated` in another terminal. Ctrl-C stops."
    return Group(Text("nilometer is running\n", style="bold green"), grid, Text(f"\n{hint}", style="dim"))


@contextlib.contextmanager
def _starting(as_json: bool) -> Iterator[None]:
    """A spinner for people who watch."""
    if as_json:
        yield
        return
    with err().status("starting the engine, deploying template.yaml, starting the functions ..."):
        yield


def _chaos(text: str, seed: int) -> Chaos:
    from nilometer.local.workers.chaos import Chaos

    kinds = {field.name for field in fields(Chaos)} - {"seed"}
    chosen: dict[str, Any] = {}
    for part in text.split(","):
        kind, _, probability = part.partition("=")
        if kind not in kinds:
            raise click.BadParameter(f"{kind!r} is none of {', '.join(sorted(kinds))}", param_hint="--chaos")
        chosen[kind] = True if kind == "http" else _probability(part, probability)
    return Chaos(seed=seed, **chosen)


def _probability(part: str, text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= float(text) <= 1:
            return float(text)
    raise click.BadParameter(f"{part!r} needs a probability from 0 to 1", param_hint="--chaos")
