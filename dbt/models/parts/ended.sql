-- The table expression ended, which metrics have in common. Rules: docs/metrics.md. Generated.
select account, livemode, object_id, min(valid_from) as ended from {{ ref('subscriptions_seconds') }} as subscriptions_seconds
      where deleted or status in ('canceled', 'incomplete_expired') group by account, livemode, object_id
