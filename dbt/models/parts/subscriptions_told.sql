-- The table expression subscriptions_told, which metrics have in common. Rules: docs/metrics.md. Generated.
select *, coalesce(rank, 1) as place, case when origin = 'snapshot' then 0 else 1 end as resolved
      from {{ source('nilometer', 'subscriptions_history') }} where known_at <= {{ known() }}
