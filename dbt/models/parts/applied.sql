-- The table expression applied, which metrics have in common. Rules: docs/metrics.md. Generated.
select * from {{ ref('active') }} as active where item_id is not null or own = 1 or overridden = 0
