"""The client on a stack in memory: what it promises when answers are lost, limits are near and the API is away."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import textwrap
import threading
import tracemalloc
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import httpx2
import pytest
from tests.support.stack.loop import run_async

from nilometer import (
    AsyncClient,
    Client,
    EventsRejected,
    LimitReached,
    Misconfigured,
    NilometerError,
    Refused,
    Rejected,
    Unavailable,
)
from nilometer.client import usage
from nilometer.client.place import place
from nilometer.client.problem import KeyNotValid, RejectedUsage, error_of
from nilometer.client.testing.fake import URL, FakeStack


class Unreliable(httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    """`wrong(number)` says what happens to a request: `lost` loses its answer, `away` the request, a status answers."""

    def __init__(self, fake: FakeStack, wrong: Callable[[int], str | int | None]) -> None:
        self.fake, self.wrong = fake, wrong
        self.asked: list[tuple[str, str]] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append((request.method, request.url.path))
        what = self.wrong(len(self.asked))
        if isinstance(what, int):
            return httpx2.Response(what, json={"status": what, "reason": "told", "detail": "by the test"})
        if what == "away":
            raise httpx2.ConnectError("no route")
        answered = self.fake.transport.handle_request(request)
        if what == "lost":
            raise httpx2.ReadError("cut")
        return answered

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await request.aread()
        return self.handle_request(request)


@pytest.fixture
def fake(nilometer_fake: FakeStack, monkeypatch: pytest.MonkeyPatch) -> FakeStack:
    monkeypatch.setattr("nilometer.client.sending.time.sleep", lambda _: None)
    nilometer_fake.workspace("acme")
    nilometer_fake.meter("api_calls")
    return nilometer_fake


def client(fake: FakeStack, wrong: Callable[[int], str | int | None] = lambda _: None, **given: Any) -> Client:
    return Client(URL, fake.key(), transport=Unreliable(fake, wrong), flush_seconds=60, **given)


def test_an_event_counts_once_however_often_it_is_sent(fake: FakeStack) -> None:
    """Every second answer is lost; the ids stay, also one that the caller chose."""
    with client(fake, lambda number: "lost" if number % 2 else None) as one:
        ids = {one.usage.record("acme", "api_calls", 2) for _ in range(5)}
        one.usage.record("acme", "api_calls", "0.5", id="mine")
        one.usage.flush()
        one.usage.record("acme", "api_calls", "0.5", id="mine")

    assert len(ids) == 5
    assert fake.used("acme", "api_calls") == Decimal("10.5")
    assert len(fake.bus.entries) > 2


def test_what_cannot_be_sent_waits_and_then_is_counted(fake: FakeStack) -> None:
    """The API is away for as long as it takes; nothing is lost, and the order stays."""
    away = True
    one = client(fake, lambda _: "away" if away else None)
    one.usage.record("acme", "api_calls", 3)
    with pytest.raises(Unavailable):
        one.usage.flush()
    away = False
    one.close()

    assert fake.used("acme", "api_calls") == 3


@pytest.mark.parametrize("asked", ["/v1/meters/api_calls", "/v1/events"])
def test_a_404_is_no_verdict_on_events(fake: FakeStack, asked: str) -> None:
    """A gateway answers it while it is deployed, also to the question for a meter: the events wait and then count."""
    deployed = False

    class Gateway(Unreliable):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            if request.url.path == asked and not deployed:
                return httpx2.Response(404, json={"message": "Not Found"})
            return super().handle_request(request)

    transport = Gateway(fake, lambda _: None)
    one = Client(URL, fake.key(), transport=transport, flush_seconds=60)
    for _ in range(3):
        one.usage.record("acme", "api_calls", 2)
    with pytest.raises(Unavailable, match="not at this URL"):
        one.usage.flush()

    async def work() -> None:
        nonlocal deployed
        other = AsyncClient(URL, fake.key(), transport=transport, flush_seconds=60)
        await other.usage.record("acme", "api_calls", 1)
        with pytest.raises(Unavailable, match="not at this URL"):
            await other.usage.flush()
        deployed = True
        await other.close()

    run_async(work())
    one.close()

    assert (fake.used("acme", "api_calls"), one.usage.rejected) == (7, 0)


def test_record_waits_when_the_buffer_is_full(fake: FakeStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """And says so when it stays full: that event is not recorded, those before are."""
    away = True
    one = client(fake, lambda _: "away" if away else None, capacity=2)
    one.usage.record("acme", "api_calls")
    one.usage.record("acme", "api_calls")
    with monkeypatch.context() as impatient:
        impatient.setattr(usage, "PATIENCE", 0.05)
        with pytest.raises(Unavailable, match="not recorded"):
            one.usage.record("acme", "api_calls")
    away = False
    one.usage.record("acme", "api_calls")
    one.close()

    assert fake.used("acme", "api_calls") == 3


def test_events_that_can_never_count_are_named(fake: FakeStack) -> None:
    """By id and reason, at the next flush; all others count."""
    one = client(fake)
    good, bad = one.usage.record("acme", "api_calls"), one.usage.record("acme", "nonsense")
    with pytest.raises(EventsRejected) as told:
        one.usage.flush()
    one.close()

    assert [(event_id, reason) for event_id, reason, _ in told.value.events] == [(bad, "unknown_meter")]
    assert (fake.used("acme", "api_calls"), good != bad) == (1, True)
    for wrong in (1.5, "-1", "x", "NaN"):
        with pytest.raises(Rejected, match="quantity"):
            one.usage.record("acme", "api_calls", wrong)  # type: ignore[arg-type]


def test_rejected_events_are_told_at_once_and_kept_in_bounds(fake: FakeStack, caplog: pytest.LogCaptureFixture) -> None:
    """The first thousand until a flush names them, however many there are; a callback and the log have them at once."""
    told: list[RejectedUsage] = []

    def on_rejected(events: Sequence[RejectedUsage]) -> None:
        told.extend(events)
        raise RuntimeError("secret")

    one = client(fake, on_rejected=on_rejected)
    ids = [one.usage.record("acme", "nonsense", dimensions={"agent": "secret"}) for _ in range(1200)]
    good = one.usage.record("acme", "api_calls")
    one.usage._flush_quietly()  # as the background does

    assert [event.id for event in told] == ids
    assert {(event.reason, good in ids) for event in told} == {("unknown_meter", False)}
    assert one.usage.rejected == 1200
    assert "500 usage events are rejected: 500 unknown_meter" in caplog.text
    assert "on_rejected failed: RuntimeError" in caplog.text
    assert "secret" not in caplog.text
    assert len(one.usage._buffer._rejected) == 1000  # what is kept in memory
    with pytest.raises(EventsRejected, match="1200 usage events are rejected") as caught:
        one.close()
    assert [event[0] for event in caught.value.events] == ids[:1000]
    assert caught.value.total == one.usage.rejected == 1200
    one.close()
    assert fake.used("acme", "api_calls") == 1


def test_so_they_are_on_an_event_loop(fake: FakeStack) -> None:
    """The callback runs on the loop."""
    told: list[RejectedUsage] = []

    async def work() -> None:
        one = AsyncClient(URL, fake.key(), transport=Unreliable(fake, lambda _: None), on_rejected=told.extend)
        event_id = await one.usage.record("acme", "nonsense")
        with pytest.raises(EventsRejected):
            await one.close()
        assert [(event.id, event.reason) for event in told] == [(event_id, "unknown_meter")]
        assert one.usage.rejected == 1

    run_async(work())


ODD: dict[str, dict[str, Any]] = {
    "no slug": {"meter": ".."},
    "no meter": {"meter": ""},
    "no text": {"meter": None},
    "too long": {"meter": "a" * 70_000},
    "half a character": {"meter": "api_calls", "dimensions": {"agent": "caf\udce9"}},
    "half an id": {"meter": "api_calls", "id": "\ud800"},
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_what_no_request_can_carry_is_refused_at_once(fake: FakeStack, odd: dict[str, Any]) -> None:
    """By `record`, so that what was recorded before and after is counted."""
    with client(fake) as one:
        one.usage.record("acme", "api_calls")
        with pytest.raises(Rejected, match=r"slug|UTF-8"):
            one.usage.record("acme", **odd)
        one.usage.record("acme", "api_calls")

    assert fake.used("acme", "api_calls") == 2


@pytest.mark.parametrize("huge", ["1e300000000", "1e-300000000", Decimal("1e300000000"), "1e999999999999999999"])
def test_a_number_that_fills_the_memory_is_refused_at_once(fake: FakeStack, huge: Any) -> None:
    """In kilobytes, wherever a quantity is handed in."""
    tracemalloc.start()
    with client(fake) as one:
        for ask in (one.usage.record, one.limits.check):
            with pytest.raises(Rejected, match="quantity"):
                ask("acme", "api_calls", huge)
        with pytest.raises(Rejected, match="quantity"):
            one.limits.lease("acme", "api_calls").check(Decimal("1e300000000"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000


def unexpected_once(number: int) -> None:
    if number == 1:
        raise ZeroDivisionError


def test_the_background_survives_what_nobody_expects(fake: FakeStack, caplog: pytest.LogCaptureFixture) -> None:
    """The same events go with the next round, though nothing more is recorded."""
    with Client(URL, fake.key(), transport=Unreliable(fake, unexpected_once), flush_seconds=0.01) as one:
        one.usage.record("acme", "api_calls")
        for _ in range(500):
            if fake.used("acme", "api_calls"):
                break
            threading.Event().wait(0.01)
        assert fake.used("acme", "api_calls") == 1
    assert "usage events wait: ZeroDivisionError" in caplog.text


def test_so_does_the_task_of_an_event_loop(fake: FakeStack) -> None:
    """And it can be closed afterwards."""

    async def work() -> None:
        async with AsyncClient(URL, fake.key(), transport=Unreliable(fake, unexpected_once), flush_seconds=0.01) as one:
            await one.usage.record("acme", "api_calls")
            for _ in range(500):
                if fake.used("acme", "api_calls"):
                    break
                await asyncio.sleep(0.01)
            assert fake.used("acme", "api_calls") == 1

    run_async(work())


def test_a_check_that_is_entered_records_what_was_used(fake: FakeStack) -> None:
    """Not after an error; nothing begins when so much may not be used."""
    fake.limit("acme", "api_calls", 10)
    with client(fake) as one:
        with one.limits.check("acme", "api_calls", 4):
            pass
        with pytest.raises(ZeroDivisionError), one.limits.check("acme", "api_calls"):
            raise ZeroDivisionError
        with pytest.raises(LimitReached), one.limits.check("acme", "api_calls", 11):
            raise AssertionError
        assert bool(one.limits.check("acme", "api_calls", 10)) is True

    assert fake.used("acme", "api_calls") == 4


def test_a_reservation_reports_what_was_used_of_it(fake: FakeStack) -> None:
    """All, or what the block said; after an error it is given back; one that does not fit begins nothing."""
    fake.limit("acme", "api_calls", 10)
    with client(fake) as one:
        with one.limits.reserve("acme", "api_calls", 6) as held:
            with pytest.raises(LimitReached), one.limits.reserve("acme", "api_calls", 5):
                raise AssertionError
            held.used = 2
        with pytest.raises(ZeroDivisionError), one.limits.reserve("acme", "api_calls", 8):
            raise ZeroDivisionError
        with one.limits.reserve("acme", "api_calls", 8):
            pass

    assert fake.used("acme", "api_calls") == 10


def lost_settle(number: int) -> str | None:
    """The answer to the second request, while the clock goes on."""
    threading.Event().wait(0.005)
    return "lost" if number == 2 else None


def test_a_reservation_is_settled_once_however_often_it_says_so(fake: FakeStack) -> None:
    """An attempt that is repeated, by the client or by its caller, is the same event: time and all."""
    fake.limit("acme", "api_calls", 10)
    with client(fake, lost_settle) as one:
        with one.limits.reserve("acme", "api_calls", 6) as held:
            held.used = 2
        held.settle(2)

    assert len(fake.bus.entries) == 3
    assert len({entry.detail for entry in fake.bus.entries}) == 1
    assert fake.used("acme", "api_calls") == 2


def test_so_it_is_on_an_event_loop(fake: FakeStack) -> None:
    """The time is that of the first attempt."""
    fake.limit("acme", "api_calls", 10)

    async def work() -> None:
        async with AsyncClient(URL, fake.key(), transport=Unreliable(fake, lost_settle)) as one:
            async with one.limits.reserve("acme", "api_calls", 6) as held:
                held.used = 2
            await held.settle(2)

    run_async(work())
    assert len(fake.bus.entries) == 3
    assert len({entry.detail for entry in fake.bus.entries}) == 1


def test_leases_never_oversell(fake: FakeStack) -> None:
    """Three holders in threads, answers lost; all is given out, each unit once, with few requests."""
    fake.limit("acme", "api_calls", 300)
    transport = Unreliable(fake, lambda number: "lost" if number % 7 == 3 else None)
    given: list[int] = []
    holders = [Client(URL, fake.key(), transport=transport, flush_seconds=60) for _ in range(3)]

    def hold(one: Client) -> None:
        with one.limits.lease("acme", "api_calls") as lease:
            given.append(sum(lease.check() for _ in range(200)))

    threads = [threading.Thread(target=hold, args=(one,)) for one in holders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in holders:
        one.close()

    assert sum(given) <= 300
    assert fake.used("acme", "api_calls") == sum(given)
    assert len(transport.asked) < 600


def test_a_lease_that_nothing_limits_is_counted(fake: FakeStack) -> None:
    """Each unit once, also when answers are lost; in few requests."""
    transport = Unreliable(fake, lambda number: "lost" if number % 3 == 1 else None)
    with Client(URL, fake.key(), transport=transport, flush_seconds=60) as one:
        lease = one.limits.lease("acme", "api_calls")
        assert all(lease.check() for _ in range(300))
    assert fake.used("acme", "api_calls") == 300
    assert len(transport.asked) < 10


class BadSettles(Unreliable):
    """Of the workspaces named `bad` every report of a lease fails."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path.startswith("/v1/workspaces/bad") and request.url.path.endswith("settle"):
            return httpx2.Response(400, json={"status": 400, "reason": "told", "detail": request.url.path})
        return super().handle_request(request)


def test_a_lease_that_cannot_be_closed_holds_up_no_other(fake: FakeStack) -> None:
    """Nor what was recorded; the error is that of the first."""
    workspaces = ("bad1", "bad2", "acme")
    for workspace in workspaces:
        fake.workspace(workspace)
        fake.limit(workspace, "api_calls", 100)
    one = Client(URL, fake.key(), transport=BadSettles(fake, lambda _: None), flush_seconds=60)
    assert all(one.limits.lease(workspace, "api_calls").check() for workspace in workspaces)
    one.usage.record("acme", "api_calls", 2)
    with pytest.raises(Rejected, match="bad1"):
        one.close()
    assert fake.used("acme", "api_calls") == 3

    async def work() -> None:
        async with AsyncClient(URL, fake.key(), transport=BadSettles(fake, lambda _: None)) as one:
            assert [await one.limits.lease(workspace, "api_calls").check() for workspace in workspaces] == [True] * 3
            await one.usage.record("acme", "api_calls", 2)

    with pytest.raises(Rejected, match="bad1"):
        run_async(work())
    assert fake.used("acme", "api_calls") == 6


def test_the_same_on_an_event_loop(fake: FakeStack) -> None:
    """Record, check, reserve and lease; what is left is sent when it is closed."""
    fake.limit("acme", "api_calls", 100)

    async def work() -> None:
        async with fake.async_client() as one:
            await one.usage.record("acme", "api_calls", 1)
            async with one.limits.check("acme", "api_calls", 2):
                pass
            async with one.limits.reserve("acme", "api_calls", 10) as held:
                held.used = 4
            with pytest.raises(LimitReached):
                async with one.limits.reserve("acme", "api_calls", 1000):
                    raise AssertionError
            async with one.limits.lease("acme", "api_calls") as lease:
                assert [await lease.check() for _ in range(8)] == [True] * 8
            assert (await one.limits.check("acme", "api_calls")).allowed
            assert [member.user_id for member in await one.members.list("acme")] == ["ada"]

    run_async(work())
    assert fake.used("acme", "api_calls") == 15


class SlowLeases(Unreliable):
    """The first request for a block is answered when `go` is set."""

    def __init__(self, fake: FakeStack) -> None:
        super().__init__(fake, lambda _: None)
        self.begun, self.go = threading.Event(), threading.Event()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/lease"):
            self.begun.set()
            assert self.go.wait(60)
        return super().handle_request(request)


@pytest.mark.parametrize("limit", [None, 10], ids=["unlimited", "limited"])
def test_a_check_that_is_cancelled_takes_nothing(fake: FakeStack, limit: int | None) -> None:
    """What it fetched is given out to the next one, or goes back."""
    if limit:
        fake.limit("acme", "api_calls", limit)

    async def work() -> None:
        slow = SlowLeases(fake)
        async with AsyncClient(URL, fake.key(), transport=slow) as one, one.limits.lease("acme", "api_calls") as lease:
            cancelled = asyncio.create_task(lease.check(Decimal(9)))
            assert await asyncio.to_thread(slow.begun.wait, 60)
            cancelled.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cancelled
            slow.go.set()
            assert await lease.check(Decimal(1))
            assert await lease.check(Decimal(0))
            assert not await lease.check(Decimal(-1))
        assert not await lease.check()

    run_async(work())
    assert fake.used("acme", "api_calls") == 1
    with fake.client() as one:
        assert limit is None or one.limits.check("acme", "api_calls", limit - 1)


def test_services_act_and_read(fake: FakeStack) -> None:
    """Typed, with the reasons of the API."""
    with client(fake) as one:
        one.members.add("acme", "bob", "Viewer")
        one.act("set_flag", flag="dark_mode", rollout=100)
        assert [(member.user_id, member.role) for member in one.members.list("acme")] == [
            ("ada", "Admin"),
            ("bob", "Viewer"),
        ]
        assert one.flags.is_on("dark_mode", "acme")
        assert one.members.invite("acme", "grace@example.com", "Analyst")["token"].startswith("nil_invite_")
        one.notifications.send("acme", "bob", topic="product.news", title="Hello")
        assert [note.title for note in one.notifications.list("acme", "bob")] == ["Hello"]
        assert (one.workspaces.get("acme").name, one.whoami().workspace_id) == ("acme", None)
        with pytest.raises(Rejected) as unknown:
            one.billing.get("acme")
        with pytest.raises(Refused):
            one.members.remove("acme", "ada")
    assert unknown.value.reason == "unknown_billing"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, Rejected), (404, Rejected), (413, Rejected), (401, Misconfigured), (403, Refused), (409, Refused)],
)
def test_what_is_wrong_for_good_is_asked_once(fake: FakeStack, status: int, kind: type[NilometerError]) -> None:
    """With the class of its status."""
    one = client(fake, lambda _: status)
    with pytest.raises(kind, match="by the test"):
        one.whoami()
    assert len(one._send._transport.asked) == 1


def test_what_may_pass_is_asked_again_a_few_times(fake: FakeStack) -> None:
    """503 and 429; then the error says that it may pass. A failure of the API's own is not repeated."""
    assert client(fake, lambda number: 503 if number < 4 else None).whoami()
    for status, times in ((503, 4), (429, 4), (500, 1)):
        one = client(fake, lambda _, status=status: status)  # type: ignore[misc]
        with pytest.raises(Unavailable):
            one.whoami()
        assert len(one._send._transport.asked) == times
    assert isinstance(error_of(401, "no problem"), KeyNotValid)


def test_where_the_api_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Arguments, then the environment, then this machine; each with what is missing."""
    monkeypatch.setenv("NILOMETER_RUNTIME_DIR", str(tmp_path))
    assert place("https://a/", "k", {})[:2] == ("https://a", "k")
    assert place(None, None, {"NILOMETER_URL": "https://b", "NILOMETER_KEY": "e"})[:2] == ("https://b", "e")
    with pytest.raises(Misconfigured, match="NILOMETER_KEY"):
        place("https://a", None, {})
    with pytest.raises(Misconfigured, match="no local stack"):
        place(None, None, {})


@pytest.mark.parametrize("space", ["\n", " ", "\r\n", "\t"])
def test_space_around_a_key_is_no_part_of_it(space: str) -> None:
    """As `echo` and editors leave it in a secret, by argument or environment."""
    assert place("https://a", f"{space}nil_k{space}", {})[1] == "nil_k"
    assert place("https://a", None, {"NILOMETER_KEY": f"nil_k{space}"})[1] == "nil_k"
    with pytest.raises(Misconfigured, match="no key"):
        place("https://a", space, {})


@pytest.mark.parametrize("odd", ["ä", "\ud800", "\n", "–", "\x00"])
def test_what_cannot_be_a_key_is_refused_and_not_told(odd: str) -> None:
    """An HTTP library puts the whole header into its error."""
    with pytest.raises(Misconfigured, match="NILOMETER_KEY") as told:
        place("https://a", f"nil_secret{odd}end", {})
    assert "secret" not in str(told.value)


def test_what_was_recorded_is_sent_at_the_end_of_the_process() -> None:
    """Also when nobody closes the client; and importing it loads neither boto3 nor the HTTP library."""
    script = """
        import atexit, sys
        from nilometer import Client
        loaded = [name for name in ("boto3", "botocore", "httpx2", "asyncio") if name in sys.modules]
        from nilometer.client.testing.fake import URL, FakeStack
        fake = FakeStack()
        fake.workspace("acme")
        fake.meter("api_calls")
        atexit.register(lambda: print(loaded, fake.used("acme", "api_calls"), file=sys.stderr))
        Client(URL, fake.key(), transport=fake.transport, flush_seconds=60).usage.record("acme", "api_calls", 7)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=200, check=False
    )

    assert (done.returncode, done.stderr.split()) == (0, ["[]", "7"]), done.stderr


FORK = """
import asyncio, os, sys, threading, time, traceback
from nilometer import AsyncClient, Client
from nilometer.client.testing.fake import URL, FakeStack

fake = FakeStack()
fake.workspace("acme")
fake.meter("api_calls")
LIMITED and fake.limit("acme", "api_calls", 100)
held, go = threading.Event(), threading.Event()

class Slow:
    def handle_request(self, request):
        if request.url.path == "/v1/events" and os.getpid() == parent:
            held.set()
            assert go.wait(60)
        return fake.transport.handle_request(request)
    def close(self):
        pass

parent = os.getpid()
one = Client(URL, fake.key(), transport=Slow(), flush_seconds=60)
other = AsyncClient(URL, fake.key(), transport=fake.transport, flush_seconds=60)
lease = one.limits.lease("acme", "api_calls")
assert lease.check() and lease.check()
asyncio.run(other.usage.record("acme", "api_calls", 50))
one.usage.record("acme", "api_calls", 5)
sending = threading.Thread(target=one.usage.flush)  # holds the lock of the flush and some events
sending.start()
assert held.wait(60)
one.usage.record("acme", "api_calls", 5)

async def of_child():
    await other.usage.record("acme", "api_calls", 30)
    await other.close()

before = fake.used("acme", "api_calls")  # of blocks that are reported already
child = os.fork()
if not child:
    try:
        one.usage.flush()
        assert fake.used("acme", "api_calls") == before
        assert lease.check()
        assert one.limits._repeating._thread.is_alive()
        one.usage.record("acme", "api_calls", 7)
        lease.close()
        one.close()
        asyncio.run(of_child())
        print("child", fake.used("acme", "api_calls") - before, flush=True)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)
deadline = time.monotonic() + 60
while (ended := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < deadline:
    time.sleep(0.05)
if not ended[0]:
    os.kill(child, 9)
go.set()
sending.join()
one.close()
asyncio.run(other.close())
print("parent", fake.used("acme", "api_calls"), ended[1])
"""


@pytest.mark.parametrize("limited", [True, False], ids=["limited", "unlimited"])
def test_a_child_that_forks_begins_empty(limited: bool) -> None:
    """It sends no event and gives out no block of its parent, and waits for no lock that a thread of it held."""
    done = subprocess.run(
        [sys.executable, "-c", f"LIMITED = {limited}\n{FORK}"],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )

    told = [line for line in done.stdout.splitlines() if line.startswith(("child", "parent"))]
    assert (done.returncode, told) == (0, ["child 38", "parent 62 0"]), done.stderr


def test_a_service_opens_a_workspace_and_feeds_a_dataset(fake: FakeStack) -> None:
    """The workspace has its first Admin; the rows are one batch on the bus, with the service's own source and id."""
    with client(fake) as one:
        one.workspaces.create("globex", name="Globex", slug="globex", admin="hank")
        one.datasets.declare("orders", mode="append", columns=[{"name": "order_id", "type": "string"}])
        queued = one.datasets.append("orders", [{"order_id": "1"}], id="b1", source="/services/shop")
        members = [(found.user_id, found.role) for found in one.members.list("globex")]

    assert (queued.accepted, members) == (1, [("hank", "Admin")])
    assert json.loads(fake.bus.entries[-1].detail)["id"] == "b1"
