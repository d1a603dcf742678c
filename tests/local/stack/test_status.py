"""When everything is done, and when it only looks so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nilometer.local.plane.deployed import read
from nilometer.local.stack.status import Observer
from nilometer.local.workers.activity import Activity


class Hopping:
    """The SQS client of an observer behind whose back a message always is in the queue that it does not look at."""

    def __init__(self, sqs: Any, urls: list[str], hop: Callable[[], None]) -> None:
        self._sqs = sqs
        self._hop = hop
        self._urls = urls
        self.seen: list[str] = []

    def get_queue_attributes(self, **request: Any) -> Any:
        self._sqs.purge_queue(QueueUrl=request["QueueUrl"])
        answer = self._sqs.get_queue_attributes(**request)
        self.seen.append(answer["Attributes"]["ApproximateNumberOfMessages"])
        self._sqs.send_message(QueueUrl=request["QueueUrl"], MessageBody="hop")
        for url in self._urls:
            if url != request["QueueUrl"]:
                self._sqs.purge_queue(QueueUrl=url)
        self._hop()
        return answer


def test_a_look_that_sees_nothing_is_not_idle_when_something_moved(deploy: Callable[..., Any]) -> None:
    """The message goes into each queue just after it was seen empty; only the activity count tells."""
    stack = deploy("def handler(event, context): pass", queue={})
    deployment = read(stack.client, stack_name=stack.name)
    activity = Activity()

    def observed(hop: Callable[[], None]) -> tuple[bool, list[str]]:
        sqs = Hopping(stack.client("sqs"), [queue.url for queue in deployment.queues], hop)
        observer = Observer(deployment, sqs=sqs, pools={}, queues=[], shards=[], activity=activity)
        return observer.status().idle, sqs.seen

    assert observed(activity.note) == (False, ["0"] * 4)
    assert observed(lambda: None)[0] is True, "without the count it would be believed: this is what it is for"


def test_an_invocation_is_work(deploy: Callable[..., Any]) -> None:
    """Also one that has read nothing yet."""
    stack = deploy("def handler(event, context): pass", queue={})
    deployment = read(stack.client, stack_name=stack.name)
    activity = Activity()
    observer = Observer(deployment, sqs=stack.client("sqs"), pools={}, queues=[], shards=[], activity=activity)

    with activity.running():
        assert observer.status().idle is False
    assert observer.status().idle is True
