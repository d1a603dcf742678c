"""`nilometer replay`: events again, from a file, from EventBridge's archive, from the lake."""

from __future__ import annotations

import click

from nilometer.cli.recovery.replay_archive import replay_archive
from nilometer.cli.recovery.replay_file import replay_file
from nilometer.cli.recovery.replay_lake import replay_lake


class _Replay(click.Group):
    """`nilometer replay FILE` is `nilometer replay file FILE`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = not args or args[0] in {*self.commands, *ctx.help_option_names}
        return super().parse_args(ctx, args if named else ["file", *args])


@click.group(cls=_Replay)
def replay() -> None:
    """Send events again: what has been taken before is dropped.

    \b
    nilometer replay FILE          Stripe events, one JSON a line, through the webhook
    nilometer replay archive       what was on the bus in the last 90 days, by EventBridge (on AWS)
    nilometer replay lake usage    usage that the lake has and the tables lost
    """


for command in (replay_file, replay_archive, replay_lake):
    replay.add_command(command)
