"""When everything is done, and when it only looks so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from nilometer.local.plane.deployed import read
from nilometer.local.plane.engine import Engine
from nilometer.local.sources.engine_api import EngineApi
from nilometer.local.stack.status import Observer
from nilometer.local.workers.activity import Activity


class Hopping:
    """What an observer asks, which visits the queues one by one: behind its back a message always is in another."""

    def __init__(self, api: EngineApi, sqs: Any, urls: list[str], hop: Callable[[], None]) -> None:
        self._api = api
        self._sqs = sqs
        self._hop = hop
        self._urls = urls
        self.seen: list[str] = []

    def depths(self, queue_urls: Sequence[str]) -> dict[str, dict[str, str]]:
        return {url: self._depth(url) for url in queue_urls}

    def _depth(self, asked: str) -> dict[str, str]:
        self._sqs.purge_queue(QueueUrl=asked)
        answer = self._api.depths([asked])[asked]
        self.seen.append(answer["ApproximateNumberOfMessages"])
        self._sqs.send_message(QueueUrl=asked, MessageBody="hop")
        for url in self._urls:
            if url != asked:
                self._sqs.purge_queue(QueueUrl=url)
        self._hop()
        return answer


@pytest.fixture
def api(aws: Engine) -> Iterator[EngineApi]:
    found = EngineApi(aws.endpoint_url, region="us-east-1", access_key="test")
    yield found
    found.close()


def test_a_look_that_sees_nothing_is_not_idle_when_something_moved(deploy: Callable[..., Any], api: EngineApi) -> None:
    """The message goes into each queue just after it was seen empty; only the activity count tells."""
    stack = deploy("def handler(event, context): pass", queue={})
    deployment = read(stack.client, stack_name=stack.name)
    activity = Activity()

    def observed(hop: Callable[[], None]) -> tuple[bool, list[str]]:
        hopping = Hopping(api, stack.client("sqs"), [queue.url for queue in deployment.queues], hop)
        observer = Observer(deployment, api=hopping, pools={}, queues=[], shards=[], activity=activity)
        return observer.status().idle, hopping.seen

    assert observed(activity.note) == (False, ["0"] * 4)
    assert observed(lambda: None)[0] is True, "without the count it would be believed: this is what it is for"


def test_an_invocation_is_work(deploy: Callable[..., Any], api: EngineApi) -> None:
    """Also one that has read nothing yet."""
    stack = deploy("def handler(event, context): pass", queue={})
    deployment = read(stack.client, stack_name=stack.name)
    activity = Activity()
    observer = Observer(deployment, api=api, pools={}, queues=[], shards=[], activity=activity)

    with activity.running():
        assert observer.status().idle is False
    assert observer.status().idle is True
