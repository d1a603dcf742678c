"""Groups of commands whose help shows whole summaries, in the order in which the commands are defined."""

from __future__ import annotations

from collections.abc import Iterator

import click

_WHOLE = 1_000  # characters: no summary is longer


class SectionedGroup(click.Group):
    """Lists its commands under titles; what `sections` answers is shown as it is, wrapped and never cut."""

    group_class = type  # groups below it are of the same class

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of definition, which follows the work; not by alphabet."""
        return list(self.commands)

    def sections(self, ctx: click.Context) -> Iterator[tuple[str, list[tuple[str, str]]]]:
        """(title, [(name, summary)])."""
        named = ((name, self.commands[name]) for name in self.list_commands(ctx))
        yield "Commands", [(name, one.get_short_help_str(_WHOLE)) for name, one in named if not one.hidden]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What click calls for the list in `--help`."""
        for title, rows in self.sections(ctx):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


class DefaultGroup(SectionedGroup):
    """A group that takes what follows for its command `default` when no command is named."""

    default: str

    def __init__(self, *args: object, default: str, alone: bool = False, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # click's own parameters, handed through
        self.default = default
        self._alone = alone  # whether nothing at all means the default too

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Puts the default's name in front where none is."""
        named = args[0] in {*self.commands, *ctx.help_option_names} if args else not self._alone
        return super().parse_args(ctx, args if named else [self.default, *args])
