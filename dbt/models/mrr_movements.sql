-- How did monthly recurring revenue move: new, expansion, contraction, churn, reactivation? Rules: docs/metrics.md. Generated.
select cast(date_trunc('month', moment) as date) as month, currency, movement,
       cast(sum(change) as bigint) as mrr, count(*) as movements
from {{ ref('movements') }} as movements where moment >= {{ since() }} and moment < {{ until() }} and true
group by cast(date_trunc('month', moment) as date), currency, movement
