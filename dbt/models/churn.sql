-- How many customers and how much recurring revenue were lost in each month? Rules: docs/metrics.md. Generated.
select month, currency, sum(case when at_begin > 0 then 1 else 0 end) as customers,
       sum(case when at_begin > 0 and at_end = 0 then 1 else 0 end) as churned_customers,
       cast(sum(at_begin) as bigint) as mrr, cast(sum(lost) as bigint) as churned_mrr
from {{ ref('standings') }} as standings group by month, currency
having sum(at_begin) > 0 or sum(lost) > 0
