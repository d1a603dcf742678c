-- The table expression standings, which metrics have in common. Rules: docs/metrics.md. Generated.
select months.month, movements.currency, movements.account, movements.livemode, movements.customer_id,
             sum(case when movements.moment < months.begins then movements.change else 0 end) as at_begin,
             sum(case when movements.moment < months.ends then movements.change else 0 end) as at_end,
             sum(case when movements.moment >= months.begins and movements.moment < months.ends
                       and movements.movement in ('churn', 'contraction') then -movements.change else 0 end) as lost,
             cast(date_trunc('month', min(movements.moment)) as date) as cohort
      from (values {{ months() }}) as months (month, begins, ends) join {{ ref('movements') }} as movements on movements.moment < months.ends
      where true
      group by months.month, movements.currency, movements.account, movements.livemode, movements.customer_id
