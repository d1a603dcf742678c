"""`nilometer console`: the console of a stack, until Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import socket
import sys
import threading

import click

from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.output import echo, json_option, note
from nilometer.cli.terminal.signals import signals_interrupt
from nilometer.errors import Misconfigured

DEFAULT_PORT = 8788


@click.command()
@click.option("--listen", default=DEFAULT_PORT, show_default=True, help="Port of the console; 0 is a free one.")
@click.option("--embed", multiple=True, metavar="ORIGIN", help="An origin whose pages may frame /portal; repeatable.")
@click.option("--until-stdin-closes", is_flag=True, hidden=True, help="Stop with the process that started this one.")
@stack_options
@json_option
def console(
    connection: Connection, listen: int, embed: tuple[str, ...], until_stdin_closes: bool, as_json: bool
) -> int:
    """Serve the web console of a stack: events, workspaces, money, operations, SQL.

    It uses your credentials and listens on this machine only; for a stack on AWS it opens only with the key in the
    printed address. `nilometer local` serves the console of its own stack at its address. Ctrl-C stops it.

    \b
    Examples:
      nilometer console
      nilometer console --stack nilometer-prod
    """
    for origin in embed:
        if not re.fullmatch(r"https?://[A-Za-z0-9.*-]+(:[0-9]+)?", origin):
            raise click.BadParameter("an origin looks like https://app.example.com", param_hint="--embed")
    key = None if connection.is_local else secrets.token_urlsafe(24)
    with _socket(listen) as bound:
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/"
        address = f"{url}?key={key}" if key else url
        if as_json:
            echo(json.dumps({"url": address}))
        else:
            note("the console is running; Ctrl-C stops it")
            echo(address)
        sys.stdout.flush()
        with signals_interrupt():
            _serve(connection, bound, key, embed, until_stdin_closes)
    return 0


def _socket(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(("127.0.0.1", port))
    except OSError as error:
        bound.close()
        raise Misconfigured(f"port {port} is taken; choose another with --listen, or 0 for a free one") from error
    bound.listen()
    return bound


def _serve(
    connection: Connection, bound: socket.socket, key: str | None, embed: tuple[str, ...], until_stdin_closes: bool
) -> None:
    """Until a signal. What is connected is cut after a second."""
    import uvicorn

    from nilometer.cli.console.wiring import place
    from nilometer.console.app import application
    from nilometer.console.http.visitor import LaptopGate

    served = application(place(connection), gate=LaptopGate(key=key), embedders=embed)
    config = uvicorn.Config(served, log_level="error", access_log=False, timeout_graceful_shutdown=1, lifespan="off")
    server = uvicorn.Server(config)
    if until_stdin_closes:
        threading.Thread(target=_end_with_stdin, args=(server,), daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[bound])


def _end_with_stdin(server: object) -> None:
    """The pipe closes when the process that holds its other end is gone, however it ended."""
    sys.stdin.read()
    server.should_exit = True  # type: ignore[attr-defined]  # uvicorn's own way to stop a server
