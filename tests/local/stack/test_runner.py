"""The runner as a whole: idle, stop, and a machine on which everything was killed."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nilometer.errors import Misconfigured, Unavailable
from nilometer.local.plane.engine import engine, free_port

# Each event hops five times between the queue and the stream before it is done.
HOPS = """
    import boto3
    sqs, dynamodb = boto3.client("sqs"), boto3.client("dynamodb")

    def handler(event, context):
        for record in event["Records"]:
            if record["eventSource"] == "aws:sqs":
                hop = json.loads(record["body"])
                item = {"pk": {"S": hop["id"]}, "sk": {"S": str(hop["n"])}}
                dynamodb.put_item(TableName=os.environ["TABLE"], Item=item)
            else:
                keys = record["dynamodb"]["Keys"]
                hop = {"id": keys["pk"]["S"], "n": int(keys["sk"]["S"]) + 1}
                if hop["n"] < 5:
                    sqs.send_message(QueueUrl=os.environ["QUEUE"], MessageBody=json.dumps(hop))
                else:
                    say(hop["id"])
"""


def test_idle_is_not_said_while_an_event_hops(deploy: Callable[..., Any]) -> None:
    """Whoever sees idle sees everything done, however the event and the looks fall together."""
    stack = deploy(HOPS, queue={"BatchSize": 1}, stream={"BatchSize": 1})
    hops = {"TABLE": stack.output("TableName"), "QUEUE": stack.output("QueueUrl")}
    runner = stack.runner(environment=hops)
    stack.await_idle(runner)

    for n in range(8):
        stack.send(json.dumps({"id": str(n), "n": 0}))
        stack.await_idle(runner)
        assert stack.said() == [str(each) for each in range(n + 1)]


def test_status_says_where_the_work_is(deploy: Callable[..., Any]) -> None:
    """Visible, in flight, delayed; running; lag; all of it as JSON."""
    stack = deploy("def handler(event, context): time.sleep(60)", timeout=60, queue={"BatchSize": 1}, stream={})
    stack.client("sqs").send_message(QueueUrl=stack.output("QueueUrl"), MessageBody="later", DelaySeconds=60)
    stack.send("a")
    runner = stack.runner()
    stack.until(lambda: runner.status().invocations)
    stack.put(*[{"pk": {"S": key}, "sk": {"S": "X"}} for key in "abc"])

    status = stack.until(lambda: (found := runner.status()).invocations == 2 and found)

    found = json.loads(json.dumps(status.json()))
    queue = next(value for name, value in found["queues"].items() if "DeadLetters" not in name)
    assert queue == {"visible": 0, "in_flight": 1, "delayed": 1}
    assert found["streams"] == {stack.output("TableName"): 3}
    assert found["idle"] is False


def test_a_stop_is_quick_and_leaves_nothing(deploy: Callable[..., Any]) -> None:
    """Seconds, also while a handler hangs; no thread and no process is left."""
    before = set(threading.enumerate())
    handler = """
        def handler(event, context):
            say(os.getpid())
            time.sleep(60)
    """
    stack = deploy(handler, timeout=60, queue={"BatchSize": 1}, stream={"BatchSize": 1}, routes=("$default",))
    stack.send("a")
    stack.put({"pk": {"S": "a"}, "sk": {"S": "X"}})
    runner = stack.runner()
    stack.until(lambda: len(stack.said()) == 2)
    idle = http.client.HTTPConnection("127.0.0.1", runner.port)
    idle.connect()

    start = time.monotonic()
    runner.stop()

    assert time.monotonic() - start < 30
    stack.until(lambda: set(threading.enumerate()) <= before)
    stack.until(lambda: not any(alive(pid) for pid in stack.said()))
    with pytest.raises(ConnectionRefusedError):
        http.client.HTTPConnection("127.0.0.1", runner.port).connect()


def test_a_port_that_is_taken_is_said_so(deploy: Callable[..., Any]) -> None:
    """Nothing starts."""
    stack = deploy("def handler(event, context): pass", routes=("$default",))
    port = stack.runner().port

    with pytest.raises(Misconfigured, match=f"port {port} is taken"):
        stack.runner(port=port)


def test_without_its_engine_the_status_is_unavailable(tmp_path: Path, deploy_at: Callable[..., Any]) -> None:
    """And nothing else falls over: the runner stops as ever."""
    with engine(port=0, data=tmp_path, log=tmp_path / "log") as running:
        stack = deploy_at(running.endpoint_url, "def handler(event, context): pass", queue={}, stream={})
        runner = stack.runner()
        stack.await_idle(runner)

    with pytest.raises(Unavailable):
        runner.status()
    connection = http.client.HTTPConnection("127.0.0.1", runner.port)
    connection.request("GET", "/_nilometer/status")
    assert connection.getresponse().status == 503
    runner.stop()


OWNER = """
    import json, sys, time
    from pathlib import Path
    from nilometer.local.plane.engine import engine
    from nilometer.local.stack.runner import Runner

    data = Path(sys.argv[1])
    with engine(port=int(sys.argv[2]), data=data, log=data / "engine.log") as running:
        print(running.process.pid, flush=True)
        Runner(data=data, **json.loads(input())).start()
        time.sleep(600)
"""


def test_a_killed_machine_room_goes_on_where_it_was(tmp_path: Path, deploy_at: Callable[..., Any]) -> None:
    """SIGKILL to the owner of engine and runner in the middle of the work: after a restart all is handed over.

    The engine's guard lets it save; what was in queues, in hand and in streams is there again.
    """
    handler = """
        def handler(event, context):
            said = os.environ["SAID"]
            while os.path.exists(said) and open(said).read().count("\\n") > 10 and not os.path.exists(f"{said}.go"):
                time.sleep(0.02)
            for record in event["Records"]:
                say(record["body"] if "body" in record else record["dynamodb"]["Keys"]["pk"]["S"])
    """
    port = free_port()
    command = [sys.executable, "-c", textwrap.dedent(OWNER), str(tmp_path), str(port)]
    owner = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert owner.stdin
    assert owner.stdout
    guard = int(owner.stdout.readline())
    stack = deploy_at(f"http://127.0.0.1:{port}", handler, queue={}, stream={"BatchSize": 3})
    messages, keys = [f"m{n}" for n in range(60)], [f"k{n}" for n in range(60)]
    stack.send(*messages)
    stack.put(*[{"pk": {"S": key}, "sk": {"S": "X"}} for key in keys])
    owner.stdin.write(f"{json.dumps(stack.arguments)}\n")
    owner.stdin.flush()
    stack.until(lambda: len(stack.said()) > 10)

    owner.kill()
    owner.wait()
    stack.until(lambda: not alive(guard))
    before = len(stack.said())
    (stack.code / "said.go").touch()
    with engine(port=port, data=tmp_path, log=tmp_path / "engine.log"):
        runner = stack.runner(data=tmp_path)
        stack.await_idle(runner)
        runner.stop()

    assert before < 120
    assert sorted(set(stack.said())) == sorted(messages + keys)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
