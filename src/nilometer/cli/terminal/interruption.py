"""Ctrl-C ends a command at once, also while a library computes and Python itself would learn of it much later."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator

INTERRUPTED = 130
_SHOW_CURSOR = "\x1b[?25h"


@contextlib.contextmanager
def interrupts_at_once() -> Iterator[None]:
    """While this lasts, SIGINT ends the process with 130, unless the command has a handler of its own.

    The number of a signal goes into a socket as soon as it comes, whatever the main thread does; a thread reads it.
    Ending so loses nothing: a command is prepared to die between any two of its requests.
    """
    if not _may_watch():
        yield
        return
    read, write = socket.socketpair()
    with read, write:
        write.setblocking(False)
        threading.Thread(target=_end_on_signal, args=(read,), daemon=True).start()
        before = signal.set_wakeup_fd(write.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            write.shutdown(socket.SHUT_RDWR)


def _may_watch() -> bool:
    return (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )


def _end_on_signal(read: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while number := read.recv(1):
            if number[0] == signal.SIGINT and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                if sys.stderr.isatty():
                    os.write(2, _SHOW_CURSOR.encode())
                os._exit(INTERRUPTED)
