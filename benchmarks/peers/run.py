"""Ours beside Stripe's sync engine and dj-stripe: `python benchmarks/peers/run.py --install [--customers 60]`.

The same month of a simulated Stripe, once in order and once shuffled with 30 % duplicates, goes one event after the
other into three systems on this machine: `@supabase/stripe-sync-engine` on PostgreSQL, dj-stripe on PostgreSQL, and our
billing flow on the local DynamoDB engine. Each is asked as its documentation shows (`processEvent`, `Event.process`);
Stripe's API, where one asks it, is the simulated one on loopback, so it answers in a millisecond, and with the state at
the end of the month. Wrong are subscriptions (status, cancellation, items, latest invoice) and invoices (status) that
differ from what Stripe has at the end; failed are events that raised. One JSON line a run, and one with our rate in
batches of a hundred to the sync engine's, beside its goal.

With `--connections 4,10` come, for each number, the sync engine with a pool of so many connections and as many events
at a time in its process, and ours with as many processes that each take the next batch of a hundred.

`--install` puts the peers into `--folder`: npm for the one, a venv with pip for the other, PostgreSQL by apt where
it is missing. Else rates are of one process with one connection on one machine: they compare, and are nobody's limit.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from benchmarks.billing import Metered, client_of, items_of, messages_of, read_ours, store_of, take, wrong
from benchmarks.workers import measure

from nilometer.aws.dynamodb import Store
from nilometer.lambdas import collect_rarely
from nilometer.local.plane.engine import engine
from nilometer.local.stripe.month import random_month
from nilometer.local.stripe.server import serve
from nilometer.local.stripe.world import StripeWorld

HERE = Path(__file__).parent
IN_ORDER, SHUFFLED = "in order", "shuffled, 30 % duplicates"
GOALS = {IN_ORDER: 1.5, SHUFFLED: 1.0}  # events a second to the sync engine's
NPM = ("@supabase/stripe-sync-engine@0.48.5", "stripe@23.1.0", "pg@8.20.0")
PIP = ("dj-stripe==2.11.0", "psycopg[binary]==3.3.9")


def main() -> None:
    options = _options()
    collect_rarely()  # as the function does
    folder = options.folder.resolve()
    if options.install:
        install(folder)
    world = random_month(options.seed, customers=options.customers)
    for order, events in orders(world):
        own = _print(ours(order, events, world))
        with postgres() as database, serve(world, connected={"acct_peers": world}) as stripe:
            theirs = _print(peer("stripe-sync-engine", _node(folder), order, events, world, database, stripe))
        ratio = own["events_per_second_batches_of_100"] / theirs["events_per_second"]
        _print({"order": order, "nilometer_to_stripe_sync_engine": round(ratio, 2), "goal": GOALS[order]})
        with postgres() as database, serve(world, connected={"acct_peers": world}) as stripe:
            _print(peer("dj-stripe", _django(folder), order, events, world, database, stripe))
        for count in map(int, options.connections.split(",") if options.connections else ()):
            own = _print(ours_with(count, order, events, world))
            with postgres() as database, serve(world, connected={"acct_peers": world}) as stripe:
                found = peer("stripe-sync-engine", _node(folder, count), order, events, world, database, stripe)
                _print({"connections": count, **found})
            ratio = own["events_per_second"] / found["events_per_second"]
            _print({"order": order, "at_a_time": count, "nilometer_to_stripe_sync_engine": round(ratio, 2)})


def ours_with(workers: int, order: str, events: list[dict[str, Any]], world: StripeWorld) -> dict[str, Any]:
    """Several processes on one backlog, as benchmarks/workers.py measures them."""
    with (
        tempfile.TemporaryDirectory() as folder,
        engine(port=0, data=Path(folder), log=Path(folder) / "log") as running,
    ):
        found = measure(running.endpoint_url, world, (), events, design="ours", workers=workers)
    return {"system": "nilometer", "order": order, "events": len(events), **found}


def orders(world: StripeWorld) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """As Stripe made them; then as a bad day delivers them."""
    yield IN_ORDER, world.events
    chance = random.Random(0)
    events = world.events + chance.choices(world.events, k=len(world.events) * 3 // 10)
    chance.shuffle(events)
    yield SHUFFLED, events


def ours(order: str, events: list[dict[str, Any]], world: StripeWorld) -> dict[str, Any]:
    """Batches of one, as the peers take them, and of a hundred, as the queue gives them."""
    found: dict[str, Any] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        engine(port=0, data=Path(folder), log=Path(folder) / "log") as running,
    ):
        client = client_of(running.endpoint_url)
        for batch in (100, 1):
            store, messages = Store(client, **store_of(client, Metered(client)).names), messages_of(events)
            began = time.monotonic()
            take(store, messages, batch)
            found[f"events_per_second_batches_of_{batch}"] = round(len(events) / (time.monotonic() - began), 1)
        told = read_ours(store)
    return {**_score("nilometer", order, events, told, world), **found, "failed": 0, "api_requests_per_event": 0}


def peer(
    name: str,
    command: tuple[list[str], dict[str, str]],
    order: str,
    events: list[dict[str, Any]],
    world: StripeWorld,
    database: dict[str, str],
    stripe: Any,
) -> dict[str, Any]:
    """Its own process reads the events and answers with what it keeps, how long it took and what failed."""
    words, more = command
    url, fake = stripe
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary, "events.json")
        file.write_text(json.dumps(events))
        environment = {**os.environ, **database, **more, "STRIPE_URL": url, "EVENTS": str(file)}
        done = subprocess.run(words, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    told = json.loads(done.stdout.splitlines()[-1])
    return {
        **_score(name, order, events, {one["id"]: _shaped(one) for one in told["objects"]}, world),
        "events_per_second": round(len(events) / told["seconds"], 1),
        "failed": told["failed"],
        "first_failure": told["first_failure"],
        "api_requests_per_event": round(fake.requests / len(events), 2),
    }


def _score(
    name: str, order: str, events: list[dict[str, Any]], told: dict[str, dict[str, Any]], world: StripeWorld
) -> dict[str, Any]:
    kinds = [known["object"] for known in world.objects.values()]
    return {
        "system": name,
        "order": order,
        "events": len(events),
        "subscriptions": kinds.count("subscription"),
        "wrong_subscriptions": wrong(told, world, "subscription"),
        "invoices": kinds.count("invoice"),
        "wrong_invoices": wrong(told, world, "invoice"),
    }


def _shaped(one: dict[str, Any]) -> dict[str, Any]:
    """A subscription with its items as the comparison reads them."""
    if one["object"] != "subscription":
        return one
    return {**one, "items": items_of({"items": {"data": one["items"]["data"] if one.get("items") else []}})}


@contextlib.contextmanager
def postgres() -> Iterator[dict[str, str]]:
    """An empty server in a temporary folder: the environment of libpq's clients."""
    folder = Path(tempfile.mkdtemp(prefix="peers-"))
    folder.chmod(0o755)
    if os.getuid() == 0:
        shutil.chown(folder, "postgres")
    as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    binaries = max(Path("/usr/lib/postgresql").glob("*/bin"))
    data = folder / "data"
    flags = f"-k {folder} -c listen_addresses='' -c fsync=on"
    try:
        _quiet([*as_user, str(binaries / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust"])
        _quiet([*as_user, str(binaries / "pg_ctl"), "-D", str(data), "-w", "-l", f"{folder}/log", "-o", flags, "start"])
        try:
            yield {"PGHOST": str(folder), "PGUSER": "postgres", "PGDATABASE": "postgres"}
        finally:
            _quiet([*as_user, str(binaries / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def install(folder: Path) -> None:
    """What is missing of the peers and of PostgreSQL."""
    folder.mkdir(parents=True, exist_ok=True)
    if not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        _quiet(["apt-get", "-qq", "update"])
        _quiet(["apt-get", "-qq", "install", "--no-install-recommends", "postgresql"])
    if not (folder / "node_modules").exists():
        (folder / "package.json").write_text("{}")
        _quiet(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), *NPM])
    if not (folder / "django").exists():
        _quiet([sys.executable, "-m", "venv", str(folder / "django")])
        _quiet([str(folder / "django/bin/python"), "-m", "pip", "install", "--quiet", *PIP])


def _node(folder: Path, connections: int = 1) -> tuple[list[str], dict[str, str]]:
    shutil.copy(HERE / "sync_engine.mjs", folder)  # node looks for modules beside the script
    return ["node", str(folder / "sync_engine.mjs")], {"CONNECTIONS": str(connections)}


def _django(folder: Path) -> tuple[list[str], dict[str, str]]:
    return [str(folder / "django/bin/python"), str(HERE / "djstripe_process.py")], {"PYTHONPATH": ""}


def _quiet(words: list[str]) -> None:
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, cwd="/")


def _print(found: dict[str, Any]) -> dict[str, Any]:
    print(json.dumps(found), flush=True)
    return found


def _options() -> Any:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--install", action="store_true", help="install the peers where they are missing")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir(), "nilometer-peers"))
    parser.add_argument("--customers", type=int, default=60)
    parser.add_argument("--connections", help="also with several at a time: numbers with commas between them")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
