"""How long a process was on a processor: the same however many others wait for one."""

from __future__ import annotations

import os

_TICKS = os.sysconf("SC_CLK_TCK")
_STAT_BYTES = 4096  # it is one line of some 50 numbers
_USER, _SYSTEM = 11, 12  # of the fields after the name in brackets; proc(5), /proc/pid/stat


def cpu_seconds(pid: int) -> float:
    """Of all its threads since it began, in steps of 10 ms; 0 of what has ended, and on systems without /proc."""
    try:
        file = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
        try:
            _, _, fields = os.read(file, _STAT_BYTES).rpartition(b")")
        finally:
            os.close(file)
    except OSError:
        return 0.0
    numbers = fields.split()
    return (int(numbers[_USER]) + int(numbers[_SYSTEM])) / _TICKS
