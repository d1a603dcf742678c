"""`make prove STACK=nilometer-dev`: the proof of deployment on a stack that stands, in a real account or an engine.

It sends two events, which stay in the stack, so it asks before a stage `prod`. Credentials and region are the shell's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError
from tests.support.project import EVENTS
from tests.support.stack.proof.production import Production, accepted, standing, until

from nilometer.domain.store.times import rfc3339

SCHEDULED = ("Limits", "Maintenance", "Redrive", "Usage")
USD_A_REQUEST = 5e-6  # list prices, us-east-1: a write to S3, and nothing that is asked for here costs more
USD_A_QUESTION = 30 * USD_A_REQUEST  # to the lake: lists, logs and files of one table
USD_A_SECOND = 3 * 1.67e-5  # of a function with 3 GB, the largest


def checks(stack: Production, name: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What is proved, each with what returns when it holds."""
    run = uuid.uuid4().hex[:12]
    secret = stored_secret(stack)
    event = {**_sample("stripe/customer.created"), "id": f"evt_prove{run}"}
    body = json.dumps(event).encode()
    yield "a signed webhook is taken", lambda: _equal(stack.post(body, secret=secret)[0], 200)
    yield "a copy of it is taken", lambda: _equal(stack.post(body, secret=secret)[0], 200)
    yield "a forged one is refused", lambda: _equal(stack.post(b"{}", secret="whsec_of_nobody")[0], 400)
    workspace = _said("operations/workspace.created.v1", f"open_{run}", subject=f"prove_{run}", name=f"Proof {run}")
    yield "a workspace is opened over the bus", lambda: stack.publish(workspace)
    yield "operations have taken it", lambda: until(lambda: f"open_{run}" in accepted(stack, "OperationsFunction"))
    found = f"select count(*) from stripe_events where event_id = 'evt_prove{run}'"  # noqa: S608  # ours
    yield "the webhook is one row of the lake", lambda: until(lambda: stack.rows(found) == [(1,)], seconds=600, pause=3)
    opened = f"select count(*) > 0 from audit where workspace_id = 'prove_{run}'"  # noqa: S608  # ours
    yield "the workspace is in the audit", lambda: until(lambda: stack.rows(opened) == [(True,)], seconds=600, pause=3)
    for one in SCHEDULED:
        yield f"{one} runs as its schedule calls it", lambda one=one: _invoked(stack, one)  # type: ignore[misc]
    yield "verify finds lake and tables equal", lambda: _verified(name)


def stored_secret(stack: Production) -> str:
    """The signing secret that the stack has."""
    stored = stack.client("secretsmanager").get_secret_value(SecretId=stack.ids["StripeSigningSecrets"])["SecretString"]
    secret = next((one for one in stored.split() if one.startswith("whsec_")), "")
    if not secret:
        sys.exit("the stack has no signing secret yet: nilometer stripe endpoint create (docs/deploy.md)")
    return secret


def _sample(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return found


def _said(sample: str, id_: str, *, subject: str, **data: str) -> dict[str, Any]:
    detail = _sample(sample)["detail"]
    return {**detail, "id": id_, "subject": subject, "time": rfc3339(datetime.now(UTC)), "data": {**data}}


def _equal(found: int, wanted: int) -> None:
    assert found == wanted, f"answered {found}"


def _invoked(stack: Production, function: str) -> None:
    answer = stack.client("lambda").invoke(FunctionName=f"{stack.ids[f'{function}Function']}:live", Payload=b"{}")
    assert "FunctionError" not in answer, answer["Payload"].read()[:200]


def _verified(name: str) -> None:
    command = [sys.executable, "-m", "nilometer", "verify", "--stack", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def prove(name: str) -> int:
    """A line a check; how many failed."""
    stack, failed, called = standing(name), 0, 0.0
    for what, check in checks(stack, name):
        began, verdict = time.monotonic(), "holds"
        try:
            check()
        except AssertionError as error:
            failed, verdict = failed + 1, f"FAILS: {error}"
        took = time.monotonic() - began
        called += took if what.endswith("its schedule calls it") else 0.0
        print(f"{what:44} {took:6.1f} s  {verdict}", flush=True)
    print(f"{failed} of them fail; {cost(stack, called)}")
    return failed


def cost(stack: Production, called: float) -> str:
    """At most, by the dearest price of each; `called` are seconds in which functions were called by hand."""
    questions = stack.asked["lake"]
    requests = stack.asked.total() - questions
    usd = requests * USD_A_REQUEST + questions * USD_A_QUESTION + called * USD_A_SECOND
    return (
        f"it cost at most ${usd:.3f}: {requests} requests, "
        f"{questions} questions to the lake, {called:.0f} s called by hand"
        "; beside it `nilometer verify` read the tables and the lake once"
    )


def main(name: str) -> int:
    """Asks before production."""
    if name.endswith("-prod") and not os.environ.get("YES") and input(f"{name} is production; go on? [y/N] ") != "y":
        return 1
    try:
        return prove(name)
    except ClientError as error:
        sys.exit(f"{name} cannot be proved with these credentials in this region: {error.response['Error']['Message']}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
