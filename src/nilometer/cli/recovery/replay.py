"""`nilometer replay`: events again, from a file, from EventBridge's archive, from the lake."""

from __future__ import annotations

import click

from nilometer.cli.recovery.replay_archive import replay_archive
from nilometer.cli.recovery.replay_file import replay_file
from nilometer.cli.recovery.replay_lake import replay_lake
from nilometer.cli.terminal.groups import DefaultGroup


@click.group(cls=DefaultGroup, default="file")
def replay() -> None:
    """Send events again; duplicates are dropped.

    \b
    nilometer replay FILE          Stripe events, one JSON a line, through the webhook
    nilometer replay archive       what was on the bus in the last 90 days, by EventBridge (on AWS)
    nilometer replay lake usage    usage that is in the lake and not in the tables
    """


for command in (replay_file, replay_archive, replay_lake):
    replay.add_command(command)
