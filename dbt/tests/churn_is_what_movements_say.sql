-- What churn counts as lost is churn and contraction of the movements, in each month and currency.
with lost as (
  select month, currency, -sum(mrr) as mrr from {{ ref('mrr_movements') }}
  where movement in ('churn', 'contraction') group by month, currency)
select coalesce(lost.month, churn.month) as month, lost.mrr, churn.churned_mrr
from lost full outer join {{ ref('churn') }} as churn on lost.month = churn.month and lost.currency = churn.currency
where coalesce(lost.mrr, 0) <> coalesce(churn.churned_mrr, 0)
