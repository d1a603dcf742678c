"""What the API shows. Each read asks for the workspace's own partition; a list comes in pages."""

from __future__ import annotations

from typing import Any

from nilometer.domain.acts.roles import Permission
from nilometer.domain.acts.security import SecurityEntry
from nilometer.domain.people.onboarding import OnboardingProgress
from nilometer.domain.people.policy import Policy
from nilometer.errors import Refused
from nilometer.flows.api.problem import ApiProblem
from nilometer.flows.api.route import ApiCall, ApiRoute, asked, first, page
from nilometer.flows.api.shapes import (
    ApiPage,
    BillingAnswer,
    HookAnswer,
    InvitationAnswer,
    LimitsAnswer,
    MemberAnswer,
    MeterAnswer,
    NotificationAnswer,
    PolicyAnswer,
    SessionAnswer,
    UsageAnswer,
    WorkspaceAnswer,
)
from nilometer.flows.billing.reading import show_billing
from nilometer.flows.limits import own
from nilometer.flows.notices import notifications, webhooks
from nilometer.flows.people import access, members, onboarding, policies, security, workspaces
from nilometer.flows.recovery.overview import used_by

_SHOWN = ("name", "slug", "status", "shards", "created_at", "updated_at", "deleted_until", "admins")


def workspace(call: ApiCall) -> dict[str, Any]:
    """The record without keys and inner fields."""
    try:
        item = workspaces.workspace(call.store, call.caller)
    except Refused as error:
        raise ApiProblem(404, "unknown_workspace", f"workspace {call.where} is not known") from error
    return {"workspace_id": call.where, **{name: item[name] for name in _SHOWN if name in item}}


def billing(call: ApiCall) -> Any:
    """Plan, access, features, limits and subscriptions, as Stripe's events left them."""
    found = show_billing(call.store, call.where, now=call.now)
    if found is None:
        raise ApiProblem(404, "unknown_billing", f"Stripe has reported nothing of workspace {call.where} yet")
    return found


def usage(call: ApiCall) -> Any:
    """Every meter that was used in the period of now, or has a limit."""
    return {"items": used_by(call.store, call.where, now=call.now), "next": None}


def _limits(call: ApiCall) -> Any:
    effective, said = own.limits_of(call.store, call.caller, now=call.now)
    return {"items": effective, "own": said, "next": None}


def _members(call: ApiCall) -> Any:
    limit, after = asked(call)
    return first(members.members(call.store, call.caller, after=after, limit=limit + 1), limit, lambda one: one.user_id)


def _invitations(call: ApiCall) -> Any:
    limit, after = asked(call)
    found = members.invitations(call.store, call.caller, now=call.now, after=after, limit=limit + 1)
    return first(found, limit, lambda one: one.id)


def _sessions(call: ApiCall) -> Any:
    found = access.sessions(call.store, call.caller, now=call.now, user_id=_user(call))
    return page(call, found, lambda one: one.id)


def _notifications(call: ApiCall) -> Any:
    user_id = _user(call)
    limit, after = asked(call)
    wanted = {name: call.request.query.get(name) == "true" for name in ("unread", "archived")}
    found = notifications.shown(
        call.store, call.person(user_id), now=call.now, user_id=user_id, after=after, limit=limit + 1, **wanted
    )
    shown = ("notification_id", "topic", "title", "text", "link", "unread", "workspace_id", "created_at")
    kept = [{name: item[name] for name in shown if name in item} for item in found]
    return first(kept, limit, lambda one: str(one["notification_id"]))


def _onboarding(call: ApiCall) -> Any:
    user_id = _user(call)
    found = onboarding.progress(call.store, call.person(user_id), now=call.now, user_id=user_id)
    return {"items": found, "next": None}


def _security(call: ApiCall) -> Any:
    limit, after = asked(call)
    found = security.entries_after(call.store, call.caller, after, now=call.now, limit=limit + 1)
    return first(found, limit, lambda one: one.id)


def _webhooks(call: ApiCall) -> Any:
    return page(call, webhooks.webhooks(call.store, call.caller), lambda one: one.id)


def _policies(call: ApiCall) -> Any:
    found = [(which, policies.in_force(call.store, which, now=call.now)) for which in Policy]
    shown = ("url", "material", "effective_at")
    return {
        "items": [
            {"policy": which, "number": item["policy_version"], **{name: item[name] for name in shown}}
            for which, item in found
            if item
        ],
        "next": None,
    }


def _meter(call: ApiCall) -> MeterAnswer:
    slug = call.request.path["meter"]
    found = call.means.known.meters([slug]).get(slug)
    if found is None:
        raise ApiProblem(404, "unknown_meter", f"there is no meter {slug[:80]!r}")
    return MeterAnswer(found.slug, found.unit, found.aggregation, list(found.dimensions), found.active)


def _user(call: ApiCall) -> str:
    """Whose: the session's own when it is not said."""
    user_id = call.request.query.get("user_id") or (call.member.user_id if call.member else "")
    if not user_id:
        raise ApiProblem(400, "invalid_schema", "say whose records you mean: ?user_id=")
    return user_id


def _read(path: str, name: str, scope: str, run: Any, answer: Any, says: str, *query: str) -> ApiRoute:
    return ApiRoute(method="GET", path=path, name=name, says=says, scope=scope, run=run, query=query, answer=answer)


_IN = "/v1/workspaces/{workspace_id}"
_PAGES = ("limit", "cursor")
_OF_USER = ("user_id", *_PAGES)
ROUTES = (
    _read(_IN, "get_workspace", Permission.WORKSPACE_VIEW, workspace, WorkspaceAnswer, "A workspace"),
    _read(
        f"{_IN}/billing",
        "get_billing",
        Permission.BILLING_VIEW,
        billing,
        BillingAnswer,
        "Plan, access, features and limits",
    ),
    _read(
        f"{_IN}/usage",
        "get_usage",
        Permission.USAGE_VIEW,
        usage,
        ApiPage[UsageAnswer],
        "What was used in this period, by meter",
    ),
    _read(
        f"{_IN}/limits",
        "list_limits",
        Permission.LIMIT_VIEW,
        _limits,
        LimitsAnswer,
        "Limits in effect, and the workspace's own",
    ),
    _read(
        f"{_IN}/members",
        "list_members",
        Permission.MEMBER_VIEW,
        _members,
        ApiPage[MemberAnswer],
        "Members by user id",
        *_PAGES,
    ),
    _read(
        f"{_IN}/invitations",
        "list_invitations",
        Permission.MEMBER_INVITE,
        _invitations,
        ApiPage[InvitationAnswer],
        "Invitations",
        *_PAGES,
    ),
    _read(
        f"{_IN}/sessions",
        "list_sessions",
        Permission.SESSION_MANAGE,
        _sessions,
        ApiPage[SessionAnswer],
        "Valid sessions of a member",
        *_OF_USER,
    ),
    _read(
        f"{_IN}/notifications",
        "list_notifications",
        Permission.NOTIFICATION_VIEW,
        _notifications,
        ApiPage[NotificationAnswer],
        "Notifications of a person, newest first",
        "unread",
        "archived",
        *_OF_USER,
    ),
    _read(
        f"{_IN}/onboarding",
        "list_onboarding",
        Permission.ONBOARDING_UPDATE,
        _onboarding,
        ApiPage[OnboardingProgress],
        "How far a person is with tutorials",
        "user_id",
    ),
    _read(
        f"{_IN}/security",
        "list_security",
        Permission.SECURITY_VIEW,
        _security,
        ApiPage[SecurityEntry],
        "The security log, the oldest first",
        *_PAGES,
    ),
    _read(
        f"{_IN}/webhooks",
        "list_webhooks",
        Permission.WEBHOOK_MANAGE,
        _webhooks,
        ApiPage[HookAnswer],
        "Where the workspace's events are posted to",
        *_PAGES,
    ),
    _read(
        "/v1/policies",
        "list_policies",
        Permission.POLICY_ACCEPT,
        _policies,
        ApiPage[PolicyAnswer],
        "The policies in force",
    ),
    _read("/v1/meters/{meter}", "get_meter", "", _meter, MeterAnswer, "What a meter counts, for any valid key"),
)
