-- What was monthly recurring revenue at the end of each day, and of how many customers? Rules: docs/metrics.md. Generated.
select days.day, currency, cast(sum(change) as bigint) as mrr,
       cast(sum(case when movement in ('new', 'reactivation') then 1 when movement = 'churn' then -1 else 0 end)
            as bigint) as customers
from (values {{ days() }}) as days (day, begins, ends) join {{ ref('movements') }} as movements on movements.moment < days.ends
where true
group by days.day, currency
