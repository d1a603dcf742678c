"""Billing, flags, workspaces, members, notifications and datasets. docs/generate.py makes aio/services.py of this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nilometer.client.request import action, read
from nilometer.client.sending import Sender
from nilometer.flows.api.shapes import (
    ApiPage,
    BillingAnswer,
    FlagAnswer,
    FlagsAnswer,
    HookAnswer,
    InvitationAnswer,
    KeyAnswer,
    MemberAnswer,
    NotificationAnswer,
    RowsAnswer,
    WorkspaceAnswer,
)


class ActionsService:
    """Every action of the API by its name; docs/openapi.json has them all."""

    def __init__(self, send: Sender) -> None:
        self._send = send

    def act(self, name: str, workspace_id: str | None = None, /, **fields: Any) -> Any:
        """The answer of an action in a workspace, or in all; one that makes a secret answers with its `token`, once."""
        return self._send(action(name, workspace_id, fields))

    def whoami(self) -> KeyAnswer:
        """Whose the key is."""
        return self._send(read("/v1/key", (), KeyAnswer))


class BillingService:
    """What a workspace has bought."""

    def __init__(self, send: Sender) -> None:
        self._send = send

    def get(self, workspace_id: str) -> BillingAnswer:
        """Plan, access, features and limits. `Rejected("unknown_billing")` while nothing of it has come."""
        return self._send(read("/v1/workspaces/{}/billing", (workspace_id,), BillingAnswer))


class FlagsService:
    """Feature flags; an OpenFeature SDK asks the same routes by OFREP."""

    def __init__(self, send: Sender) -> None:
        self._send = send

    def is_on(self, flag: str, workspace_id: str) -> bool:
        """Whether it is on in a workspace. False for a flag that is not known."""
        body = {"context": {"workspace_id": workspace_id}}
        return self._send(read("/ofrep/v1/evaluate/flags/{}", (flag,), FlagAnswer, body=body)).value

    def list(self, workspace_id: str) -> Sequence[FlagAnswer]:
        """Every flag, as it is in a workspace."""
        body = {"context": {"workspace_id": workspace_id}}
        return self._send(read("/ofrep/v1/evaluate/flags", (), FlagsAnswer, body=body)).flags


class WorkspacesService:
    """Workspaces; creating one needs a service key."""

    def __init__(self, send: Sender) -> None:
        self._send = send

    def get(self, workspace_id: str) -> WorkspaceAnswer:
        """`Rejected("unknown_workspace")` when there is none."""
        return self._send(read("/v1/workspaces/{}", (workspace_id,), WorkspaceAnswer))

    def create(self, workspace_id: str, *, name: str, slug: str, admin: str, **more: Any) -> Any:
        """With its first Admin; the same again changes nothing."""
        fields = {"name": name, "slug": slug, "admin": admin, **more}
        return self._send(action("create_workspace", workspace_id, fields))


class MembersService:
    """Members of a workspace and who is invited."""

    def __init__(self, send: Sender) -> None:
        self._send = send

    def list(self, workspace_id: str) -> list[MemberAnswer]:
        """All of them, by user id."""
        found: list[MemberAnswer] = []
        cursor: str | None = ""
        while cursor is not None:
            request = read("/v1/workspaces/{}/members", (workspace_id,), ApiPage[MemberAnswer], cursor=cursor)
            page = self._send(request)
            found += page.items
            cursor = page.next
        return found

    def add(self, workspace_id: str, user_id: str, role: str) -> Any:
        """Without an invitation: for services."""
        return self._send(action("add_member", workspace_id, {"user_id": user_id, "role": role}))

    def change_role(self, workspace_id: str, user_id: str, role: str) -> Any:
        """`Refused` for the last Admin."""
        return self._send(action("change_role", workspace_id, {"user_id": user_id, "role": role}))

    def remove(self, workspace_id: str, user_id: str) -> Any:
        """`Refused` for the last Admin."""
        return self._send(action("remove_member", workspace_id, {"user_id": user_id}))

    def invite(self, workspace_id: str, email: str, role: str) -> Any:
        """The invitation with its `token`, which is shown once."""
        return self._send(action("invite", workspace_id, {"email": email, "role": role}))

    def invitations(self, workspace_id: str) -> Sequence[InvitationAnswer]:
        """The first thousand."""
        path = "/v1/workspaces/{}/invitations"
        return self._send(read(path, (workspace_id,), ApiPage[InvitationAnswer], limit="1000")).items


class NotificationsService:
    """Notifications of persons."""

    def __init__(self, send: Sender) -> None:
        self._send = send

    def send(self, workspace_id: str | None, user_id: str, *, topic: str, title: str, **more: Any) -> Any:
        """Once a call, however often it is sent. About a workspace, or about none."""
        fields = {"user_id": user_id, "topic": topic, "title": title, **more}
        return self._send(action("notify", workspace_id, fields))

    def list(self, workspace_id: str, user_id: str, *, unread: bool = False) -> Sequence[NotificationAnswer]:
        """The first thousand."""
        query = {"user_id": user_id, "limit": "1000", **({"unread": "true"} if unread else {})}
        path = "/v1/workspaces/{}/notifications"
        return self._send(read(path, (workspace_id,), ApiPage[NotificationAnswer], **query)).items


class WebhooksService:
    """Where the events of a workspace are posted to, signed by Standard Webhooks."""

    def __init__(self, send: Sender) -> None:
        self._send = send

    def create(self, workspace_id: str, url: str, *, types: Sequence[str] = ()) -> Any:
        """The webhook with its `secret`, which is shown once. Without `types` every type is posted."""
        return self._send(action("create_webhook", workspace_id, {"url": url, "types": list(types)}))

    def list(self, workspace_id: str) -> Sequence[HookAnswer]:
        """All of them: a workspace has at most ten."""
        return self._send(read("/v1/workspaces/{}/webhooks", (workspace_id,), ApiPage[HookAnswer])).items

    def update(self, workspace_id: str, webhook_id: str, **fields: Any) -> Any:
        """`url`, `types` and `enabled`; what is left out stays."""
        return self._send(action("update_webhook", workspace_id, {"webhook_id": webhook_id, **fields}))

    def rotate(self, workspace_id: str, webhook_id: str, *, overlap_hours: int = 24) -> Any:
        """A new `secret`, shown once; the old one signs beside it for the overlap."""
        fields = {"webhook_id": webhook_id, "overlap_hours": overlap_hours}
        return self._send(action("rotate_webhook_secret", workspace_id, fields))

    def delete(self, workspace_id: str, webhook_id: str) -> None:
        """Nothing when it is gone already."""
        self._send(action("delete_webhook", workspace_id, {"webhook_id": webhook_id}))


class DatasetsService:
    """Tables of the lake that services feed."""

    def __init__(self, send: Sender) -> None:
        self._send = send

    def declare(self, dataset: str, *, mode: str, columns: Sequence[Mapping[str, Any]], **more: Any) -> Any:
        """A dataset exists from now on, or has further nullable columns."""
        return self._send(
            action("declare_dataset", None, {"dataset": dataset, "mode": mode, "columns": columns, **more})
        )

    def append(self, dataset: str, rows: Sequence[Mapping[str, Any]], *, id: str, source: str) -> RowsAnswer:  # noqa: A002  # the batch's own
        """A batch of rows; sent again with the same id and source it lands once."""
        body = {"id": id, "source": source, "rows": rows}
        return self._send(read("/v1/datasets/{}/rows", (dataset,), RowsAnswer, body=body))
