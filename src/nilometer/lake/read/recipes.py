"""Questions that are asked of the lake again and again, as SQL that every engine's dialect is near to.

Two variables may be set: `since` and `as_of` (timestamps; thirty-one days ago and now unless told).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A ready question: its name, what it answers, and its SQL."""

    name: str
    question: str
    sql: str


# Stripe's clock has seconds and deliveries have no order: within a second an object is created first and deleted last.
# The books resolve the events of a second as far as they had arrived, so a row of theirs stands among these by when it
# was known. They know what no event told, too: what was backfilled, reconciled or fetched again comes after the events
# of its second, and what was found so begins when Stripe made it.
_SUBSCRIPTIONS = """
    subscriptions as (
      select customer_id, workspace_id, object_id as subscription,
             case when deleted then 'customer.subscription.deleted' else 'customer.subscription.updated' end as type,
             valid_from as created_at,
             coalesce(case origin when 'api' then created_at end, valid_from) as started_at,
             change_id as event_id, cause,
             (valid_from, case origin when 'api' then 3 else 1 end, known_at) as turn, status,
             coalesce(items, '[null]')::json as items
      from subscriptions_history where origin <> 'snapshot' and valid_from <= getvariable('as_of')
      union all by name
      select customer_id, workspace_id, object_id as subscription, type, created_at, event_id, event_id as cause,
             (created_at, case when type like '%.created' then 0 when type like '%.deleted' then 2 else 1 end,
              received_at) as turn,
             payload->>'$.data.object.status' as status, payload->'$.data.object.items.data' as items,
             created_at as started_at
      from stripe_events
      where type like 'customer.subscription.%' and object_type = 'subscription'
        and created_at <= getvariable('as_of'))"""

# Money a month in minor units: a year's price is a twelfth, a week's is 52 twelfths. In the books an item has its
# price's money itself.
_MONTHLY = """
    priced as (
      select * exclude (items), unnest(from_json(items, '["json"]')) as item from subscriptions),
    valued as (
      select customer_id, workspace_id, subscription, created_at, started_at, turn, event_id, cause,
             coalesce(sum(case when status in ('active', 'past_due') and type <> 'customer.subscription.deleted' then
               coalesce(item->>'$.price.unit_amount', item->>'$.unit_amount')::double
               * coalesce((item->>'$.quantity')::double, 1)
               * case coalesce(item->>'$.price.recurring.interval', item->>'$.interval')
                   when 'year' then 1 / 12.0 when 'week' then 52 / 12.0 when 'day' then 365 / 12.0 else 1 end
               / coalesce(item->>'$.price.recurring.interval_count', item->>'$.interval_count', '1')::double
               end), 0) as mrr,
             any_value(coalesce(item->>'$.price.currency', item->>'$.currency')) as currency
      from priced group by all)"""

# Which change of a subscription moved the monthly recurring revenue, when and how.
_MOVED = """
    moved as (
      select created_at, started_at, currency, subscription, workspace_id, event_id, cause, mrr,
             coalesce(lag(mrr) over life, 0) as before, coalesce(max(mrr) over earlier, 0) as most
      from valued
      window life as (partition by subscription order by turn, event_id),
             earlier as (partition by subscription order by turn, event_id
                         rows between unbounded preceding and 1 preceding)),
    named as (
      select created_at, subscription, workspace_id, cause,
             date_trunc('month', case when before = 0 and most = 0 then started_at else created_at end)::date as month,
             coalesce(currency, last_value(currency ignore nulls) over (partition by subscription)) as currency,
             mrr - before as change,
             case when before = 0 and most = 0 then 'new' when before = 0 then 'reactivation'
                  when mrr = 0 then 'churn' when mrr > before then 'expansion' else 'contraction' end as movement
      from moved where mrr <> before)"""

_ALL = (
    Recipe(
        name="usage-per-day",
        question="How much did each workspace use, per meter and UTC day?",
        sql="""
        select workspace_id, meter, unit, time::date as day, sum(quantity) as quantity, count(*) as events
        from usage where time between getvariable('since') and getvariable('as_of')
        group by all order by workspace_id, meter, day""",
    ),
    Recipe(
        name="usage-per-period",
        question="How much did each workspace use in each billing period?",
        sql="""
        select workspace_id, meter, period_start, sum(quantity) as quantity, count(*) as events
        from usage where time <= getvariable('as_of')
        group by all order by workspace_id, meter, period_start""",
    ),
    Recipe(
        name="usage-by-dimension",
        question="Which models, regions or other dimensions is the usage made of?",
        sql="""
        with split as (
          select meter, quantity, dimensions, unnest(json_keys(dimensions)) as dimension
          from usage where time between getvariable('since') and getvariable('as_of'))
        select meter, dimension, json_extract_string(dimensions, '$."' || dimension || '"') as value,
               sum(quantity) as quantity
        from split group by all order by meter, dimension, quantity desc, value""",
    ),
    Recipe(
        name="usage-against-limits",
        question="How near is each workspace to its limits, of its plan or its own, in the current period?",
        sql="""
        with records as (
          select kind, workspace_id, max_by(new_image, sequence_number) as image from audit
          where kind in ('billing', 'limits') and workspace_id is not null and occurred_at <= getvariable('as_of')
          group by all),
        plans as (
          select workspace_id, image->>'plan' as plan, unnest(json_keys(image->'limits')) as meter,
                 json_extract_string(image, '$.limits."' || meter || '"')::double as included
          from records where kind = 'billing'),
        own as (
          select workspace_id, unnest(json_keys(image->'own_limits')) as name, split_part(name, '/', 1) as meter,
                 json_extract(image, '$.own_limits."' || name || '"') as said
          from records where kind = 'limits'),
        standing as (
          select workspace_id, meter,
                 bool_or(json_exists(said, '$.included') or json_exists(said, '$.hard')) as overridden,
                 max(coalesce(said->>'included', said->>'hard')::double) as included,
                 sum((said->>'amount')::double) as granted
          from own where coalesce((said->>'ends_at')::timestamptz, 'infinity') > getvariable('as_of') group by all),
        limits as (
          select workspace_id, plan, meter,
                 case when overridden then standing.included else plans.included end + coalesce(granted, 0) as included
          from plans full join standing using (workspace_id, meter)),
        newest as (
          select workspace_id, meter, max(period_start) as period_start from usage
          where time <= getvariable('as_of') group by all),
        used as (
          select workspace_id, meter, period_start, sum(quantity) as used
          from usage join newest using (workspace_id, meter, period_start)
          where time <= getvariable('as_of') group by all)
        select workspace_id, plan, meter, period_start, coalesce(used, 0) as used, included,
               round(100 * coalesce(used, 0) / nullif(included, 0), 1) as percent
        from limits left join used using (workspace_id, meter)
        order by percent desc nulls last, workspace_id, meter""",
    ),
    Recipe(
        name="late-usage",
        question="Which usage arrived more than an hour after it happened, and how late?",
        sql="""
        select workspace_id, meter, source, event_id, time, received_at,
               epoch(received_at - time)::bigint as seconds_late
        from usage where received_at - time > interval 1 hour
          and time between getvariable('since') and getvariable('as_of')
        order by seconds_late desc, event_id""",
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
        group by all order by events desc, type, source""",
    ),
    Recipe(
        name="event-latency",
        question="How long from Stripe's event to our door, and from there to the lake?",
        sql="""
        select created_at::date as day, count(*) as events,
               round(quantile_cont(epoch(received_at) - epoch(created_at), 0.5), 3) as to_us_p50,
               round(quantile_cont(epoch(received_at) - epoch(created_at), 0.99), 3) as to_us_p99,
               round(quantile_cont(epoch(recorded_at) - epoch(received_at), 0.5), 3) as to_lake_p50,
               round(quantile_cont(epoch(recorded_at) - epoch(received_at), 0.99), 3) as to_lake_p99
        from stripe_events where created_at between getvariable('since') and getvariable('as_of')
        group by all order by day""",
    ),
    Recipe(
        name="subscriptions",
        question="What was the state of every subscription as of a time?",
        sql=f"""
        with {_SUBSCRIPTIONS}
        select subscription, max_by(customer_id, turn) as customer_id,
               max_by(workspace_id, turn) as workspace_id,
               max_by(case when type = 'customer.subscription.deleted' then 'canceled' else status end,
                      turn) as status,
               max(created_at) as since
        from subscriptions group by all order by subscription""",  # noqa: S608  # our own text
    ),
    Recipe(
        name="mrr",
        question="What is the monthly recurring revenue, per currency, before discounts (minor units)?",
        sql=f"""
        with {_SUBSCRIPTIONS}, {_MONTHLY},
        newest as (
          select subscription, max_by(mrr, turn) as mrr,
                 max_by(currency, turn) as currency from valued group by all)
        select currency, round(sum(mrr))::bigint as mrr, count(*) filter (mrr > 0) as paying_subscriptions
        from newest group by all order by currency""",  # noqa: S608  # our own text
    ),
    Recipe(
        name="mrr-movement",
        question="How did it move: new, expansion, contraction, churn, reactivation, by month (minor units)?",
        sql=f"""
        with {_SUBSCRIPTIONS}, {_MONTHLY}, {_MOVED}
        select month, currency, movement, round(sum(change))::bigint as mrr, count(*) as subscriptions
        from named group by all order by month, currency, movement""",  # noqa: S608  # our own text
    ),
    Recipe(
        name="mrr-events",
        question="Which event of which subscription moved it, and by how much (minor units)?",
        sql=f"""
        with {_SUBSCRIPTIONS}, {_MONTHLY}, {_MOVED}
        select created_at, month, currency, movement, round(change)::bigint as mrr, subscription, workspace_id,
               cause as event_id
        from named order by created_at, subscription, movement""",  # noqa: S608  # our own text
    ),
    Recipe(
        name="churn",
        question="Which subscriptions ended, when and why?",
        sql="""
        select created_at as ended_at, object_id as subscription, customer_id, workspace_id,
               payload->>'$.data.object.cancellation_details.reason' as reason,
               payload->>'$.data.object.cancellation_details.feedback' as feedback
        from stripe_events where type = 'customer.subscription.deleted'
          and created_at between getvariable('since') and getvariable('as_of')
        order by ended_at, subscription""",
    ),
    Recipe(
        name="failed-payments",
        question="Which invoices could not be paid, how often, and which recovered after how long?",
        sql="""
        with failed as (
          select object_id as invoice, any_value(customer_id) as customer_id, min(created_at) as first_failed,
                 count(*) as failures, max((payload->>'$.data.object.amount_due')::bigint) as amount,
                 any_value(payload->>'$.data.object.currency') as currency
          from stripe_events where type = 'invoice.payment_failed'
            and created_at between getvariable('since') and getvariable('as_of') group by all),
        paid as (
          select object_id as invoice, min(created_at) as paid_at from stripe_events
          where type = 'invoice.paid' and created_at <= getvariable('as_of') group by all)
        select invoice, customer_id, amount, currency, failures, first_failed, paid_at,
               paid_at is not null as recovered, epoch(paid_at - first_failed)::bigint as after_seconds
        from failed left join paid using (invoice) order by first_failed, invoice""",
    ),
    Recipe(
        name="revenue",
        question="How much was paid, per month and currency (minor units)?",
        sql="""
        with told as (
          select object_id, account, livemode, created_at as paid_at, null::timestamptz as finalized_at,
                 payload->>'$.data.object.currency' as currency,
                 (payload->>'$.data.object.amount_paid')::bigint as amount
          from stripe_events where type = 'invoice.paid' and created_at <= getvariable('as_of')
          union all
          select object_id, account, livemode, case origin when 'event' then valid_from end,
                 coalesce(finalized_at, created_at), currency, amount_paid
          from invoices_history
          where origin <> 'snapshot' and status = 'paid' and amount_paid is not null
            and valid_from <= getvariable('as_of')),
        paid as (
          select object_id, date_trunc('month', coalesce(min(paid_at), min(finalized_at)))::date as month,
                 any_value(currency) as currency, max(amount) as amount
          from told group by object_id, account, livemode)
        select month, currency, sum(amount)::bigint as paid, count(*) as invoices
        from paid group by all order by month, currency""",
    ),
    Recipe(
        name="revenue-events",
        question="Which event told of which paid invoice, and of how much (minor units)?",
        sql="""
        select created_at, date_trunc('month', created_at)::date as month,
               payload->>'$.data.object.currency' as currency,
               (payload->>'$.data.object.amount_paid')::bigint as paid, object_id as invoice, workspace_id, event_id
        from stripe_events where type = 'invoice.paid' and created_at <= getvariable('as_of')
        order by created_at, event_id""",
    ),
    Recipe(
        name="receivables",
        question="Which invoices are open as of a time, since when, and what remains to be paid (minor units)?",
        sql="""
        with newest as (
          select * from invoices_history where origin <> 'snapshot' and valid_from <= getvariable('as_of')
          qualify row_number() over (partition by account, livemode, object_id order by sequence_number desc) = 1)
        select coalesce(finalized_at, created_at) as since, object_id as invoice, customer_id, currency, due_date,
               amount_due as due, amount_remaining as remaining
        from newest where status in ('open', 'uncollectible') and not coalesce(deleted, false)
          and amount_remaining > 0
        order by since, invoice""",
    ),
    Recipe(
        name="billing-as-of",
        question="What was each workspace's plan and status as of a time?",
        sql="""
        with last as (
          select pk, sk, max_by({'workspace': workspace_id, 'action': action, 'image': new_image, 'at': occurred_at},
                                sequence_number) as change
          from audit where kind = 'billing' and occurred_at <= getvariable('as_of') group by all)
        select change.workspace as workspace_id, change.image->>'plan' as plan, change.image->>'status' as status,
               (change.image->>'seats')::bigint as seats, change.at as since
        from last where change.action in ('INSERT', 'MODIFY') and change.workspace is not null
        order by workspace_id""",
    ),
    Recipe(
        name="plan-changes",
        question="Which workspaces changed their plan or status, from what to what, because of which event?",
        sql="""
        select occurred_at, workspace_id, old_image->>'plan' as old_plan, new_image->>'plan' as new_plan,
               old_image->>'status' as old_status, new_image->>'status' as new_status, cause
        from audit
        where kind = 'billing' and action = 'MODIFY'
          and occurred_at between getvariable('since') and getvariable('as_of')
          and ((old_image->>'plan') is distinct from (new_image->>'plan')
               or (old_image->>'status') is distinct from (new_image->>'status'))
        order by occurred_at, sequence_number""",
    ),
    Recipe(
        name="who-changed-what",
        question="Who changed which record between two times, and which fields?",
        sql="""
        select occurred_at, coalesce(actor, '(system)') as actor, action, kind, workspace_id, pk, sk,
               changed_fields, cause
        from audit where occurred_at between getvariable('since') and getvariable('as_of') and kind <> 'counter'
          and table_name = 'records'
        order by occurred_at, sequence_number""",
    ),
    Recipe(
        name="changes-per-kind",
        question="How many records were created, changed, removed and expired, per day?",
        sql="""
        select occurred_at::date as day, kind, action, count(*) as changes, count(distinct (pk, sk)) as records
        from audit where occurred_at between getvariable('since') and getvariable('as_of') and table_name = 'records'
        group by all order by day, kind, action""",
    ),
    Recipe(
        name="rejected",
        question="What was refused, why, and whose was it, per day?",
        sql="""
        select occurred_at::date as day, new_image->>'flow' as flow, new_image->>'reason' as reason,
               new_image->>'source' as source, workspace_id, count(*) as rejects, max(cause) as an_event
        from audit where kind = 'reject' and occurred_at between getvariable('since') and getvariable('as_of')
        group by all order by day, rejects desc, flow, reason""",
    ),
    Recipe(
        name="twice",
        question="Is anything in the lake twice? (An answer without rows is the promise.)",
        sql="""
        select 'stripe_events' as table_name, event_id as id, account as space, count(*) as rows
        from stripe_events group by all having count(*) > 1
        union all
        select 'usage', event_id, source, count(*) from usage group by all having count(*) > 1
        union all
        select 'audit', change_id, table_name, count(*) from audit group by all having count(*) > 1
        order by all""",
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
