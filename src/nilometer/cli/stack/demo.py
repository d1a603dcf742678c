"""`nilometer demo`: everything once, in half a minute."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nilometer.cli.billing.commands import billing_table
from nilometer.cli.lake.query import rows_table
from nilometer.cli.terminal.output import err, json_option, out, print_json
from nilometer.cli.terminal.signals import signals_interrupt
from nilometer.cli.usage.commands import as_plain, usage_table

if TYPE_CHECKING:
    from nilometer.local.demo.demo import DemoCheck, DemoProgress, DemoReport

DIFFERENT = 3


@click.command()
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Keep the state in DIR.")
@json_option
def demo(keep: Path | None, as_json: bool) -> int:
    """Send a company's month through a new stack, with copies and in disorder, and compare the result.

    Exit code 3 when anything differs from what was sent.

    \b
    Examples:
      nilometer demo
      nilometer demo --keep ./state && nilometer local --data ./state
    """
    from nilometer.local.demo.demo import demo as play

    with signals_interrupt(), progress_bars() as progress:
        report = play(keep=keep, progress=progress)
    if as_json:
        print_json(_plain(report))
    else:
        _show(report, keep)
    return 0 if report.passed else DIFFERENT


def _show(report: DemoReport, keep: Path | None) -> None:
    console = out()
    stripe, usage = report.stripe, report.usage
    _heading("Billing", "what Stripe's events made of each workspace, whatever their order")
    console.print(billing_table(report.billing))
    _heading("Usage", "counted exactly once, against the limits of the plan")
    console.print(usage_table((one.workspace, meter) for one in report.used for meter in one.meters if meter.count))
    _heading("Lake", "every fact and every change, in Delta tables")
    for described in report.tables:
        if sample := report.samples.get(described.name):
            console.print(f"[bold]{described.name}[/bold]  {described.rows:,} rows, version {described.version}")
            console.print(rows_table(sample.columns, sample.rows))
    console.print(f"Stripe's objects, each state with its time: {_objects(report)}")
    _heading("A question", "in SQL, over the Delta tables")
    console.print(f"[cyan]{report.question}[/cyan]")
    console.print(rows_table(report.answer.columns, report.answer.rows))
    _heading("Exactly once", "")
    console.print(
        f"{stripe.deliveries} webhooks, [bold]{stripe.copies} duplicates dropped[/bold]; "
        f"{usage.deliveries:,} usage events, [bold]{usage.copies} duplicates dropped[/bold]."
    )
    for check in report.checks:
        console.print(_verdict(check))
    console.print(f"\n{report.seconds:.0f} s, of which {report.start_seconds:.0f} s to start the stack. {_next(keep)}")


def _objects(report: DemoReport) -> str:
    """Tables without rows are those of objects that the company does not have."""
    others = (one for one in report.tables if one.name not in report.samples and one.rows)
    return ", ".join(f"{one.name} {one.rows:,}" for one in others)


def _heading(title: str, text: str) -> None:
    out().print(f"\n[bold green]{title}[/bold green]  [dim]{text}[/dim]")


def _verdict(check: DemoCheck) -> str:
    from rich.markup import escape

    return (
        f"[green]✓[/green] {check.promise}" if check.held else f"[red]✗ {check.promise}: {escape(check.detail)}[/red]"
    )


def _next(keep: Path | None) -> str:
    return f"Go on: nilometer local --data {keep}" if keep else "Next: nilometer local"


def _plain(report: DemoReport) -> dict[str, Any]:
    return {
        "passed": report.passed,
        "seconds": report.seconds,
        "start_seconds": report.start_seconds,
        "stripe": {**asdict(report.stripe), "duplicates_dropped": report.stripe.copies},
        "usage": {**asdict(report.usage), "duplicates_dropped": report.usage.copies},
        "checks": [asdict(check) for check in report.checks],
        "billing": list(report.billing),
        "used": [
            {"workspace": one.workspace, "meters": [as_plain(meter) for meter in one.meters]} for one in report.used
        ],
        "tables": [asdict(described) for described in report.tables],
        "answer": [dict(zip(report.answer.columns, row, strict=True)) for row in report.answer.rows],
    }


@contextmanager
def progress_bars() -> Iterator[DemoProgress]:
    """Stages on stderr, each with a bar while it can be counted, and a tick when it is done."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description}"),
        BarColumn(24),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err()) as bars:
        stages = _Stages(bars)
        yield stages
        stages.finish()


class _Stages:
    def __init__(self, bars: Any) -> None:
        self._bars = bars
        self._task: Any = None

    def stage(self, text: str, total: int | None = None) -> None:
        self.finish()
        self._task = self._bars.add_task(text, total=total)

    def advance(self) -> None:
        self._bars.advance(self._task)

    def finish(self) -> None:
        if self._task is not None:
            self._bars.update(self._task, total=1, completed=1)
