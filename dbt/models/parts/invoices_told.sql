-- The table expression invoices_told, which metrics have in common. Rules: docs/metrics.md. Generated.
select *, coalesce(rank, 1) as place, case when origin = 'snapshot' then 0 else 1 end as resolved
      from {{ source('nilometer', 'invoices_history') }} where known_at <= {{ known() }}
