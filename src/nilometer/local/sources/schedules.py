"""EventBridge Scheduler's `rate(...)`, `cron(...)` and `at(...)`, and a thread that invokes what is due.

Source: EventBridge Scheduler User Guide, "Schedule types in EventBridge Scheduler".
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from nilometer.errors import Misconfigured
from nilometer.local.plane.deployed import Schedule
from nilometer.local.sources.source import Source
from nilometer.local.workers.activity import Activity
from nilometer.local.workers.pool import Pool

_UNITS = {"minute": 60, "hour": 3600, "day": 86400}
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_YEARS_AHEAD = 30
_RETRY_SECONDS = 1.0
_LONGEST_WAIT = 60.0


def next_time(expression: str, *, after: datetime, timezone: str = "UTC") -> datetime | None:
    """The first time past `after`, in UTC; None when there is none. `rate` counts from `after`.

    Raises `Misconfigured` for an expression that Scheduler would refuse.
    """
    kind, _, rest = expression.partition("(")
    inner = rest.removesuffix(")").strip()
    try:
        match kind:
            case "rate":
                return after + _rate(inner)
            case "at":
                moment = datetime.fromisoformat(inner).replace(tzinfo=ZoneInfo(timezone)).astimezone(UTC)
                return moment if moment > after else None
            case "cron":
                return _next_cron(Cron.parse(inner), after.astimezone(ZoneInfo(timezone)))
    except (ValueError, KeyError, IndexError) as error:
        raise Misconfigured(f"the schedule {expression!r} cannot be read: {error}") from error
    raise Misconfigured(f"the schedule {expression!r} is neither rate, cron nor at")


def _rate(text: str) -> timedelta:
    value, unit = text.split()
    if int(value) < 1:
        raise ValueError("a rate is at least 1")
    return timedelta(seconds=int(value) * _UNITS[unit.removesuffix("s")])


@dataclass(frozen=True, slots=True)
class Cron:
    """Six fields: minutes, hours, day of month, month, day of week (1 is Sunday), year.

    `day` and `weekday` keep their text, since L, W and # depend on the month.
    """

    minutes: frozenset[int]
    hours: frozenset[int]
    day: str
    months: frozenset[int]
    weekday: str
    years: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Cron:
        """Six fields, as EventBridge Scheduler has them. `ValueError` unless just one of day and weekday is `?`."""
        minute, hour, day, month, weekday, year = text.upper().split()
        if (day == "?") == (weekday == "?"):
            raise ValueError("one of day of month and day of week is ?, the other is not")
        return cls(
            _numbers(minute, 0, 59),
            _numbers(hour, 0, 23),
            day,
            _numbers(_named(month, _MONTHS), 1, 12),
            _named(weekday, _DAYS),
            _numbers(year, 1970, 2199),
        )

    def on(self, day: date) -> bool:
        """Whether a day is one of its days; the time of day is in `hours` and `minutes`."""
        if day.year not in self.years or day.month not in self.months:
            return False
        return _day_matches(self.day, day) if self.weekday == "?" else _weekday_matches(self.weekday, day)


def _named(text: str, names: Sequence[str]) -> str:
    for number, name in enumerate(names, start=1):
        text = text.replace(name, str(number))
    return text


def _numbers(text: str, low: int, high: int) -> frozenset[int]:
    """A list of numbers, ranges and steps: `1,5-8,10/15,*`."""
    return frozenset(number for part in text.split(",") for number in _range(part, low, high))


def _range(part: str, low: int, high: int) -> range:
    span, _, step = part.partition("/")
    first, _, last = span.partition("-")
    if first == "*":
        first, last = str(low), str(high)
    start = int(first)
    end = int(last) if last else (high if step else start)
    if not low <= start <= end <= high:
        raise ValueError(f"{part} is not within {low}-{high}")
    return range(start, end + 1, int(step or 1))


def _day_matches(text: str, day: date) -> bool:
    last = _last_day(day)
    if text == "L":
        return day == last
    if text.endswith("W"):
        wanted = last if text == "LW" else day.replace(day=min(int(text[:-1]), last.day))
        return day == _nearest_weekday(wanted)
    return day.day in _numbers(text, 1, 31)


def _last_day(day: date) -> date:
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)


def _nearest_weekday(day: date) -> date:
    """Within the same month."""
    shift = {5: -1, 6: 1}.get(day.weekday(), 0)
    nearest = day + timedelta(days=shift)
    return nearest if nearest.month == day.month else day - 2 * timedelta(days=shift)


def _weekday_matches(text: str, day: date) -> bool:
    number = day.isoweekday() % 7 + 1
    if "#" in text:
        wanted, nth = text.split("#")
        return number == int(wanted) and (day.day - 1) // 7 + 1 == int(nth)
    if text.endswith("L"):
        return number == int(text[:-1] or 7) and (not text[:-1] or day.day + 7 > _last_day(day).day)
    return number in _numbers(text, 1, 7)


def _next_cron(cron: Cron, after: datetime) -> datetime | None:
    return next((moment for moment in _moments(cron, after) if moment > after), None)


def _moments(cron: Cron, after: datetime) -> Iterator[datetime]:
    for offset in range(366 * _YEARS_AHEAD):
        day = after.date() + timedelta(days=offset)
        if not cron.on(day):
            continue
        for hour in sorted(cron.hours):
            for minute in sorted(cron.minutes):
                local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=after.tzinfo)
                yield local.astimezone(UTC)


class Clock(Source):
    """Invokes the functions of schedules when they are due, each in a thread of its own, until `stop`."""

    def __init__(
        self,
        schedules: Sequence[Schedule],
        *,
        pools: Callable[[str], Pool],
        activity: Activity,
        now: Callable[[], datetime],
    ) -> None:
        self._pools = pools
        self._activity = activity
        self._now = now
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(schedule,), name=f"schedule-{schedule.name}", daemon=True)
            for schedule in schedules
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _run(self, schedule: Schedule) -> None:
        due = next_time(schedule.expression, after=self._now(), timezone=schedule.timezone)
        while due is not None and not self._stopping.is_set():
            left = (due - self._now()).total_seconds()
            if left > 0:
                # In steps, since a laptop that slept moves the clock and not the wait.
                self._stopping.wait(min(left, _LONGEST_WAIT))
                continue
            self._activity.note()
            self._invoke(schedule)
            due = next_time(schedule.expression, after=max(due, self._now()), timezone=schedule.timezone)

    def _invoke(self, schedule: Schedule) -> None:
        for attempt in range(schedule.retries + 1):
            answer = self._pools(schedule.function).invoke(schedule.input.encode(), source=schedule.name)
            if not answer.error or self._stopping.wait(_RETRY_SECONDS * 2 ** min(attempt, 5)):
                return
