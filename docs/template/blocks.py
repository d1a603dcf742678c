"""The generated blocks of template.yaml, made from `docs/template/tables.py`. `python docs/generate.py` writes them.

Each is between `# >>> KIND NAME` and `# <<< KIND NAME`; a block may be in the template more than once. All else in
template.yaml is written by hand, the rights of every role too: a block `role NAME` ends inside its policy, and the
statements that follow it are its rights. Of a right on all queues the list of their ARNs is a block.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from docs.template import shapes, tables
from docs.template.catalog import catalog
from docs.template.tables import AlarmRow, Chart, FunctionRow, QueueRow, RatioRow, ScheduleRow

TEMPLATE = Path(__file__).parents[2] / "template.yaml"
_BLOCK = re.compile(r"^( *# >>> (\w+(?: \w+)?)\b.*\n)((?:.*\n)*?)^( *# <<< \2\b.*\n)", re.MULTILINE)


def blocks() -> dict[str, Callable[[], str]]:
    """What belongs between the markers of each name."""
    return {
        **{f"queue {row.name}": partial(_queue, row) for row in tables.QUEUES},
        **{f"role {row.name}": partial(_role, row) for row in tables.FUNCTIONS},
        **{f"schedule {row.name}": partial(_schedule, row) for row in tables.SCHEDULES},
        "dead letters": _dead_letters,
        "arns letters": lambda: _arns(tables.DEAD_LETTERS),
        "arns queues": lambda: _arns(tuple(f"{name}Queue" for name in _queue_names())),
        "canary alarms": lambda: "\n".join(_canary(row) for row in tables.FUNCTIONS if row.canary),
        "alarms": lambda: "\n".join([*map(_alarm, tables.alarms()), *map(_ratio, tables.ratios())]),
        "dashboard": _dashboard,
        "catalog": catalog,
    }


def filled(text: str) -> str:
    """The template with every block as the tables say. A name without its markers, or the reverse, is a KeyError."""
    made = blocks()
    if missing := made.keys() - {found[2] for found in _BLOCK.finditer(text)}:
        raise KeyError(f"template.yaml has no markers for {', '.join(sorted(missing))}")
    return _BLOCK.sub(lambda found: found[1] + made[found[2]]() + found[4], text)


def _fill(shape: str, **values: Any) -> str:
    """`<name>` stands for a value; a line that is empty for want of its value goes."""
    lines = ((was, re.sub(r"<(\w+)>", lambda found: str(values[found[1]]), was)) for was in shape.splitlines())
    return "".join(f"{line}\n" for was, line in lines if line.strip() or not was)


def _indented(text: str, by: int) -> str:
    return "".join(" " * by + line for line in text.splitlines(keepends=True))


def _queue(row: QueueRow) -> str:
    [timeout] = [one.timeout for one in tables.FUNCTIONS if one.name == row.function]
    parameter, longest, local = row.window if isinstance(row.window, tuple) else ("", row.window, row.window)
    above, note = row.note
    notes = {f"above_{name}": f"# {note}" if name == above else "" for name in ("BatchSize", tables.WINDOW)}
    made = _fill(
        shapes.QUEUE,
        **notes,
        name=row.name,
        function=row.function,
        batch=row.batch,
        concurrency=row.concurrency,
        read=row.read,
        visibility=6 * timeout + max(10, longest),
        condition=row.condition and f"Condition: {row.condition}",
        window=f"!If [OnAws, !Ref {parameter}, {local}]" if parameter else local,
    )
    return (_queue_policy(row) + "\n" if row.rules else "") + made


def _queue_policy(row: QueueRow) -> str:
    senders = "".join(_sender(row.name, rule, condition) for rule, condition in row.rules)
    when = row.condition and f"Condition: {row.condition}"
    return _fill(shapes.QUEUE_POLICY, name=row.name, condition=when) + _indented(senders, 10)


def _sender(queue: str, rule: str, condition: str) -> str:
    sender = _fill(shapes.SENDER, name=queue, rule=rule)
    if not condition:
        return sender
    return f"- !If\n  - {condition}\n{_indented(sender, 2)}  - !Ref AWS::NoValue\n"


def _dead_letters() -> str:
    """The environment variable, as `aws.dead_letters.places` reads it."""
    url = "  ${ScheduleDeadLetters}\n"
    named = "".join(
        f"  {name}DeadLetters,${{{name}DeadLetters.QueueName}},${{{name}Queue.QueueName}}\n" for name in _queue_names()
    )
    without_queue = "  ScheduleDeadLetters,${ScheduleDeadLetters.QueueName}\n"
    return _indented(f"DEAD_LETTERS: !Sub >-\n{url}{named}{without_queue}", 10)


def _queue_names() -> tuple[str, ...]:
    return tuple(row.name for row in tables.QUEUES)


def _arns(resources: tuple[str, ...]) -> str:
    """The resources of one right, a line each."""
    return _indented("".join(f"- !GetAtt {name}.Arn\n" for name in resources), 18)


def _role(row: FunctionRow) -> str:
    """Logs, trust, and the head of the policy; the rights that follow are written by hand."""
    receives = [_fill(shapes.RECEIVES, queue=queue) for queue in row.queues]
    when = row.condition and f"Condition: {row.condition}"
    return _fill(shapes.ROLE, name=row.name, policy=row.name.lower(), condition=when) + "".join(receives)


def _schedule(row: ScheduleRow) -> str:
    given = row.input and f"Input: '{row.input}'"
    plain = {"name": row.name, "expression": row.expression, "function": row.function}
    tries = {"retries": row.retries, "seconds": row.seconds}
    return _fill(shapes.SCHEDULE, **plain, **tries, input=given, note=row.note and f"# {row.note}")


def _alarm(row: AlarmRow) -> str:
    kind = "ExtendedStatistic" if row.statistic.startswith("p") else "Statistic"
    return _fill(
        shapes.ALARM,
        name=row.name,
        condition=row.condition,
        description=row.description,
        paragraph=row.paragraph,
        note=row.note and f"# {row.note}",
        namespace=row.namespace,
        metric=row.metric,
        dimensions=row.dimension[0] and f"Dimensions: [{{Name: {row.dimension[0]}, Value: {row.dimension[1]}}}]",
        statistic=f"{kind}: {row.statistic}",
        period=row.period,
    ) + _when(of=row.of, points=row.points, threshold=row.threshold, comparison=row.comparison, missing=row.missing)


def _ratio(row: RatioRow) -> str:
    said = {"name": row.name, "condition": row.condition, "description": row.description, "paragraph": row.paragraph}
    made = _fill(shapes.RATIO, **said, expression=row.expression)
    for id_, namespace, metric, (dimension, value) in row.metrics:
        what = {"id": id_, "namespace": namespace, "metric": metric, "dimension": dimension, "value": value}
        made += _fill(shapes.OF_RATIO, **what, period=row.period)
    return made + _when(of=row.of, points=row.points, missing="notBreaching")


def _when(
    *,
    of: int | str = 1,
    points: int | str = 1,
    threshold: int = 0,
    comparison: str = "GreaterThanThreshold",
    missing: str,
) -> str:
    judged = {"of": of, "points": points, "threshold": threshold}
    return _fill(shapes.ALARM_END, **judged, comparison=comparison, missing=missing)


def _canary(row: FunctionRow) -> str:
    made = _fill(shapes.CANARY, name=row.name)
    if row.judged_by:
        made += _fill(shapes.JUDGED_BY, metric=row.judged_by, flow=row.name.lower(), name=row.name)
    return made + _when(missing="notBreaching")


def _dashboard() -> str:
    charts = ",\n".join(_chart(place, chart) for place, chart in enumerate(tables.DASHBOARD))
    return shapes.DASHBOARD + _indented('{"widgets": [\n' + charts + "\n]}\n", 8)


def _chart(place: int, chart: Chart) -> str:
    """Two a row, on CloudWatch's grid of 24 columns."""
    where = {"type": "metric", "x": place % 2 * 12, "y": place // 2 * 6, "width": 12, "height": 6}
    shown = {"title": chart.title, "stat": chart.statistic, "period": 300, "region": "${AWS::Region}"}
    head = json.dumps({**where, "properties": {**shown, "metrics": []}}).removesuffix("]}}")
    lines = (json.dumps([*metric, {"label": label}]) for label, metric in chart.lines)
    return _indented(head + "\n  " + ",\n  ".join(lines) + "\n]}}", 2)
