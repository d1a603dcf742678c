-- The table expression subscriptions_told, which metrics have in common. Rules: docs/metrics.md. Generated.
select *, coalesce(rank, 1) as place, case when origin = 'snapshot' then 0 else 1 end as resolved
      from {{ source('nilometer', 'subscriptions_history') }}
      where known_at <= {{ known() }} and account = {{ account() }} and case when livemode then 1 else 0 end = (select coalesce(live, 0) from {{ ref('counted_mode') }} as counted_mode)
