"""What became of each planted bug: the schedule that finds it, or why it changes nothing that a law promises."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.simulation.days.company import day
from tests.support.simulation.kernel.choices import Chooser, Replayed, Seeded
from tests.support.simulation.kernel.scope import Scope, explore, play, story
from tests.support.simulation.kernel.world import LawBroken
from tests.support.simulation.scopes.catalog import BY_NAME, SCOPES
from tests.support.simulation.teeth.kernel import KERNEL
from tests.support.simulation.teeth.planting import PlantedBug, bugs, marked, planted

FILE = Path(__file__).with_name("verdicts.json")
SECONDS = 6.0  # of CPU for each scope
ENDLESS = 30.0  # seconds of CPU of one schedule or day
ENDLESS_AGAIN = 2.0  # of one that is on the list: the others take hundredths
SEEDS = range(100)
DAYS = range(8)
SHARE = 0.95  # of the bugs that change something are found, at least
LIKELY = {"turn": 0.5, "fault": 0.12}

Verdict = Mapping[str, Any]
"""`scope` and `choices`, or `day`, with the `law` that it breaks; or `equal` or `missed` with the reason."""


class _Endless(BaseException):
    """The time is over: no `except Exception` of the product may go on."""


def all_bugs() -> dict[str, PlantedBug]:
    """Every bug of the kernel, by name."""
    wanted = {package: set(functions.split()) for package, functions in KERNEL.items()}
    return {name: bug for package in KERNEL for name, bug in bugs(package).items() if bug.function in wanted[package]}


def known() -> dict[str, Verdict]:
    """The list as it is stored."""
    found: dict[str, Verdict] = json.loads(FILE.read_text()) if FILE.exists() else {}
    return found


def store(verdicts: Mapping[str, Verdict]) -> None:
    FILE.write_text(json.dumps(verdicts, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


def finds(bug: PlantedBug, verdict: Verdict) -> str:
    """The law that the schedule of a verdict still breaks with this bug; "" when it breaks none."""
    _warm(verdict)
    with planted(bug):
        if "day" in verdict:
            return _broken(lambda: day(int(verdict["day"])))
        scope = BY_NAME[verdict["scope"]]
        found = _broken(lambda: _replay(scope, verdict["choices"]), seconds=ENDLESS_AGAIN)
        return found if found or not verdict.get("search") else _search(scope, SECONDS)[0]


def _warm(verdict: Verdict) -> None:
    """A setup is done once for all schedules: without a bug."""
    if "day" in verdict:
        day(0)
    else:
        play(BY_NAME[verdict["scope"]], Replayed(), faults=0)


def replayed(verdict: Verdict) -> str:
    """The law that its schedule breaks with the product as it is: ""."""
    return _broken(lambda: _replay(BY_NAME[verdict["scope"]], verdict["choices"]))


def judge(bug: PlantedBug, reached: Mapping[str, frozenset[str]], *, seconds: float = SECONDS) -> Verdict:
    """Tries drawn schedules of the scopes that reach it, then days, then every schedule of these scopes."""
    scopes = [scope for scope in SCOPES if f"{bug.module}:{bug.function}" in reached[scope.name]]
    day(0)
    for scope in scopes:
        play(scope, Replayed(), faults=0)
    with planted(bug):
        found = _by_chance(scopes) or _by_day() or _by_search(scopes, seconds)
    if not found:
        return {"missed": f"{len(scopes)} scopes reach it"}
    if "scope" in found and _broken(lambda: _replay(BY_NAME[found["scope"]], found["choices"])):
        raise AssertionError(f"a law is broken without a bug: {found}")
    return found


def _by_chance(scopes: Iterable[Scope]) -> Verdict | None:
    """First the calm schedules, then drawn ones, every third without faults: then no answer may be late."""
    for seeds in ((), SEEDS):
        for scope in scopes:
            choosers: list[Chooser] = [Seeded(seed, LIKELY) for seed in seeds] or [Replayed()]
            for number, chooser in enumerate(choosers):
                faults = 2 if number % 3 else 0
                if law := _broken(lambda: play(scope, chooser, faults=faults)):  # noqa: B023  # called at once
                    return _verdict(scope, law, chooser.taken)
    return None


def _by_day() -> Verdict | None:
    for seed in DAYS:
        if law := _broken(lambda: day(seed)):  # noqa: B023  # called at once
            return {"day": seed, "law": law}
    return None


def _by_search(scopes: Iterable[Scope], seconds: float) -> Verdict | None:
    for scope in scopes if seconds else ():
        law, choices = _search(scope, seconds)
        if law:
            return _verdict(scope, law, choices)
    return None


def judge_all(say: Callable[[str], None], *, anew: bool = False) -> int:
    """Judges what is new or no longer found, and writes the list after each. 0 when `SHARE` is found."""
    before, verdicts, planted_ = known(), {}, all_bugs()
    reached: dict[str, frozenset[str]] = {}
    for name, bug in sorted(planted_.items()):
        old = before.get(name, {})
        if "equal" in old or (old and "missed" not in old and not anew and finds(bug, old)):
            verdicts[name] = old
            continue
        reached = reached or reached_functions()
        verdicts[name] = judge(bug, reached)
        say(f"{name}: {verdicts[name]}"[:300])
        store({**{name: one for name, one in before.items() if name in planted_}, **verdicts})
    store(verdicts)
    say(told(verdicts))
    return int(share_found(verdicts) < SHARE)


def share_found(verdicts: Mapping[str, Verdict]) -> float:
    """Of those that are not equal in behaviour."""
    judged = [one for one in verdicts.values() if "equal" not in one]
    return sum("missed" not in one for one in judged) / max(1, len(judged))


def told(verdicts: Mapping[str, Verdict]) -> str:
    equal, missed = (sum(word in one for one in verdicts.values()) for word in ("equal", "missed"))
    found = len(verdicts) - equal - missed
    share = f"{share_found(verdicts):.1%}"
    return (
        f"{len(verdicts)} bugs: {found} found, {missed} missed, {equal} equal in behaviour; {share} of the others found"
    )


def reached_functions(scopes: Iterable[Scope] = SCOPES) -> dict[str, frozenset[str]]:
    """By the name of a scope, which functions of the kernel it comes to in a few schedules."""
    found = {}
    with marked(all_bugs().values()) as seen:
        for scope in scopes:
            seen.clear()
            choosers: list[Chooser] = [Replayed(), *(Seeded(seed, LIKELY) for seed in range(25))]
            for chooser in choosers:
                _broken(lambda: play(scope, chooser, faults=2))  # noqa: B023  # called at once
            found[scope.name] = frozenset(seen)
    return found


def _verdict(scope: Scope, law: str, choices: Mapping[str, int]) -> Verdict:
    found: dict[str, Any] = {"scope": scope.name, "choices": dict(choices), "law": law}
    return found if _broken(lambda: _replay(scope, choices)) else {**found, "search": True}


def _replay(scope: Scope, choices: Mapping[str, int]) -> None:
    if law := story(scope, choices)[1]:
        raise LawBroken(law)


def _search(scope: Scope, seconds: float) -> tuple[str, Mapping[str, int]]:
    choices: dict[str, int] = {}
    try:
        with _bounded(seconds + ENDLESS):
            found = explore(scope, stop=True, seconds=seconds, taken=choices)
    except Exception as error:  # noqa: BLE001  # a crash of the product is found, too
        return _said(error), choices
    return next(iter(found.broken), ""), dict(found.first)


def _broken(run: Callable[[], Any], *, seconds: float = ENDLESS) -> str:
    """The law, or the crash, by which a run ends; "" when it is well."""
    try:
        with _bounded(seconds):
            run()
    except Exception as error:  # noqa: BLE001  # a crash of the product is found, too
        return _said(error)
    return ""


def _said(error: Exception) -> str:
    return (str(error) if isinstance(error, LawBroken) else f"{type(error).__name__}: {error}")[:160]


@contextmanager
def _bounded(seconds: float) -> Iterator[None]:
    """A run without an end is a law that is broken."""

    def end(*_: object) -> None:
        raise _Endless

    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    except _Endless:
        raise LawBroken("the run does not come to an end") from None
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
