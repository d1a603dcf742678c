"""`services` for an event loop: made of it by docs/generate.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nilometer.client.aio.sending import AsyncSender
from nilometer.client.request import action, read
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


class AsyncActionsService:
    """Every action of the API by its name; docs/openapi.json has them all."""

    def __init__(self, send: AsyncSender) -> None:
        self._send = send

    async def act(self, name: str, workspace_id: str | None = None, /, **fields: Any) -> Any:
        """The answer of an action in a workspace, or in all; one that makes a secret answers with its `token`, once."""
        return await self._send(action(name, workspace_id, fields))

    async def whoami(self) -> KeyAnswer:
        """Whose the key is."""
        return await self._send(read("/v1/key", (), KeyAnswer))


class AsyncBillingService:
    """What a workspace has bought."""

    def __init__(self, send: AsyncSender) -> None:
        self._send = send

    async def get(self, workspace_id: str) -> BillingAnswer:
        """Plan, access, features and limits. `Rejected("unknown_billing")` while nothing of it has come."""
        return await self._send(read("/v1/workspaces/{}/billing", (workspace_id,), BillingAnswer))


class AsyncFlagsService:
    """Feature flags; an OpenFeature SDK asks the same routes by OFREP."""

    def __init__(self, send: AsyncSender) -> None:
        self._send = send

    async def is_on(self, flag: str, workspace_id: str) -> bool:
        """Whether it is on in a workspace. False for a flag that is not known."""
        body = {"context": {"workspace_id": workspace_id}}
        return (await self._send(read("/ofrep/v1/evaluate/flags/{}", (flag,), FlagAnswer, body=body))).value

    async def list(self, workspace_id: str) -> Sequence[FlagAnswer]:
        """Every flag, as it is in a workspace."""
        body = {"context": {"workspace_id": workspace_id}}
        return (await self._send(read("/ofrep/v1/evaluate/flags", (), FlagsAnswer, body=body))).flags


class AsyncWorkspacesService:
    """Workspaces; creating one needs a service key."""

    def __init__(self, send: AsyncSender) -> None:
        self._send = send

    async def get(self, workspace_id: str) -> WorkspaceAnswer:
        """`Rejected("unknown_workspace")` when there is none."""
        return await self._send(read("/v1/workspaces/{}", (workspace_id,), WorkspaceAnswer))

    async def create(self, workspace_id: str, *, name: str, slug: str, admin: str, **more: Any) -> Any:
        """With its first Admin; the same again changes nothing."""
        fields = {"name": name, "slug": slug, "admin": admin, **more}
        return await self._send(action("create_workspace", workspace_id, fields))


class AsyncMembersService:
    """Members of a workspace and who is invited."""

    def __init__(self, send: AsyncSender) -> None:
        self._send = send

    async def list(self, workspace_id: str) -> list[MemberAnswer]:
        """All of them, by user id."""
        found: list[MemberAnswer] = []
        cursor: str | None = ""
        while cursor is not None:
            request = read("/v1/workspaces/{}/members", (workspace_id,), ApiPage[MemberAnswer], cursor=cursor)
            page = await self._send(request)
            found += page.items
            cursor = page.next
        return found

    async def add(self, workspace_id: str, user_id: str, role: str) -> Any:
        """Without an invitation: for services."""
        return await self._send(action("add_member", workspace_id, {"user_id": user_id, "role": role}))

    async def change_role(self, workspace_id: str, user_id: str, role: str) -> Any:
        """`Refused` for the last Admin."""
        return await self._send(action("change_role", workspace_id, {"user_id": user_id, "role": role}))

    async def remove(self, workspace_id: str, user_id: str) -> Any:
        """`Refused` for the last Admin."""
        return await self._send(action("remove_member", workspace_id, {"user_id": user_id}))

    async def invite(self, workspace_id: str, email: str, role: str) -> Any:
        """The invitation with its `token`, which is shown once."""
        return await self._send(action("invite", workspace_id, {"email": email, "role": role}))

    async def invitations(self, workspace_id: str) -> Sequence[InvitationAnswer]:
        """The first thousand."""
        path = "/v1/workspaces/{}/invitations"
        return (await self._send(read(path, (workspace_id,), ApiPage[InvitationAnswer], limit="1000"))).items


class AsyncNotificationsService:
    """Notifications of persons."""

    def __init__(self, send: AsyncSender) -> None:
        self._send = send

    async def send(self, workspace_id: str | None, user_id: str, *, topic: str, title: str, **more: Any) -> Any:
        """Once a call, however often it is sent. About a workspace, or about none."""
        fields = {"user_id": user_id, "topic": topic, "title": title, **more}
        return await self._send(action("notify", workspace_id, fields))

    async def list(self, workspace_id: str, user_id: str, *, unread: bool = False) -> Sequence[NotificationAnswer]:
        """The first thousand."""
        query = {"user_id": user_id, "limit": "1000", **({"unread": "true"} if unread else {})}
        path = "/v1/workspaces/{}/notifications"
        return (await self._send(read(path, (workspace_id,), ApiPage[NotificationAnswer], **query))).items


class AsyncWebhooksService:
    """Where the events of a workspace are posted to, signed by Standard Webhooks."""

    def __init__(self, send: AsyncSender) -> None:
        self._send = send

    async def create(self, workspace_id: str, url: str, *, types: Sequence[str] = ()) -> Any:
        """The webhook with its `secret`, which is shown once. Without `types` every type is posted."""
        return await self._send(action("create_webhook", workspace_id, {"url": url, "types": list(types)}))

    async def list(self, workspace_id: str) -> Sequence[HookAnswer]:
        """All of them: a workspace has at most ten."""
        return (await self._send(read("/v1/workspaces/{}/webhooks", (workspace_id,), ApiPage[HookAnswer]))).items

    async def update(self, workspace_id: str, webhook_id: str, **fields: Any) -> Any:
        """`url`, `types` and `enabled`; what is left out stays."""
        return await self._send(action("update_webhook", workspace_id, {"webhook_id": webhook_id, **fields}))

    async def rotate(self, workspace_id: str, webhook_id: str, *, overlap_hours: int = 24) -> Any:
        """A new `secret`, shown once; the old one signs beside it for the overlap."""
        fields = {"webhook_id": webhook_id, "overlap_hours": overlap_hours}
        return await self._send(action("rotate_webhook_secret", workspace_id, fields))

    async def delete(self, workspace_id: str, webhook_id: str) -> None:
        """Nothing when it is gone already."""
        await self._send(action("delete_webhook", workspace_id, {"webhook_id": webhook_id}))


class AsyncDatasetsService:
    """Tables of the lake that services feed."""

    def __init__(self, send: AsyncSender) -> None:
        self._send = send

    async def declare(self, dataset: str, *, mode: str, columns: Sequence[Mapping[str, Any]], **more: Any) -> Any:
        """A dataset exists from now on, or has further nullable columns."""
        return await self._send(
            action("declare_dataset", None, {"dataset": dataset, "mode": mode, "columns": columns, **more})
        )

    async def append(self, dataset: str, rows: Sequence[Mapping[str, Any]], *, id: str, source: str) -> RowsAnswer:  # noqa: A002  # the batch's own
        """A batch of rows; sent again with the same id and source it lands once."""
        body = {"id": id, "source": source, "rows": rows}
        return await self._send(read("/v1/datasets/{}/rows", (dataset,), RowsAnswer, body=body))
