"""Questions that are asked of the lake again and again, as SQL that every engine reads (`Recipe.portable`).

Three variables may be set: `since` and `as_of` (timestamps; thirty-one days ago and now unless given), and `account`,
whose money it is (the platform's own unless given).
"""

from __future__ import annotations

from datetime import UTC, datetime

# ruff: noqa: S608  # the parts are our own, and no one else's text
from nilometer.domain.lake.books import BOOKS
from nilometer.lake.metrics.dialects import Dialect
from nilometer.lake.metrics.period import instant_literal
from nilometer.lake.metrics.states import COUNTED, MODE
from nilometer.lake.read.money_recipes import MONEY, Recipe, of_account
from nilometer.lake.tables.order import AUDIT_ORDER, newest_first

_TWICE_IN_BOOKS = "\n          union all\n          ".join(
    f"select '{name}', change_id, object_id, count(*) from {name} group by change_id, object_id having count(*) > 1"
    for name in BOOKS
)


def _against_limits(of: Dialect) -> str:
    """Own amounts over the plan's, each until it ends; a null is no limit, and what is not named is the plan's."""
    plans, limits = "records.image", of.object("records.image", "limits")
    hard = of.text(of.object_of(of.object(plans, "limit_rules"), "meter"), "hard")
    own = of.object(plans, "own_limits")
    ends = f"coalesce({of.value(of.object('said', 'ends'), 'field')}, {of.text('said', 'ends_at')})"
    return f"""
        with numbered as (
          select kind, workspace_id, new_image as image,
                 row_number() over (partition by kind, workspace_id order by {newest_first(AUDIT_ORDER)}) as newest
          from audit where kind in ('billing', 'limits') and workspace_id is not null
            and occurred_at <= getvariable('as_of')),
        records as (select kind, workspace_id, image from numbered where newest = 1),
        plans as (
          select workspace_id, {of.text("image", "plan")} as plan, meter,
                 cast({of.value(limits, "meter")} as double) as included, cast({hard} as double) as hard
          from records {of.each_key(limits, "meter")} where kind = 'billing'),
        own as (
          select workspace_id, split_part(name, '/', 1) as meter, {of.object_of(own, "name")} as said
          from records {of.each_key(own, "name")} where kind = 'limits'),
        fields as (select workspace_id, meter, field, said from own {of.each_key("said", "field")}),
        valid as (
          select workspace_id, meter, field, cast({of.value("said", "field")} as double) as value
          from fields where field in ('included', 'hard', 'amount')
            and ({ends} is null or getvariable('as_of') < {of.moment(ends)})),
        standing as (
          select workspace_id, meter, sum(case when field = 'amount' then value end) as granted,
                 max(case when field = 'included' then 1 else 0 end) as names_included,
                 max(case when field = 'included' then value end) as included,
                 max(case when field = 'hard' then 1 else 0 end) as names_hard,
                 max(case when field = 'hard' then value end) as hard
          from valid group by workspace_id, meter),
        limits as (
          select coalesce(plans.workspace_id, standing.workspace_id) as workspace_id, plan,
                 coalesce(plans.meter, standing.meter) as meter,
                 case when names_included = 1 then standing.included else plans.included end
                   + coalesce(granted, 0) as included,
                 case when names_hard = 1 then standing.hard else plans.hard end + coalesce(granted, 0) as hard
          from plans full join standing
            on plans.workspace_id = standing.workspace_id and plans.meter = standing.meter),
{_used_in_current_period(of)}
        select limits.workspace_id, plan, limits.meter, period_start, coalesce(used, 0) as used,
               coalesce(included, hard) as included,
               round(100 * coalesce(used, 0)
                     / nullif(least(coalesce(included, hard), coalesce(hard, included)), 0), 1) as percent
        from limits left join used on limits.workspace_id = used.workspace_id and limits.meter = used.meter
        order by percent desc nulls last, workspace_id, meter"""


def _since_epoch(of: Dialect, time: str) -> str:
    return of.seconds(time, instant_literal(datetime.fromtimestamp(0, UTC)))


def _used_in_current_period(of: Dialect) -> str:
    """As `domain.usage.total` counts: by the meter's aggregation. A voided level or event counts no more, a voided
    value does. A meter that the audit does not know is a sum. The period is that of `domain.usage.period`: Stripe's,
    the one that follows while a renewal has not arrived, else the month; what was used before it is no matter."""
    now, month = (_since_epoch(of, time) for time in (_AS_OF, f"date_trunc('month', {_AS_OF})"))
    return f"""
        periods as (
          select workspace_id, {of.text("image", "renews")} as renews,
                 cast({of.text("image", "current_period_start")} as double) as starts,
                 cast({of.text("image", "current_period_end")} as double) as ends
          from records where kind = 'billing'),
        began as (
          select workspace_id,
                 case when starts <= {now} and {now} < ends then starts
                      when ends <= {now} and (renews = 'true' or ends > {month}) then ends else {month} end as began
          from periods),
        newest as (
          select found.workspace_id, found.meter, found.period_start
          from (
            select workspace_id, meter, max(period_start) as period_start from usage
            where time <= getvariable('as_of') group by workspace_id, meter) as found
          left join began on found.workspace_id = began.workspace_id
          where {_since_epoch(of, "found.period_start")} >= coalesce(began.began, {month})),
        meters as (
          select {of.text("new_image", "meter")} as meter, {of.text("new_image", "aggregation")} as aggregation,
                 {of.text("new_image", "dimensions[0]")} as dimension
          from (
            select new_image, row_number() over (partition by pk, sk order by {newest_first(AUDIT_ORDER)}) as newest
            from audit where kind = 'meter' and occurred_at <= getvariable('as_of')) as told
          where newest = 1),
        voids as (
          select distinct voids_source, voids_id from usage
          where voids_id is not null and time <= getvariable('as_of')),
        happened as (
          select usage.workspace_id, usage.meter, usage.period_start, quantity, meters.aggregation,
                 case when usage.voids_id is null then {of.value("dimensions", "dimension")} end as unique_value,
                 case when usage.voids_id is null then 1 else -1 end as events,
                 case when usage.voids_id is null and voids.voids_id is null then quantity end as level,
                 row_number() over (
                   partition by usage.workspace_id, usage.meter, usage.period_start
                   order by case when usage.voids_id is null and voids.voids_id is null then 0 else 1 end,
                            time desc, source desc, event_id desc) as recency
          from usage join newest on usage.workspace_id = newest.workspace_id and usage.meter = newest.meter
            and usage.period_start = newest.period_start
          left join meters on usage.meter = meters.meter
          left join voids on usage.source = voids.voids_source and usage.event_id = voids.voids_id
          where time <= getvariable('as_of')),
        used as (
          select workspace_id, meter, period_start,
                 case max(aggregation) when 'count' then sum(events) when 'max' then coalesce(max(level), 0)
                      when 'latest' then coalesce(max(case when recency = 1 then level end), 0)
                      when 'unique' then count(distinct unique_value) else sum(quantity) end as used
          from happened group by workspace_id, meter, period_start)"""


_AS_OF = "getvariable('as_of')"
_ALL = (
    Recipe(
        name="usage-per-day",
        question="How much did each workspace use, per meter and UTC day?",
        sql="""
        select workspace_id, meter, unit, cast(time as date) as day, sum(quantity) as quantity, count(*) as events
        from usage where time between getvariable('since') and getvariable('as_of')
        group by workspace_id, meter, unit, cast(time as date) order by workspace_id, meter, day""",
    ),
    Recipe(
        name="usage-per-period",
        question="How much did each workspace use in each billing period?",
        sql="""
        select workspace_id, meter, period_start, sum(quantity) as quantity, count(*) as events
        from usage where time <= getvariable('as_of')
        group by workspace_id, meter, period_start order by workspace_id, meter, period_start""",
    ),
    Recipe(
        name="usage-by-dimension",
        question="Which models, regions or other dimensions is the usage made of?",
        said=lambda of: (
            f"""
        select meter, dimension, {of.value("dimensions", "dimension")} as value, sum(quantity) as quantity
        from usage {of.each_key("dimensions", "dimension")}
        where time between getvariable('since') and getvariable('as_of')
        group by meter, dimension, {of.value("dimensions", "dimension")}
        order by meter, dimension, quantity desc, value"""
        ),
    ),
    Recipe(
        name="usage-against-limits",
        question="How near is each workspace to its limits, of its plan or its own, in the current period?",
        said=_against_limits,
    ),
    Recipe(
        name="late-usage",
        question="Which usage arrived more than an hour after it happened, and how late?",
        said=lambda of: (
            f"""
        select workspace_id, meter, source, event_id, time, received_at,
               cast(round({of.seconds("received_at", "time")}) as bigint) as seconds_late
        from usage where {of.seconds("received_at", "time")} > 3600
          and time between getvariable('since') and getvariable('as_of')
        order by seconds_late desc, event_id"""
        ),
    ),
    Recipe(
        name="voided-usage",
        question="Which usage was taken back, and when?",
        sql="""
        select void.workspace_id, void.meter, voided.event_id, voided.time, voided.quantity,
               void.event_id as voided_by, void.time as voided_at
        from usage as void join usage as voided
          on voided.source = void.voids_source and voided.event_id = void.voids_id
        where void.time between getvariable('since') and getvariable('as_of')
        order by voided_at, voided.event_id""",
    ),
    Recipe(
        name="events-per-type",
        question="Which Stripe events arrive, how many and by which way?",
        sql="""
        select type, source, count(*) as events, min(created_at) as first, max(created_at) as last
        from stripe_events where created_at between getvariable('since') and getvariable('as_of')
        group by type, source order by events desc, type, source""",
    ),
    Recipe(
        name="event-latency",
        question="How long from Stripe's event to the webhook, and from there to the lake?",
        said=lambda of: (
            f"""
        with taken as (
          select cast(created_at as date) as day, {of.seconds("received_at", "created_at")} as to_us,
                 {of.seconds("recorded_at", "received_at")} as to_lake
          from stripe_events where created_at between getvariable('since') and getvariable('as_of'))
        select day, count(*) as events,
               round({of.percentile("to_us", 0.5)}, 3) as to_us_p50,
               round({of.percentile("to_us", 0.99)}, 3) as to_us_p99,
               round({of.percentile("to_lake", 0.5)}, 3) as to_lake_p50,
               round({of.percentile("to_lake", 0.99)}, 3) as to_lake_p99
        from taken group by day order by day"""
        ),
    ),
    MONEY["subscriptions"],
    MONEY["mrr"],
    MONEY["mrr-movement"],
    MONEY["mrr-events"],
    Recipe(
        name="churn",
        question="Which subscriptions ended, when and why?",
        said=lambda of: of_account(f"""
        with {MODE}
        select created_at as ended_at, object_id as subscription, customer_id, workspace_id,
               {of.text("payload", "data.object.cancellation_details.reason")} as reason,
               {of.text("payload", "data.object.cancellation_details.feedback")} as feedback
        from stripe_events where type = 'customer.subscription.deleted' and {COUNTED}
          and created_at between getvariable('since') and getvariable('as_of')
        order by ended_at, subscription"""),
    ),
    MONEY["failed-payments"],
    MONEY["revenue"],
    MONEY["revenue-events"],
    MONEY["receivables"],
    Recipe(
        name="billing-as-of",
        question="What was each workspace's plan and status as of a time?",
        said=lambda of: (
            f"""
        with numbered as (
          select workspace_id, action, new_image, occurred_at,
                 row_number() over (partition by pk, sk order by {newest_first(AUDIT_ORDER)}) as newest
          from audit where kind = 'billing' and occurred_at <= getvariable('as_of'))
        select workspace_id, {of.text("new_image", "plan")} as plan, {of.text("new_image", "status")} as status,
               cast({of.text("new_image", "seats")} as bigint) as seats, occurred_at as since
        from numbered where newest = 1 and action in ('INSERT', 'MODIFY') and workspace_id is not null
        order by workspace_id"""
        ),
    ),
    Recipe(
        name="plan-changes",
        question="Which workspaces changed their plan or status, from what to what, because of which event?",
        said=lambda of: (
            f"""
        with named as (
          select occurred_at, sequence_number, workspace_id, cause,
                 {of.text("old_image", "plan")} as old_plan, {of.text("new_image", "plan")} as new_plan,
                 {of.text("old_image", "status")} as old_status, {of.text("new_image", "status")} as new_status
          from audit where kind = 'billing' and action = 'MODIFY'
            and occurred_at between getvariable('since') and getvariable('as_of'))
        select occurred_at, workspace_id, old_plan, new_plan, old_status, new_status, cause
        from named
        where old_plan is distinct from new_plan or old_status is distinct from new_status
        order by {", ".join(AUDIT_ORDER)}"""
        ),
    ),
    Recipe(
        name="who-changed-what",
        question="Who changed which record between two times, and which fields?",
        sql=f"""
        select occurred_at, coalesce(actor, '(system)') as actor, action, kind, workspace_id, pk, sk,
               changed_fields, cause
        from audit where occurred_at between getvariable('since') and getvariable('as_of') and kind <> 'counter'
          and table_name = 'records'
        order by {", ".join(AUDIT_ORDER)}""",
    ),
    Recipe(
        name="changes-per-kind",
        question="How many records were created, changed, removed and expired, per day?",
        sql="""
        select cast(occurred_at as date) as day, kind, action, count(*) as changes,
               count(distinct concat(pk, ' ', sk)) as records
        from audit where occurred_at between getvariable('since') and getvariable('as_of') and table_name = 'records'
        group by cast(occurred_at as date), kind, action order by day, kind, action""",
    ),
    Recipe(
        name="rejected",
        question="What was refused, why, and whose was it, per day?",
        said=lambda of: (
            f"""
        with named as (
          select cast(occurred_at as date) as day, {of.text("new_image", "flow")} as flow,
                 {of.text("new_image", "reason")} as reason, {of.text("new_image", "source")} as source,
                 workspace_id, cause
          from audit where kind = 'reject' and occurred_at between getvariable('since') and getvariable('as_of'))
        select day, flow, reason, source, workspace_id, count(*) as rejects, max(cause) as an_event
        from named group by day, flow, reason, source, workspace_id order by day, rejects desc, flow, reason"""
        ),
    ),
    Recipe(
        name="twice",
        question="Is anything in the lake twice? (An answer without rows is the promise.)",
        sql=f"""
        select * from (
          select 'stripe_events' as table_name, event_id as id, account as space, count(*) as rows
          from stripe_events group by event_id, account having count(*) > 1
          union all
          select 'usage', event_id, source, count(*) from usage group by event_id, source having count(*) > 1
          union all
          select 'audit', change_id, table_name, count(*) from audit group by change_id, table_name having count(*) > 1
          union all
          {_TWICE_IN_BOOKS}) as found
        order by table_name, id, space, rows""",
    ),
    Recipe(
        name="freshness",
        question="How many rows has each table, and how fresh is it?",
        sql="""
        select 'stripe_events' as table_name, count(*) as rows, max(created_at) as newest, max(recorded_at) as recorded
        from stripe_events
        union all select 'usage', count(*), max(time), max(recorded_at) from usage
        union all select 'audit', count(*), max(occurred_at), max(recorded_at) from audit
        order by table_name""",
    ),
)

RECIPES = {recipe.name: recipe for recipe in _ALL}
