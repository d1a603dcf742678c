-- Of the customers who began in a month, how many pay how much in each later month? Rules: docs/metrics.md. Generated.
select cohort, month, currency, count(*) as customers, sum(case when at_end > 0 then 1 else 0 end) as paying,
       cast(sum(at_end) as bigint) as mrr
from {{ ref('standings') }} as standings group by cohort, month, currency
