"""Handing one mail to Amazon SES. It has no key for a repetition, so each request is made once.

Source: Amazon SES API v2, SendEmail.
"""

from __future__ import annotations

from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, EndpointConnectionError

from nilometer.domain.notices.mail import Mail, Recipient
from nilometer.errors import Refused, Unavailable

_REFUSED = 500  # HTTP statuses below say that no mail went out


class MailRefused(Refused):
    """SES took nothing: not verified, throttled, paused, or not reached at all. The message is its code."""


class Mailer:
    """Sends from one address. SES's texts name addresses, so of an error the code alone is told."""

    def __init__(self, client: Any, *, sender: str) -> None:
        self._client = client
        self._sender = sender

    def send(self, mail: Mail, to: Recipient, *, tag: str) -> None:
        """`MailRefused` when no mail went out; `Unavailable` when one may have."""
        try:
            self._client.send_email(**_request(mail, to, sender=self._sender, tag=tag))
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", "unknown"))
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", _REFUSED) < _REFUSED:
                raise MailRefused(code) from None
            raise Unavailable(f"SES did not say whether it took a mail: {code}") from None
        except (EndpointConnectionError, ConnectTimeoutError):
            raise MailRefused("not_reached") from None
        except BotoCoreError as error:
            raise Unavailable(f"SES did not say whether it took a mail: {type(error).__name__}") from None


def _request(mail: Mail, to: Recipient, *, sender: str, tag: str) -> dict[str, Any]:
    body = {kind: {"Data": data, "Charset": "UTF-8"} for kind, data in (("Text", mail.text), ("Html", mail.html))}
    return {
        "FromEmailAddress": sender,
        "Destination": {"ToAddresses": [to.address]},
        "Content": {
            "Simple": {
                "Subject": {"Data": mail.subject, "Charset": "UTF-8"},
                "Body": body,
                "Headers": [{"Name": name, "Value": value} for name, value in mail.headers],
            }
        },
        "EmailTags": [{"Name": "notification", "Value": tag}],
    }
