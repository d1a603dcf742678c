"""AWS's JSON protocol to the engine without an SDK: what pollers ask many times a second costs a tenth of boto3's CPU.

Errors are botocore's, so a poller treats both alike. Nothing is signed: the engine reads of a signature only whose it
is, for which region and service.
"""

from __future__ import annotations

import http.client
import json
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from botocore.exceptions import ClientError, HTTPClientError

from nilometer.local.sources.changes import ChangesPage

_SECONDS = 60.0  # botocore's
MORE = "NilometerMore"  # as `local.patches.queues` has it, which imports the engine
_TARGETS = {"sqs": ("AmazonSQS", "1.0"), "dynamodb": ("DynamoDBStreams_20120810", "1.0")}


class EngineApi:
    """Thread-safe: a request takes an idle connection, or makes one."""

    def __init__(self, endpoint_url: str, *, region: str, access_key: str) -> None:
        self._netloc = urllib.parse.urlsplit(endpoint_url).netloc
        self._scope = f"Credential={access_key}/20260101/{region}"
        self._idle: list[http.client.HTTPConnection] = []

    def receive(self, queue_url: str, most: int) -> list[dict[str, Any]]:
        """Messages with all their attributes, as SQS answers them; at most `most`, and a megabyte or one."""
        everything = {"MessageSystemAttributeNames": ["All"], "MessageAttributeNames": ["All"]}
        number = {"MaxNumberOfMessages": min(most, 10), MORE: most}
        asked = {"QueueUrl": queue_url, "WaitTimeSeconds": 0, **number, **everything}
        return list(self._ask("sqs", "ReceiveMessage", asked).get("Messages") or ())

    def delete(self, queue_url: str, entries: list[dict[str, Any]]) -> None:
        """Deletes messages by their handles."""
        self._ask("sqs", "DeleteMessageBatch", {"QueueUrl": queue_url, "Entries": entries, MORE: len(entries)})

    def depths(self, queue_urls: Sequence[str]) -> dict[str, dict[str, str]]:
        """The attributes that count messages, by the address of each queue, all of one moment."""
        if not queue_urls:
            return {}
        return dict(self._ask("sqs", "GetQueueAttributes", {"QueueUrl": queue_urls[0], MORE: [*queue_urls]})["Queues"])

    def changes(self, stream_arn: str, iterator: str, limit: int) -> ChangesPage:
        """What GetRecords answers."""
        asked = {"ShardIterator": iterator, "Limit": limit}
        return ChangesPage.decoded(self._content("dynamodb", "GetRecords", asked), stream_arn)

    def close(self) -> None:
        """Of the idle connections."""
        while self._idle:
            self._idle.pop().close()

    def _ask(self, service: str, operation: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return _decoded(self._content(service, operation, body) or b"{}")

    def _content(self, service: str, operation: str, body: Mapping[str, Any]) -> bytes:
        """`ClientError` for what the engine refuses, `HTTPClientError` when it does not answer."""
        prefix, version = _TARGETS[service]
        headers = {
            "Authorization": f"AWS4-HMAC-SHA256 {self._scope}/{service}/aws4_request",
            "Content-Type": f"application/x-amz-json-{version}",
            "X-Amz-Target": f"{prefix}.{operation}",
        }
        try:
            status, content = self._post(headers, json.dumps(body).encode())
        except (OSError, http.client.HTTPException) as error:
            raise HTTPClientError(error=error) from error
        if status >= 400:
            raise ClientError(_error(content, status), operation)
        return content

    def _post(self, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """On a connection that the engine closed meanwhile the request was not taken: once more on a new one."""
        if self._idle:
            try:
                return self._exchange(self._idle.pop(), headers, body)
            except (http.client.RemoteDisconnected, ConnectionError, IndexError):
                pass
        return self._exchange(http.client.HTTPConnection(self._netloc, timeout=_SECONDS), headers, body)

    def _exchange(
        self, connection: http.client.HTTPConnection, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, bytes]:
        try:
            connection.request("POST", "/", body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return answer.status, content


def _decoded(content: bytes) -> dict[str, Any]:
    try:
        return dict(msgspec.json.decode(content))
    except msgspec.DecodeError:  # half a surrogate pair, which JSON can say and UTF-8 cannot
        return dict(json.loads(content))


def _error(content: bytes, status: int) -> Any:
    try:
        found = json.loads(content)
        code, message = str(found["__type"]).rpartition("#")[2], str(found.get("message", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        code, message = str(status), ""
    return {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
